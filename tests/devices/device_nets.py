"""Networks that the tests of devices compile."""

import numpy as np

from sr_tvm.architecture import COLOURS


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
