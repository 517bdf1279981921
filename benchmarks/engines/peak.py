"""The most that one core can do: fused multiply-adds of registers and nothing else, through TVM like our kernels.

``python -m benchmarks.engines.peak`` prints it. peers measures it as one more engine in its rounds, so that a share of
the peak compares two numbers of the same minutes.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from benchmarks import common

NAME = "fma peak"
MS = 20.0  # about the length of one burst


def kernel(accumulators: int, lanes: int, repeats: int) -> Any:
    """A TIR function ``main(inp, out)``: ``repeats`` times ``acc = acc * inp[0] + inp[1]`` on each accumulator.

    Each accumulator is a local buffer of one vector, so LLVM keeps it in a register; none depends on another, so their
    latencies overlap. ``inp`` has 2 float32, ``out`` accumulators x lanes.
    """
    from tvm import tirx

    inp = tirx.decl_buffer((2,), "float32", "inp")
    out = tirx.decl_buffer((accumulators * lanes,), "float32", "out")
    held = [tirx.decl_buffer((lanes,), "float32", f"acc{i}", scope="local") for i in range(accumulators)]
    whole = tirx.Ramp(0, 1, lanes)
    factor, addend = (tirx.Var(name, f"float32x{lanes}") for name in ("factor", "addend"))
    steps = [tirx.BufferStore(acc, tirx.BufferLoad(acc, [whole]) * factor + addend, [whole]) for acc in held]
    body = [tirx.Bind(v, tirx.Broadcast(tirx.BufferLoad(inp, [i]), lanes)) for i, v in enumerate((factor, addend))]
    for i, acc in enumerate(held):  # different values, or LLVM would compute one of them for all
        start = tirx.Broadcast(tirx.FloatImm("float32", float(i)), lanes)
        body += [tirx.AllocBuffer(acc), tirx.BufferStore(acc, start, [whole])]
    body.append(tirx.For(tirx.Var("i", "int32"), 0, repeats, tirx.ForKind.SERIAL, tirx.SeqStmt(steps)))
    for i, acc in enumerate(held):
        body.append(tirx.BufferStore(out, tirx.BufferLoad(acc, [whole]), [tirx.Ramp(i * lanes, 1, lanes)]))
    function = tirx.PrimFunc([inp, out], tirx.SeqStmt(body))
    return function.with_attr("global_symbol", "main").with_attr("tirx.noalias", True)


class Peak:
    """One core's peak as an engine: :meth:`time` is the ms of one burst of ``flops`` operations, ``lanes`` at once."""

    name = NAME

    def __init__(self, milliseconds: float = MS) -> None:
        from sr_tvm.system.tvm_setup import import_tvm

        tvm = import_tvm()
        from tvm.target import codegen

        from sr_tvm.targets import registry

        target = registry.get("cpu").tvm_target()
        self.lanes = codegen.llvm_get_vector_width(target) // 32
        # Enough for 2 units of 4 cycles' latency; AVX-512 has 32 registers, others 16 that also hold the two operands.
        self.accumulators = 24 if self.lanes >= 16 else 12
        self._values = tvm.runtime.tensor(np.array([0.9, 0.1], np.float32))
        self._result = tvm.runtime.tensor(np.zeros(self.accumulators * self.lanes, np.float32))

        def build(repeats: int) -> None:
            module = tvm.IRModule({"main": kernel(self.accumulators, self.lanes, repeats)})
            self._run = tvm.compile(module, target=target)["main"]
            self.flops = 2 * self.accumulators * self.lanes * repeats

        tried = 10_000
        build(tried)
        self.time()
        build(max(tried, int(tried * milliseconds / min(self.time() for _ in range(3)))))
        self.time()

    def time(self) -> float:
        """Milliseconds of one burst, after an untimed one that finds the core awake."""
        self._run(self._values, self._result)
        start = time.perf_counter()
        self._run(self._values, self._result)
        return (time.perf_counter() - start) * 1e3

    def gflops(self, ms: float) -> float:
        """What a burst that took ``ms`` comes to."""
        return self.flops / ms / 1e6

    def result(self) -> np.ndarray:
        """The accumulators after the last burst, (accumulators, lanes): all near 1, the fixed point of 0.9 x + 0.1."""
        return self._result.numpy().reshape(self.accumulators, self.lanes)


def main() -> None:
    peak = Peak()
    timing = common.timing([peak.time() for _ in range(50)])
    low, middle, high = (peak.gflops(timing[key]) for key in ("ms_high", "ms", "ms_low"))
    print(f"{middle:.1f} GFLOPS on one core ({low:.1f} to {high:.1f}), {peak.lanes} lanes of float32")


if __name__ == "__main__":
    main()
