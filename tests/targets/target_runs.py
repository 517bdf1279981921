"""Writes small ONNX files, and runs them with onnxruntime and as cpu artifacts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from sr_tvm.records.artifact import Artifact

SHAPE = (1, 3, 16, 12)  # of the tiny network


def save_onnx(path: Path, nodes: list[Any], shape: tuple[int, ...], weights: dict[str, np.ndarray]) -> Path:
    """Write a graph from "x" of ``shape`` to "y"."""
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(onnx.shape_inference.infer_shapes(model), path)
    return path


def run_reference(path: Path, x: np.ndarray) -> np.ndarray:
    runtime = pytest.importorskip("onnxruntime", reason="pip install onnxruntime")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def run_artifact(artifact: Artifact, x: np.ndarray) -> np.ndarray:
    import tvm
    from tvm import relax

    machine = relax.VirtualMachine(tvm.runtime.load_module(str(artifact.library_path)), tvm.cpu())
    return machine["main"](tvm.runtime.tensor(x)).numpy()
