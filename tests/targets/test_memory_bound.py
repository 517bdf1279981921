"""Default schedules of layers that wait for memory: fully connected ones, and pooling of long rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tvm
from onnx import helper
from target_runs import run_artifact, run_reference, save_onnx
from tvm import s_tir, te, tirx
from tvm.s_tir import dlight

from sr_tvm.build.compiler import compile_model
from sr_tvm.build.options import CompileOptions
from sr_tvm.targets.cpu.schedule import matrix_vector
from sr_tvm.targets.cpu.schedule.rules import CpuRules

VECTOR = 64  # bytes
RNG = np.random.default_rng(0)


def weights(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32) / np.float32(np.sqrt(shape[-1]))


def gemm(batch: int, columns: int, products: int) -> tuple[tuple[int, ...], list[object], dict[str, np.ndarray]]:
    nodes = [helper.make_node("Gemm", ["x", "w", "b"], ["a"], transB=1), helper.make_node("Relu", ["a"], ["y"])]
    return (batch, products), nodes, {"w": weights(columns, products), "b": weights(columns)}


def pool(kind: str, *shape: int, **attributes: object) -> tuple[tuple[int, ...], list[object], dict[str, np.ndarray]]:
    return shape, [helper.make_node(kind, ["x"], ["y"], **attributes)], {}


CASES = {
    "one-run": gemm(1, 1000, 512),
    "several-runs": gemm(1, 3072, 128),
    "batch": gemm(3, 1040, 601),
    "odd-columns": gemm(1, 1021, 512),
    "max": pool("MaxPool", 1, 3, 8, 70, kernel_shape=[2, 2], strides=[2, 2]),
    "max-batch": pool("MaxPool", 2, 3, 9, 131, kernel_shape=[3, 3], strides=[2, 2]),
    "max-padded": pool("MaxPool", 1, 2, 9, 81, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    "average": pool("AveragePool", 1, 3, 8, 90, kernel_shape=[2, 2], strides=[2, 2]),
    "row": pool("MaxPool", 1, 1, 1, 200, kernel_shape=[1, 4], strides=[1, 4]),
}


@pytest.mark.parametrize("name", CASES)
def test_numbers(name: str, tmp_path: Path) -> None:
    shape, nodes, values = CASES[name]
    path = save_onnx(tmp_path / "net.onnx", nodes, shape, values)
    x = RNG.standard_normal(shape).astype(np.float32)
    expected = run_reference(path, x)
    got = run_artifact(compile_model(path, "cpu", tmp_path / "out", options=CompileOptions(use_shipped_log=False)), x)
    assert got.shape == expected.shape
    assert np.abs(got - expected).max() <= 1e-5 * max(1.0, np.abs(expected).max())


def product(batch: int, columns: int, products: int, transposed: bool = False) -> tirx.PrimFunc:
    x = te.placeholder((batch, products), name="x")
    w = te.placeholder((columns, products) if transposed else (products, columns), name="w")
    k = te.reduce_axis((0, products), "k")
    y = te.compute(
        (batch, columns), lambda i, j: te.sum(x[i, k] * (w[j, k] if transposed else w[k, j]), axis=k), name="product"
    )
    return te.create_prim_func([x, w, y])


@pytest.mark.parametrize(
    ("function", "lanes"),
    [
        (product(1, 4096, 512), 16),
        (product(8, 1000, 512), 8),
        (product(9, 4096, 512), None),  # a larger batch uses the weights often enough
        (product(1, 64, 512), None),  # small weights
        (product(1, 1021, 512), None),  # a prime: no vectors
        (product(1, 4096, 512, transposed=True), None),
    ],
)
def test_which_products_it_is_for(function: tirx.PrimFunc, lanes: int | None) -> None:
    sch = s_tir.Schedule(tvm.IRModule({"main": function}))
    assert matrix_vector.lanes_of(sch, sch.get_sblock("product"), VECTOR // 4) == lanes


def test_weights_are_read_in_runs_of_a_page() -> None:
    mod = tvm.IRModule({"main": product(1, 4096, 512)})
    with tvm.target.Target("llvm"):
        text = dlight.ApplyDefaultSchedule(CpuRules(VECTOR))(mod)["main"].script()
    assert "in T.parallel(4)" in text and "in T.unroll(8)" in text
