"""The cpu target's numbers, with default schedules on awkward shapes and with replayed records."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import helper
from target_runs import SHAPE, run_artifact, run_reference, save_onnx

from sr_tvm.build.compiler import compile_model
from sr_tvm.build.options import CompileOptions
from sr_tvm.records.artifact import Artifact

TOLERANCE = 1e-5  # of the output's peak


def assert_same(ours: np.ndarray, reference: np.ndarray) -> None:
    assert ours.shape == reference.shape
    assert np.abs(ours - reference).max() <= TOLERANCE * max(1.0, float(np.abs(reference).max()))


def image(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).random(shape, dtype=np.float32)


def test_artifact_loads_and_equals_onnxruntime(compiled: Callable[[str], Artifact], tiny_onnx: Path) -> None:
    artifact = Artifact.load(compiled("cpu").folder)
    x = image(SHAPE)
    assert_same(run_artifact(artifact, x), run_reference(tiny_onnx, x))


def test_no_compiler_of_the_system_is_needed(tiny_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    artifact = compile_model(tiny_onnx, "cpu", tmp_path / "out", options=CompileOptions(use_shipped_log=False))
    x = image(SHAPE)
    assert_same(run_artifact(artifact, x), run_reference(tiny_onnx, x))


def weights(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32) / 8


def conv(cin: int, cout: int, kernel: int, **attributes: object) -> tuple[list[object], dict[str, np.ndarray]]:
    group = int(attributes.get("group", 1))  # type: ignore[call-overload]
    node = helper.make_node("Conv", ["x", "w", "b"], ["y"], kernel_shape=[kernel, kernel], **attributes)
    return [node], {"w": weights((cout, cin // group, kernel, kernel)), "b": weights((cout,))}


same3 = {"pads": [1, 1, 1, 1]}
CASES = {
    # name: (input shape, nodes and weights). Widths: whole vectors, a prime, one pixel; channels that no tile divides.
    "whole-vectors": ((1, 8, 6, 64), conv(8, 24, 3, **same3)),
    "prime-width": ((1, 3, 5, 37), conv(3, 13, 3, **same3)),
    "wide-prime": ((1, 4, 3, 641), conv(4, 7, 3, **same3)),
    "one-pixel": ((1, 5, 1, 1), conv(5, 17, 1)),
    "one-channel-out": ((1, 12, 9, 20), conv(12, 1, 5, pads=[2, 2, 2, 2])),
    "batch-of-two": ((2, 3, 7, 18), conv(3, 29, 3, **same3)),
    "stride": ((1, 4, 17, 23), conv(4, 6, 3, strides=[2, 2], **same3)),
    "dilation": ((1, 4, 12, 19), conv(4, 6, 3, dilations=[2, 2], pads=[2, 2, 2, 2])),
    "groups": ((1, 8, 7, 33), conv(8, 12, 3, group=4, **same3)),
    "depthwise": ((1, 10, 8, 21), conv(10, 10, 3, group=10, **same3)),
    "odd-pads": ((1, 3, 6, 30), conv(3, 5, 4, pads=[1, 2, 2, 1])),
    "transposed": (
        (1, 6, 5, 11),
        (
            [helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2], pads=[1, 1, 1, 1])],
            {"w": weights((6, 5, 4, 4))},
        ),
    ),
    "max-pool": (
        (1, 5, 12, 26),
        ([helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], strides=[2, 2])], {}),
    ),
    "average-pool": ((1, 5, 7, 9), ([helper.make_node("GlobalAveragePool", ["x"], ["y"])], {})),
    "gemm": (
        (1, 45),
        ([helper.make_node("Gemm", ["x", "w", "b"], ["y"], transB=1)], {"w": weights((31, 45)), "b": weights((31,))}),
    ),
    "matmul": ((7, 45), ([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": weights((45, 31))})),
    "softmax": ((3, 17), ([helper.make_node("Softmax", ["x"], ["y"], axis=1)], {})),
    "shuffle": (
        (1, 12, 5, 7),
        ([helper.make_node("DepthToSpace", ["x"], ["y"], blocksize=2, mode="CRD")], {}),
    ),
    "epilogues": (
        (1, 8, 9, 18),
        (
            [
                helper.make_node("Conv", ["x", "w"], ["a"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
                helper.make_node("LeakyRelu", ["a"], ["b"], alpha=0.1),
                helper.make_node("Add", ["b", "x"], ["c"]),
                helper.make_node("Mul", ["c", "c"], ["y"]),
            ],
            {"w": weights((8, 8, 3, 3))},
        ),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_default_schedules_are_right(name: str, tmp_path: Path) -> None:
    shape, (nodes, values) = CASES[name]
    path = save_onnx(tmp_path / "net.onnx", nodes, shape, values)
    x = image(shape) - 0.5
    artifact = compile_model(path, "cpu", tmp_path / "out", options=CompileOptions(use_shipped_log=False))
    assert_same(run_artifact(artifact, x), run_reference(path, x))


@pytest.fixture(scope="module")
def strided(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two convolutions of stride 2, which do not stream: kernels with schedules."""
    rng = np.random.default_rng(0)
    values = {f"w{i}": rng.standard_normal((6, c, 3, 3)).astype("float32") / 5 for i, c in enumerate((3, 6))}
    values |= {f"b{i}": rng.standard_normal(6).astype("float32") for i in range(2)}
    step = {"pads": [1] * 4, "strides": [2, 2]}
    nodes = [
        helper.make_node("Conv", ["x", "w0", "b0"], ["h"], **step),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Conv", ["r", "w1", "b1"], ["y"], **step),
    ]
    return save_onnx(tmp_path_factory.mktemp("strided") / "strided.onnx", nodes, SHAPE, values)


