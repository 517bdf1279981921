"""What is shipped beside one another is the same network."""

import json
from collections import defaultdict

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from benchmarks.quality import quality
from sr_tvm import shipped
from sr_tvm.nets.weights import load_weights
from sr_tvm.records.architecture import Architecture
from sr_tvm.upscaling.model import DEFAULT

MODELS = shipped.models()


@pytest.mark.parametrize("path", sorted(MODELS.glob("*.onnx")), ids=lambda path: path.stem)
def test_onnx_is_of_the_weights(path):
    """A model that is trained again must not ship with the file of the one before."""
    onnxruntime = pytest.importorskip("onnxruntime")
    x = np.random.default_rng(0).random((1, 3, 12, 17), np.float32)
    net = load_weights(path.with_suffix(".safetensors")).eval()
    with torch.inference_mode():
        expected = net(torch.from_numpy(x)).numpy()
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": x})
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    assert Architecture.load(path.with_suffix(".json")) == net.architecture


def test_nothing_ships_alone():
    names = [{path.stem for path in MODELS.glob(f"*.{end}")} for end in ("onnx", "safetensors", "json")]
    assert names[0] == names[1] == names[2] and names[0]


def test_upscale_takes_the_best_by_default():
    """Of those for x2, by the mean PSNR-Y over all sets."""
    scores = defaultdict(list)
    for row in json.loads((quality.common.RESULTS / "quality.json").read_text())["rows"]:
        if row["shipped"] and row["scale"] == 2:
            scores[row["model"]].append(row["psnr_y"])
    assert f"{max(scores, key=lambda name: np.mean(scores[name]))}.onnx" == DEFAULT
