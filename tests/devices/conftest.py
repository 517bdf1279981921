"""A tiny WDSR artifact made with TVM alone, and a real tracker with one server."""

import json

import numpy as np
import pytest
from device_nets import wdsr_module

from sr_tvm.architecture import Architecture, Block
from sr_tvm.artifact import Artifact, Tensor, sha256

HEIGHT, WIDTH = 12, 16
KEY = "box"


@pytest.fixture(scope="session")
def artifact(tmp_path_factory):
    import tvm

    folder = tmp_path_factory.mktemp("artifact")
    architecture = Architecture(2, 4, (Block(8, 3),))
    target = {"kind": "llvm", "mcpu": "x86-64-v2"}
    tvm.compile(wdsr_module(architecture, HEIGHT, WIDTH), target=tvm.target.Target(target)).export_library(
        str(folder / "model.so")
    )
    made = Artifact(
        folder=folder,
        model="tiny.onnx",
        model_sha256="0" * 64,
        target="cpu",
        tvm_target=target,
        library="model.so",
        library_sha256=sha256(folder / "model.so"),
        inputs=(Tensor("x", (1, 3, HEIGHT, WIDTH)),),
        outputs=(Tensor("y", (1, 3, 2 * HEIGHT, 2 * WIDTH)),),
        architecture=architecture.to_json(),
    )
    made.save()
    json.loads((folder / "artifact.json").read_text())
    return Artifact.load(folder)


@pytest.fixture(scope="session")
def picture():
    return np.random.default_rng(1).random((1, 3, HEIGHT, WIDTH), dtype=np.float32)


@pytest.fixture(scope="session")
def tracker():
    from sr_tvm.devices.tracker import start_tracker

    with start_tracker() as address:
        yield address


@pytest.fixture(scope="session")
def server(tracker):
    from sr_tvm.devices.tracker import start_server

    with start_server(tracker, KEY) as running:
        yield running


@pytest.fixture
def device(tracker, server):
    from sr_tvm.devices.rpc import RpcDevice

    with RpcDevice(tracker, KEY, deadline=60) as box:
        yield box
