"""A tiny WDSR artifact made with TVM alone, and a real tracker with one server."""

import json

import numpy as np
import pytest

from sr_tvm.architecture import COLOURS, Architecture, Block
from sr_tvm.artifact import Artifact, Tensor, sha256

HEIGHT, WIDTH = 12, 16
KEY = "box"


def wdsr_module(architecture, height, width, seed=0):
    """A WDSR with seeded weights as a Relax module; the pixel shuffle spelled out."""
    from tvm import relax
    from tvm.relax import op

    rng = np.random.default_rng(seed)
    builder = relax.BlockBuilder()
    layers = {name: (cin, cout, k) for name, cin, cout, k in architecture.convolutions}

    def conv(x, name):
        cin, cout, k = layers[name]
        weight = rng.standard_normal((cout, cin, k, k)) / np.sqrt(cin * k * k)
        bias = rng.standard_normal((1, cout, 1, 1)) / 10
        y = builder.emit(op.nn.conv2d(x, relax.const(weight.astype("float32")), padding=k // 2))
        return builder.emit(op.add(y, relax.const(bias.astype("float32"))))

    x = relax.Var("x", relax.TensorType((1, COLOURS, height, width), "float32"))
    s = architecture.scale
    with builder.function("main", [x]):
        with builder.dataflow():
            deep = conv(x, "head")
            for i in range(len(architecture.blocks)):
                wide = builder.emit(op.nn.relu(conv(deep, f"blocks.{i}.expand")))
                narrow = conv(conv(wide, f"blocks.{i}.linear"), f"blocks.{i}.project")
                deep = builder.emit(op.add(deep, narrow))
            y = builder.emit(op.add(conv(deep, "tail"), conv(x, "skip")))
            y = op.permute_dims(op.reshape(y, (1, COLOURS, s, s, height, width)), [0, 1, 4, 2, 5, 3])
            y = builder.emit_output(op.reshape(y, (1, COLOURS, height * s, width * s)))
        builder.emit_func_output(y)
    return builder.get()


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
