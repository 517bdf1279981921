"""One tiny WDSR as ONNX, and its artifact for every target, made once."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from sr_tvm.architecture import Architecture
from sr_tvm.artifact import Artifact

SHAPE = (1, 3, 16, 12)


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


@pytest.fixture(scope="session")
def tiny_architecture() -> Architecture:
    return Architecture.uniform(2, 1, 4)


@pytest.fixture(scope="session")
def tiny_onnx(tmp_path_factory: pytest.TempPathFactory, tiny_architecture: Architecture) -> Path:
    """A WDSR of 1 block of 4 channels for 16 x 12 pixels, with its architecture in the metadata."""
    import torch

    from sr_tvm.frontend.export import export_onnx
    from sr_tvm.nets.wdsr import WDSR

    path = tmp_path_factory.mktemp("model") / "tiny.onnx"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = WDSR(tiny_architecture, normed=False).eval()
    export_onnx(net, path, SHAPE, exporter="torchscript")
    model = onnx.load(path)
    del model.metadata_props[:]
    entry = model.metadata_props.add()
    entry.key, entry.value = "sr_tvm.architecture", json.dumps(tiny_architecture.to_json())
    onnx.save(model, path)
    return path


@pytest.fixture(scope="session")
def compiled(tiny_onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Artifact]:
    """The tiny network's artifact for a target, by name."""
    from sr_tvm.compiler import compile_model

    @cache
    def build(target: str) -> Artifact:
        folder = tmp_path_factory.mktemp("artifacts") / target
        return compile_model(tiny_onnx, target, folder, use_shipped_log=False)

    return build