def test_records_are_replayed_counted_and_kept(strided: Path, tmp_path: Path) -> None:
    make_record(strided, tmp_path / "records")
    artifact = compile_model(strided, "cpu", tmp_path / "out", options=CompileOptions(tmp_path / "records"))
    tuned = [k["kernel"] for k in artifact.kernels if k["schedule"] == "tuned"]
    assert artifact.schedule == "tuned" and tuned == ["fused_conv2d_add_relu"]
    (record,) = [k["record"] for k in artifact.kernels if k["schedule"] == "tuned"]
    assert record.startswith("records/database_tuning_record.json: workload ")
    assert f"1 of {len(artifact.kernels)} kernels scheduled by the tuning records records" in artifact.notes
    x = image(SHAPE)
    assert_same(run_artifact(artifact, x), run_reference(strided, x))

    again = compile_model(strided, "cpu", tmp_path / "again", options=CompileOptions(artifact.folder / "tuning"))
    assert [k["schedule"] for k in again.kernels] == [k["schedule"] for k in artifact.kernels]


def test_records_of_other_kernels_change_nothing(strided: Path, tmp_path: Path) -> None:
    make_record(strided, tmp_path / "records")
    nodes, values = conv(3, 5, 3)
    path = save_onnx(tmp_path / "other.onnx", nodes, (1, 3, 8, 8), values)
    options = CompileOptions(tmp_path / "records", use_shipped_log=False)
    artifact = compile_model(path, "cpu", tmp_path / "out", options=options)
    assert artifact.schedule == "default" and not (artifact.folder / "tuning").exists()
    assert artifact.notes[-1] == "0 of 1 kernels scheduled by the tuning records records: none of them fits"


def make_record(path: Path, folder: Path, block: str = "conv2d_nchw") -> None:
    """A database with one record, for the kernel of convolution, addition and ReLU: its second loop in parallel."""
    import tvm
    from tvm.s_tir import Schedule
    from tvm.s_tir.meta_schedule.arg_info import ArgInfo
    from tvm.s_tir.meta_schedule.database import JSONDatabase, TuningRecord

    from sr_tvm.frontend.onnx_file import load_onnx, resolve_inputs
    from sr_tvm.frontend.to_relax import import_onnx
    from sr_tvm.passes.pipeline import optimize
    from sr_tvm.targets import registry

    target = registry.get("cpu").tvm_target()
    model = load_onnx(path)
    mod, _ = optimize(import_onnx(model, resolve_inputs(model, None)), target)
    kernel = tvm.get_global_func("tvm.s_tir.meta_schedule.normalize_mod")(mod["fused_conv2d_add_relu"])
    schedule = Schedule(kernel)
    schedule.parallel(schedule.get_loops(schedule.get_sblock(block))[1])
    folder.mkdir()
    database = JSONDatabase(work_dir=str(folder))
    workload = database.commit_workload(kernel)
    arguments = ArgInfo.from_prim_func(kernel["main"])
    database.commit_tuning_record(TuningRecord(schedule.trace, workload, [0.001], target, arguments))
