import json
import math
import subprocess
import sys

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from PIL import Image

from sr_tvm.errors import SrTvmError
from sr_tvm.evaluation import onnx_model
from sr_tvm.imaging.metrics import luma, psnr_y
from sr_tvm.imaging.resize import imresize, low_resolution, modcrop
from sr_tvm.nets.wdsr import WDSR
from sr_tvm.records.architecture import Architecture
from sr_tvm.training.evaluate import evaluate
from sr_tvm.training.upscalers import bicubic, network, to_uint8


def test_protocol_on_odd_sizes_and_grey(folders):
    found = evaluate(bicubic(2), folders[1], 2)
    assert found["images"] == 2 and [r["name"] for r in found["rows"]] == ["colour.png", "grey.png"]
    colour = modcrop(np.asarray(Image.open(folders[1] / "colour.png")), 2)
    assert colour.shape == (40, 50, 3)
    by_hand = psnr_y(colour, imresize(low_resolution(colour, 2), 2), 2)
    grey = np.asarray(Image.open(folders[1] / "grey.png"))
    assert found["rows"][0]["psnr_y"] == by_hand
    assert found["rows"][1]["psnr_y"] == pytest.approx(psnr_y(grey, imresize(low_resolution(grey, 2), 2), 2), abs=1e-9)
    assert found["psnr_y"] == pytest.approx(np.mean([r["psnr_y"] for r in found["rows"]]))
    assert 0 < found["ssim_y"] < 1


def test_left_out_pictures_are_named(tmp_path, folders):
    (tmp_path / "bad.png").write_bytes(b"x")
    Image.new("RGB", (10, 10)).save(tmp_path / "tiny.png")
    told = []
    with pytest.raises(SrTvmError, match="none of its 2 pictures"):
        evaluate(bicubic(2), tmp_path, 2, told.append)
    assert ["bad.png" in told[0], "tiny.png" in told[1]] == [True, True]


def test_wrong_size_and_scale(folders):
    with pytest.raises(SrTvmError, match=r"colour\.png: the output"):
        evaluate(bicubic(3), folders[1], 2)
    with pytest.raises(SrTvmError, match="scale is 5"):
        evaluate(bicubic(2), folders[1], 5)


def test_pixels_are_rounded_and_clipped():
    pixels = np.array([-1, 0.4 / 255, 0.6 / 255, 2, math.nan], np.float32).reshape(1, 1, 5).repeat(3, 0)
    assert to_uint8(pixels)[0, :, 0].tolist() == [0, 0, 1, 255, 0]


