"""One tiny WDSR as ONNX, and its artifact for every target, made once."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import onnx
import pytest
from target_runs import SHAPE

from sr_tvm.records.architecture import Architecture
from sr_tvm.records.artifact import Artifact


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
    from sr_tvm.build.compiler import compile_model
    from sr_tvm.build.options import CompileOptions

    @cache
    def build(target: str) -> Artifact:
        folder = tmp_path_factory.mktemp("artifacts") / target
        return compile_model(tiny_onnx, target, folder, options=CompileOptions(use_shipped_log=False))

    return build
