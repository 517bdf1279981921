"""Small Relax networks for the tests of passes, and running them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tvm
from tvm import relax

CPU = tvm.target.Target({"kind": "llvm", "num-cores": 1})


def const(numbers) -> relax.Expr:
    return relax.const(np.ascontiguousarray(numbers, dtype="float32"))


def channels(numbers) -> relax.Expr:
    """One number a channel, shaped (1, C, 1, 1)."""
    return const(np.asarray(numbers, dtype="float32").reshape(1, -1, 1, 1))


def conv(x, weight, padding=0, groups=1, strides=1) -> relax.Expr:
    return relax.op.nn.conv2d(x, const(weight), padding=padding, groups=groups, strides=strides)


def transposed(x, weight, padding=0, groups=1, strides=1) -> relax.Expr:
    return relax.op.nn.conv2d_transpose(x, const(weight), padding=padding, groups=groups, strides=strides)


def norm(x, gamma, beta, mean, variance, epsilon=0.0, **flags) -> relax.Expr:
    """The first output of an inference batch_norm."""
    args = [const(a) for a in (gamma, beta, mean, variance)]
    return relax.TupleGetItem(relax.op.nn.batch_norm(x, *args, axis=1, epsilon=epsilon, training=False, **flags), 0)


def network(build: Callable, *shapes) -> tvm.IRModule:
    """``main`` of inputs of these shapes. ``build(emit, x, ...)`` is the output; ``emit`` binds what is read twice."""
    builder = relax.BlockBuilder()
    xs = [relax.Var(f"x{i}", relax.TensorType(shape, "float32")) for i, shape in enumerate(shapes)]
    with builder.function("main", xs):
        with builder.dataflow():
            result = build(builder.emit, *xs)
            if isinstance(result, tuple):
                result = relax.Tuple([builder.emit(part) for part in result])
            out = builder.emit_output(result)
        builder.emit_func_output(out)
    return builder.finalize()


def inputs(mod: tvm.IRModule, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal([int(n) for n in p.ty.shape]).astype("float32") for p in mod["main"].params]


def run(mod: tvm.IRModule, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Build with TVM's defaults for this CPU and run once."""
    machine = relax.VirtualMachine(relax.build(mod, CPU), tvm.cpu())
    got = machine["main"](*[tvm.runtime.tensor(a) for a in arrays])
    return [t.numpy() for t in got] if not hasattr(got, "numpy") else [got.numpy()]


def assert_same_numbers(before: tvm.IRModule, after: tvm.IRModule, tolerance: float = 1e-5) -> None:
    """Both modules give the same on noise, to ``tolerance`` of the largest output."""
    arrays = inputs(before)
    for want, got in zip(run(before, arrays), run(after, arrays), strict=True):
        assert want.shape == got.shape and np.isfinite(got).all()
        assert np.abs(want - got).max() <= tolerance * max(1.0, np.abs(want).max())


def assert_same_structure(got: tvm.IRModule, expected: tvm.IRModule) -> None:
    """``main`` of both is the same, names of variables apart, constants to the last bit."""
    tvm.ir.assert_structural_equal(got["main"], expected["main"], map_free_vars=True)


def ops(mod: tvm.IRModule) -> list[str]:
    """Names of the operators and kernels that ``main`` calls, in order."""
    names = []
    for block in mod["main"].body.blocks:
        for binding in block.bindings:
            value = binding.value
            if isinstance(value, relax.Call):
                called = value.args[0].name_hint if value.op == tvm.ir.Op.get("relax.call_tir") else value.op.name
                names.append(called.removeprefix("relax.").removeprefix("nn."))
    return names
