"""A small module to tune, and a bench that needs neither a compiler nor a clock."""

from __future__ import annotations

from dataclasses import dataclass

import tvm
from tvm import relax

from sr_tvm.targets.cpu.host import Cpu
from sr_tvm.targets.cpu.rows.machine import CpuCore
from sr_tvm.tuning.bench import Timing


@dataclass(frozen=True)
class Fixed(Cpu):
    """A processor that is the same on every machine."""

    mcpu: str = "x86-64-v3"
    cores: int = 2
    known: CpuCore | None = None

    def tvm_target(self):
        return tvm.target.Target({"kind": "llvm", "mcpu": self.mcpu, "num-cores": self.cores})

    def processor(self):
        return self.known or super().processor()


TARGET = Fixed()


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


class FakeBench:
    """Costs from the candidate's key: deterministic, without meaning. One in eleven fails."""

    clock, parallel = "fake", 1
    default = 0.05

    def __init__(self, stop_after=None):
        self.keys: list[str] = []
        self.stop_after = stop_after

    def measure(self, task, candidate, cutoff=None):
        if cutoff is None:  # the default, before the search
            return Timing(self.default)
        if self.keys[-1:] == [candidate.key]:  # what seems the best so far is measured twice
            return self.cost(candidate.key)
        if self.stop_after is not None and len(self.keys) >= self.stop_after:
            raise KeyboardInterrupt
        self.keys.append(candidate.key)
        return self.cost(candidate.key)

    def cost(self, key):
        if int(key, 16) % 11 == 0:
            return Timing(error="crashed: on purpose")
        return Timing((int(key, 16) % 10_007 + 1) * 1e-5, reference=self.default)

    def open(self):
        pass

    def abort(self):
        pass

    def close(self):
        pass
