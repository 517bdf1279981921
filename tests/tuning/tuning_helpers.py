"""A small module to tune, and a measurer that needs neither a compiler nor a clock."""

from __future__ import annotations

import tvm
from tvm import relax

from sr_tvm.tuning.runner import Timing
from sr_tvm.tuning.trace_genome import structural_key

TARGET = {"kind": "llvm", "mcpu": "x86-64-v3", "num-cores": 2}


def module(size=16, channels=8):
    """Two kernels: one convolution called twice, one called once; fused, unscheduled."""
    # TVM has no kernel time here: small, so that a test takes a second.
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((1, 3, size, size), "float32"))
    w = [relax.Var(f"w{i}", relax.TensorType((channels, c, 3, 3), "float32")) for i, c in enumerate((3, channels))]
    with builder.function("main", [x, *w]):
        with builder.dataflow():
            y = x
            for weight in (w[0], w[1], w[1]):
                y = builder.emit(relax.op.nn.relu(relax.op.nn.conv2d(y, weight, padding=1)))
            out = builder.emit_output(y)
        builder.emit_func_output(out)
    t = relax.transform
    steps = [t.LegalizeOps(), t.AnnotateTIROpPattern(), t.FuseOps(), t.FuseTIR()]
    return tvm.transform.Sequential(steps)(builder.get())


class FakeMeasurer:
    """Costs from the candidate's structural hash: deterministic, without meaning."""

    clock = "fake"

    def __init__(self, stop_after=None):
        self.keys: list[str] = []
        self.stop_after = stop_after

    def open_task(self, mod, baseline=None):
        return Timing(0.05 if baseline is not None else None)

    def measure(self, mod, cutoff=None):
        if self.stop_after is not None and len(self.keys) >= self.stop_after:
            raise KeyboardInterrupt
        key = structural_key(mod)
        self.keys.append(key)
        if int(key, 16) % 11 == 0:
            return Timing(error="crashed: on purpose")
        return Timing((int(key, 16) % 10_007 + 1) * 1e-5)

    def close(self):
        pass
