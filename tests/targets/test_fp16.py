"""``compile --fp16``: where it is refused, and what the artifact says of it."""

from __future__ import annotations

import json
import math
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tvm
from click.testing import CliRunner
from msgspec.structs import replace
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from skimage import data
from target_runs import SHAPE
from tvm.target import codegen

from sr_tvm.build.compiler import compile_model
from sr_tvm.build.options import CompileOptions
from sr_tvm.cli.compile import command
from sr_tvm.errors import SrTvmError
from sr_tvm.evaluation import float16
from sr_tvm.evaluation.float16 import EmulatedGpu, NotCompared, _fit, compare
from sr_tvm.imaging.metrics import psnr_y_of_planes
from sr_tvm.records.artifact import Artifact
from sr_tvm.records.region_decisions import RegionRecord, RegionRecords, key_of
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
    assert "note: 1 of 1 kernels keep numbers in float16" in done.stdout
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
    with pytest.raises(NotCompared, match="it does not make pictures of pictures"):
        compare(path, registry.get("android-cpu"))
    arguments = [str(path), "--target", "android-cpu", "-o", str(tmp_path / "out"), "--fp16"]
    assert "note: fp16 against fp32: not measured" in CliRunner().invoke(command, arguments).stdout


def test_a_network_that_overflows_is_refused(tmp_path: Path) -> None:
    path = pointwise_net(tmp_path / "net.onnx", np.full((3, 3), 6e4), np.full((3, 3), 1e-5))
    arguments = [str(path), "--target", "android-cpu", "-o", str(tmp_path / "out"), "--fp16"]
    error = CliRunner().invoke(command, arguments).exception
    assert isinstance(error, SrTvmError)
    assert "astronaut: float16 overflows in this network; compile without --fp16" in str(error)
    assert not (tmp_path / "out").exists()


def test_a_network_that_overflows_a_gpu_is_refused(tmp_path: Path) -> None:
    """Mali's sums are float16; a weight that is no float16 is none for either GPU."""
    beyond = pointwise_net(tmp_path / "sums.onnx", np.full((3, 3), 6e4), np.full((3, 3), 1e-5))
    heavy = pointwise_net(tmp_path / "weight.onnx", np.full((3, 3), 1e6), np.full((3, 3), 1e-5))
    for path, target in ((beyond, "mali"), (heavy, "mali"), (heavy, "adreno")):
        arguments = [str(path), "--target", target, "-o", str(tmp_path / "out"), "--fp16"]
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            error = CliRunner().invoke(command, arguments).exception
        assert isinstance(error, SrTvmError)
        assert "astronaut: float16 overflows in this network; compile without --fp16" in str(error)
        assert not (tmp_path / "out").exists()
    with pytest.raises(SrTvmError, match="a weight of the network is 1e.06, over the 65504 of float16"):
        compile_model(heavy, "adreno", tmp_path / "out", options=HALF)


def test_a_gpus_network_of_fixed_size_is_compared_as_it_is_compiled(tiny_onnx: Path, tmp_path: Path) -> None:
    """With the host's kernels, and with the decisions of the database: both add in float32, and a phone's Mali not."""
    Image.fromarray(data.coffee()[:90, :70]).save(tmp_path / "a.png")

    def loss(target: str, **options: Any) -> float:
        options = {"use_shipped_log": False} | options
        found = compare(tiny_onnx, registry.get(target), None, tmp_path, CompileOptions(**options))
        assert found.emulated and math.isfinite(found.psnr_y)
        return found.psnr_y

    phone, adreno = loss("mali"), loss("adreno")
    assert loss("mali", host="x86") == pytest.approx(adreno, abs=1) and adreno > phone + 5
    half = registry.get("mali").computing_in("float16")
    emulated, lowering = EmulatedGpu.of(tiny_onnx, half), half.lowering()
    key = key_of(emulated.region, (1, *SHAPE[2:]), lowering)
    wide = replace(emulated.decisions, stages=tuple(replace(s, sums="float32") for s in emulated.decisions.stages))
    record = RegionRecord(key[0], key[1], lowering.name, lowering.hardware, 1.0, 2.0, wide.to_json())
    RegionRecords({record.key: record}).save(tmp_path / "log")
    assert loss("mali", database=tmp_path / "log") == pytest.approx(adreno, abs=1)


def test_a_large_network_of_fixed_size_is_emulated_in_the_middle(
    tiny_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cut's border is left out: with it, the loss would be that of other pictures."""
    path = tmp_path / "net.onnx"
    model = onnx.load(tiny_onnx)
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 90
    model.graph.input[0].type.tensor_type.shape.dim[3].dim_value = 70
    for dim, side in zip(model.graph.output[0].type.tensor_type.shape.dim[2:], (180, 140), strict=True):
        dim.dim_value = side
    onnx.save(model, path)
    sizes = []
    run = EmulatedGpu.__call__
    monkeypatch.setattr(EmulatedGpu, "__call__", lambda self, x: [sizes.append(x.shape), run(self, x)][1])
    mali = registry.get("mali")
    whole = compare(path, mali)
    monkeypatch.setattr(float16, "MIDDLE", 40)
    middle = compare(path, mali)
    assert sizes == [(3, 90, 70)] * 3 + [(3, 40, 40)] * 3
    assert middle.psnr_y == pytest.approx(whole.psnr_y, abs=3)


def test_several_regions_are_the_reason_that_is_told(tmp_path: Path) -> None:
    path = pointwise_net(tmp_path / "net.onnx", np.eye(3), np.eye(3))
    model = onnx.load(path)
    model.graph.node[1].input[0] = "between"
    model.graph.node.insert(1, helper.make_node("Softmax", ["v1"], ["between"], axis=3))
    onnx.save(model, path)
    arguments = [str(path), "--target", "adreno", "-o", str(tmp_path / "out"), "--fp16"]
    told = CliRunner().invoke(command, arguments).stdout
    assert "fp16 against fp32: not measured, for it becomes 2 regions of kernels" in told


def test_pictures_are_fitted_to_a_fixed_size() -> None:
    picture = np.arange(5 * 8 * 3, dtype=np.uint8).reshape(5, 8, 3)
    assert _fit(picture, 2, None).shape == (4, 8, 3)
    fitted = _fit(picture, 2, (4, 2))
    assert fitted.shape == (8, 4, 3)
    assert (fitted[:5] == picture[:, 2:6]).all() and (fitted[5:] == picture[4:1:-1, 2:6]).all()


def test_no_psnr_of_what_is_not_finite() -> None:
    exact, half = np.full((3, 8, 8), 0.5), np.full((3, 8, 8), 0.5)
    for value in (np.nan, np.inf):
        half[0, 4, 4] = value
        with pytest.raises(SrTvmError, match="NaN or infinite pixels"):
            psnr_y_of_planes(exact, half, 2)


def test_psnr_is_of_unrounded_luma() -> None:
    exact = np.full((3, 8, 8), 0.5)
    assert psnr_y_of_planes(exact, exact, 2) == np.inf
    half = exact + 1 / 255
    half[:, 0] = 9  # in the border
    # 219 of the 255 steps are luma's.
    assert psnr_y_of_planes(exact, half, 2) == pytest.approx(20 * np.log10(255 / (219 / 255)), abs=0.01)
