"""Whole networks on this machine's OpenCL device, in this process and over RPC, against PyTorch."""

from __future__ import annotations

import platform
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch
from gpu_nets import NETS, make

from sr_tvm.build.compiler import compile_model
from sr_tvm.build.options import CompileOptions
from sr_tvm.frontend.export import export_onnx
from sr_tvm.records.artifact import Artifact
from sr_tvm.runners.local import LocalRunner
from sr_tvm.targets import registry

HOST = {"x86_64": "x86", "aarch64": "arm"}.get(platform.machine(), "none")
TOLERANCE = 1e-5  # of the output's peak
PHONE, PC = "phone", HOST  # whose decisions are taken: images and local memory, or buffers
CASES = [
    *((name, ("adreno", "mali")[i % 2], PC) for i, name in enumerate(NETS)),
    *((name, ("mali", "adreno")[i % 2], PHONE) for i, name in enumerate(NETS)),
]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str, str], Artifact]:
    @cache
    def build(name: str, target: str, decisions: str) -> Artifact:
        folder = tmp_path_factory.mktemp("nets")
        net, shape = make(name)
        export_onnx(net, folder / "net.onnx", shape, exporter="torchscript")
        if decisions == PHONE:
            return compile_model(folder / "net.onnx", registry.get(target).stand_in(), folder / "out")
        return compile_model(folder / "net.onnx", target, folder / "out", options=CompileOptions(host=HOST))

    return build


def expected(name: str) -> tuple[np.ndarray, np.ndarray]:
    """A picture, and what PyTorch makes of it."""
    net, shape = make(name)
    picture = np.random.default_rng(1).random(shape, dtype="float32")
    with torch.no_grad():
        return picture, net(torch.from_numpy(picture)).numpy()


def compare(found: np.ndarray, truth: np.ndarray) -> None:
    assert found.shape == truth.shape
    assert np.abs(found - truth).max() <= TOLERANCE * max(1e-3, np.abs(truth).max())


@pytest.mark.parametrize(("name", "target", "decisions"), CASES)
def test_against_pytorch(opencl, compiled, name, target, decisions):
    picture, truth = expected(name)
    compare(LocalRunner().run(compiled(name, target, decisions), [picture])[0], truth)


def test_20_runs_are_the_same_bit_for_bit(opencl, compiled):
    artifact = compiled("wdsr-4x16", "mali", PHONE)
    picture, _ = expected("wdsr-4x16")
    runner = LocalRunner()
    first = runner.run(artifact, [picture])[0]
    assert all(np.array_equal(runner.run(artifact, [picture])[0], first) for _ in range(20))


def test_over_rpc(opencl, compiled):
    from sr_tvm.runners.rpc import RpcRunner
    from sr_tvm.runners.tracker import start_server, start_tracker

    with start_tracker() as tracker, start_server(tracker, "box"), RpcRunner(tracker, "box") as runner:
        for case in (*CASES[:2], *CASES[-len(NETS) :][:2]):
            picture, truth = expected(case[0])
            compare(runner.run(compiled(*case), [picture])[0], truth)
