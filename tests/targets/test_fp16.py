"""``compile --fp16``: where it is refused, and what the artifact says of it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
import tvm
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from skimage import data
from tvm.target import codegen

from sr_tvm.artifact import Artifact
from sr_tvm.build.compiler import compile_model
from sr_tvm.build.options import CompileOptions
from sr_tvm.cli.compile import command
from sr_tvm.errors import SrTvmError
from sr_tvm.evaluation.float16 import _fit, _psnr_y, compare
from sr_tvm.targets import registry
from sr_tvm.targets.cpu import host as cpu

HALF = CompileOptions(dtype="float16")
SAPPHIRE_RAPIDS, ZEN4 = ({"kind": "llvm", "mcpu": name} for name in ("sapphirerapids", "znver4"))


def pointwise_net(path: Path, *weights: np.ndarray) -> Path:
    """1x1 convolutions (O, I) of a picture of 16 x 24, one after another."""
    nodes = [helper.make_node("Conv", [f"v{i}", f"w{i}"], [f"v{i + 1}"]) for i in range(len(weights))]
    tensors = [numpy_helper.from_array(w.astype("float32")[:, :, None, None], f"w{i}") for i, w in enumerate(weights)]
    shapes = [("v0", weights[0].shape[1]), (f"v{len(weights)}", weights[-1].shape[0])]
    ends = [[helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, c, 16, 24])] for n, c in shapes]
    graph = helper.make_graph(nodes, "net", *ends, tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_a_phone_in_float16(tiny_onnx: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(
        command, [str(tiny_onnx), "--target", "android-cpu", "-o", str(tmp_path / "out"), "--fp16"]
    )
    assert done.exit_code == 0, done.output
    artifact = Artifact.load(tmp_path / "out")
    assert artifact.fp16 == {"kernels": 1}  # an artifact says what it is, not how good its pictures are
    found = re.search(r"note: fp16 against fp32: ([0-9.]+) dB PSNR-Y on 3 images \(emulated on this CPU\)", done.stdout)
    assert found is not None and 50 < float(found[1]) < 100, done.stdout
    assert "note: 1 of 1 kernels compute in float16" in done.stdout
    assert all(t.dtype == "float32" for t in (*artifact.inputs, *artifact.outputs))


def test_pictures_of_a_folder(tiny_onnx: Path, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    Image.fromarray(data.coffee()[:90, :70]).save(tmp_path / "pictures" / "a.png")
    found = compare(tiny_onnx, registry.get("android-cpu"), folder=tmp_path / "pictures")
    assert found is not None and (found.images, found.pictures, found.emulated) == (1, "pictures", True)
    assert found.psnr_y == found.lowest_psnr_y


def test_without_it_the_manifest_does_not_speak_of_it(tiny_onnx: Path, tmp_path: Path) -> None:
    artifact = compile_model(tiny_onnx, "android-cpu", tmp_path / "out")
    assert artifact.fp16 is None and "fp16" not in json.loads((tmp_path / "out" / "artifact.json").read_text())


def test_a_target_without_streaming_kernels_refuses(tiny_onnx: Path, tmp_path: Path) -> None:
    with pytest.raises(SrTvmError, match="target hexagon has no kernels in float16; it computes in float32"):
        compile_model(tiny_onnx, "hexagon", tmp_path / "out", options=HALF)
    assert not (tmp_path / "out").exists()


def test_a_processor_without_it_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu.Cpu, "tvm_target", lambda _: tvm.target.Target(ZEN4))
    with pytest.raises(SrTvmError, match="its processor, znver4, lacks the instructions LLVM calls avx512fp16"):
        registry.get("cpu").computing_in("float16")
    monkeypatch.setattr(cpu.Cpu, "tvm_target", lambda _: tvm.target.Target(SAPPHIRE_RAPIDS))
    assert registry.get("cpu").computing_in("float16").lowering().decider.layout(64).lanes == 32


def test_a_phone_without_it_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    target = registry.get("android-cpu")
    older = {"kind": "llvm", "mtriple": "aarch64-linux-android", "mcpu": "cortex-a53"}
    monkeypatch.setattr(type(target), "tvm_target", lambda _: tvm.target.Target(older))
    with pytest.raises(SrTvmError, match="its processor, cortex-a53, lacks the instructions LLVM calls fullfp16"):
        target.computing_in("float16")


@pytest.mark.skipif(
    "avx512fp16" in {str(f) for f in codegen.llvm_get_cpu_features(tvm.target.Target(cpu.Cpu().tvm_target()))},
    reason="this processor has float16",
)
def test_this_machine_says_what_it_lacks(tiny_onnx: Path, tmp_path: Path) -> None:
    with pytest.raises(SrTvmError, match="target cpu has no --fp16: .* avx512fp16; compile without"):
        compile_model(tiny_onnx, "cpu", tmp_path / "out", options=HALF)


def test_a_folder_without_pictures_is_refused_before_the_work(tiny_onnx: Path, tmp_path: Path) -> None:
    arguments = [str(tiny_onnx), "--target", "android-cpu", "-o", str(tmp_path / "out"), "--fp16", "--data"]
    error = CliRunner().invoke(command, [*arguments, str(tmp_path)]).exception
    assert isinstance(error, SrTvmError) and "no picture in it" in str(error) and not (tmp_path / "out").exists()
    done = CliRunner().invoke(command, ["m.onnx", "--target", "cpu", "-o", "out", "--data", str(tmp_path)])
    assert done.exit_code == 2 and "--data names the pictures for --fp16" in done.output


def test_what_makes_no_pictures_is_not_measured(tmp_path: Path) -> None:
    path = pointwise_net(tmp_path / "net.onnx", np.ones((5, 3)))
    assert compare(path, registry.get("android-cpu")) is None
    arguments = [str(path), "--target", "android-cpu", "-o", str(tmp_path / "out"), "--fp16"]
    assert "note: fp16 against fp32: not measured" in CliRunner().invoke(command, arguments).stdout


def test_a_network_that_overflows_is_refused(tmp_path: Path) -> None:
    path = pointwise_net(tmp_path / "net.onnx", np.full((3, 3), 6e4), np.full((3, 3), 1e-5))
    arguments = [str(path), "--target", "android-cpu", "-o", str(tmp_path / "out"), "--fp16"]
    error = CliRunner().invoke(command, arguments).exception
    assert isinstance(error, SrTvmError)
    assert "astronaut: float16 overflows in this network; compile without --fp16" in str(error)
    assert not (tmp_path / "out").exists()


def test_pictures_are_fitted_to_a_fixed_size() -> None:
    picture = np.arange(5 * 8 * 3, dtype=np.uint8).reshape(5, 8, 3)
    assert _fit(picture, 2, None).shape == (4, 8, 3)
    fitted = _fit(picture, 2, (4, 2))
    assert fitted.shape == (8, 4, 3)
    assert (fitted[:5] == picture[:, 2:6]).all() and (fitted[5:] == picture[4:1:-1, 2:6]).all()


def test_psnr_is_of_unrounded_luma() -> None:
    exact = np.full((3, 8, 8), 0.5)
    assert _psnr_y(exact, exact, 2) == np.inf
    half = exact + 1 / 255
    half[:, 0] = 9  # in the border
    # 219 of the 255 steps are luma's.
    assert _psnr_y(exact, half, 2) == pytest.approx(20 * np.log10(255 / (219 / 255)), abs=0.01)