def picture_net(channels, scale=2, sides=("height", "width"), name="net.onnx"):
    """A network that is one ConvTranspose: each pixel repeated scale x scale times."""
    weight = np.zeros((channels, channels, scale, scale), np.float32)
    for c in range(channels):
        weight[c, c] = 1
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[scale, scale])
    graph = helper.make_graph(
        [node],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, channels, *sides])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, channels, "H", "W"])],
        [onnx.numpy_helper.from_array(weight, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("channels", [1, 3])
def test_onnx_upscaler_repeats_pixels(tmp_path, channels):
    path = tmp_path / "net.onnx"
    onnx.save(picture_net(channels), path)
    low = np.random.default_rng(0).integers(0, 256, (6, 7, 3), np.uint8)
    upscale = onnx_model.upscaler(path, onnx_model.read(path), 2, 1)
    if channels == 3:
        assert (upscale(low) == low.repeat(2, 0).repeat(2, 1)).all()
        return
    # The luma is the network's: each pixel repeated. Muted colours, so that nothing is clipped at 0 or 255.
    low = (96 + low // 4).astype(np.uint8)
    high = upscale(low)
    np.testing.assert_allclose(luma(high), luma(low).repeat(2, 0).repeat(2, 1), atol=0.5)
    assert np.ptp(high.astype(int), axis=2).max() > 20  # and colour there is
    grey = low[..., :1].repeat(3, 2)
    assert (upscale(grey) == grey.repeat(2, 0).repeat(2, 1)).all()


def test_a_network_of_one_channel_is_given_studio_luma(tmp_path, monkeypatch):
    """16/255 to 235/255, as ``sr-tvm upscale`` gives it, not 0 to 1."""
    import onnxruntime

    seen, real = [], onnxruntime.InferenceSession

    class Session(real):
        def run(self, names, inputs, *more):
            seen.append(inputs["x"])
            return super().run(names, inputs, *more)

    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    path = tmp_path / "net.onnx"
    onnx.save(picture_net(1), path)
    low = np.zeros((4, 6, 3), np.uint8)
    low[:, 3:] = 255
    onnx_model.upscaler(path, onnx_model.read(path), 2, 1)(low)
    (x,) = seen
    assert x.shape == (1, 1, 4, 6)
    np.testing.assert_allclose(x[0, 0, 0, [0, 5]] * 255, [16, 235], atol=1e-3)


def test_scoring_needs_no_tvm():
    """The reader of ONNX files and the code around networks are shared with rooms that do."""
    code = "import sys, sr_tvm.evaluation.onnx_model, sr_tvm.training.session; sys.exit('tvm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_onnx_size_of_a_transposed_convolution():
    size = onnx_model.size(picture_net(3), 10, 20)
    assert size.params == 3 * 3 * 2 * 2
    assert size.macs == 10 * 20 * 3 * 3 * 2 * 2


def test_onnx_of_a_network_counts_and_scores_like_its_architecture(tmp_path, folders):
    architecture = Architecture.uniform(2, 1, 4)
    torch.manual_seed(0)
    model = WDSR(architecture, normed=False).eval()
    path = tmp_path / "w.onnx"
    dynamic = {"x": {2: "height", 3: "width"}}
    torch.onnx.export(
        model, (torch.zeros(1, 3, 8, 8),), str(path), input_names=["x"], output_names=["y"], dynamic_axes=dynamic,
        dynamo=False,
    )  # fmt: skip
    proto = onnx_model.read(path)
    size = onnx_model.size(proto, 360, 640)
    assert (size.params, size.macs) == (architecture.params, architecture.macs(360, 640))
    a = evaluate(onnx_model.upscaler(path, proto, 2, 1), folders[1], 2)
    b = evaluate(network(model, torch.device("cpu")), folders[1], 2)
    assert a["psnr_y"] == pytest.approx(b["psnr_y"], abs=1e-3)


@pytest.mark.parametrize("content", [b"", b"garbage" * 20, "cut"])
def test_bad_onnx_files(tmp_path, content):
    path = tmp_path / "net.onnx"
    path.write_bytes(picture_net(3).SerializeToString()[:-60] if content == "cut" else content)
    with pytest.raises(SrTvmError, match="net.onnx"):
        onnx_model.read(path)


def test_the_scored_bytes_are_the_checked_ones(tmp_path):
    """External data is read within limits by our reader; ONNX Runtime sees no file."""
    path = tmp_path / "net.onnx"
    onnx.save(picture_net(3), path, save_as_external_data=True, location="w.bin", size_threshold=0)
    proto = onnx_model.read(path)
    (tmp_path / "w.bin").unlink()
    low = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
    assert (onnx_model.upscaler(path, proto, 2, 1)(low) == low.repeat(2, 0).repeat(2, 1)).all()
    with pytest.raises(SrTvmError, match=r"w\.bin' is missing"):
        onnx_model.read(path)


def test_onnx_of_one_size_and_of_another_scale(tmp_path):
    path = tmp_path / "net.onnx"
    onnx.save(picture_net(3, sides=(36, 64)), path)
    with pytest.raises(SrTvmError, match="36x64 only"):
        onnx_model.upscaler(path, onnx_model.read(path), 2, 1)
    onnx.save(picture_net(3, scale=3), path)
    with pytest.raises(SrTvmError, match="at scale 2"):
        onnx_model.upscaler(path, onnx_model.read(path), 2, 1)(np.zeros((4, 4, 3), np.uint8))


def test_onnx_that_is_no_picture_network(tmp_path):
    path = tmp_path / "net.onnx"
    onnx.save(picture_net(2), path)
    with pytest.raises(SrTvmError, match="from one picture"):
        onnx_model.read(path)


def test_without_onnxruntime(tmp_path, monkeypatch):
    path = tmp_path / "net.onnx"
    onnx.save(picture_net(3), path)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(SrTvmError, match="pip install onnxruntime"):
        onnx_model.upscaler(path, onnx_model.read(path), 2, 1)


def test_a_perfect_picture_is_null_in_json(tmp_path):
    from click.testing import CliRunner

    from sr_tvm.cli.evaluate import command

    Image.new("RGB", (40, 30), (9, 9, 9)).save(tmp_path / "flat.png")
    result = CliRunner().invoke(command, ["bicubic", "--data", str(tmp_path), "--json"])
    told = json.loads(result.stdout)
    assert told["psnr_y"] is None and told["rows"][0]["psnr_y"] is None and told["ssim_y"] == pytest.approx(1)
