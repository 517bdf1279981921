"""Networks that the tests of devices compile."""

import numpy as np

from sr_tvm.records.architecture import COLOURS
from sr_tvm.records.artifact import Artifact, Tensor
from sr_tvm.system.files import sha256


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


def tiny_artifact(folder, architecture, height, width, seed=0):
    """The artifact of that network, at one size or, where height and width are names, at any."""
    import tvm

    def dimension(size):
        return tvm.tirx.Var(size, "int64") if isinstance(size, str) else size

    def times(size):
        return f"{architecture.scale}*{size}" if isinstance(size, str) else architecture.scale * size

    target = {"kind": "llvm", "mcpu": "x86-64-v2"}
    module = wdsr_module(architecture, dimension(height), dimension(width), seed)
    folder.mkdir(exist_ok=True)
    tvm.compile(module, target=tvm.target.Target(target)).export_library(str(folder / "model.so"))
    Artifact(
        folder=folder,
        model="tiny.onnx",
        model_sha256="0" * 64,
        target="cpu",
        tvm_target=target,
        library="model.so",
        library_sha256=sha256(folder / "model.so"),
        inputs=(Tensor("x", (1, COLOURS, height, width)),),
        outputs=(Tensor("y", (1, COLOURS, times(height), times(width))),),
        architecture=architecture.to_json(),
    ).save()
    return Artifact.load(folder)
