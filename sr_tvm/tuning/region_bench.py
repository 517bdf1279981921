"""In the worker: the kernels of a region as decided, compiled, checked against the default decisions, and timed."""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np

from sr_tvm.regions.cut import Cutter
from sr_tvm.regions.data import from_data
from sr_tvm.targets.cpu.gemm.lowering import worth
from sr_tvm.targets.cpu.rows.decisions import Decisions
from sr_tvm.targets.cpu.rows.lowering import RowLowering
from sr_tvm.targets.cpu.rows.machine import Processor
from sr_tvm.targets.lowering import Kernel
from sr_tvm.tuning.stopwatch import Stopwatch, difference, fill

KEPT = 64  # compiled pieces: children share most with their parents
PREFIX = "region"


class RegionBench:
    """One region: its inputs, the outputs of its default decisions, and a stopwatch.

    A piece is compiled once for all candidates that have it, and for all pieces of its structure. Tensors between
    pieces are kept, too.
    """

    def __init__(self, tvm: Any, message: dict[str, Any]) -> None:
        self.tvm, self.watch = tvm, Stopwatch(message["threads"])
        self.target = tvm.target.Target(json.loads(message["target"]))
        self.region = from_data(message["region"])
        self.shape, self.size = tuple(message["shape"]), tuple(message["size"])
        self.lowering = RowLowering(Processor(**message["processor"]), winograd=message["winograd"])
        self.cutter = Cutter(self.region)
        self.code: OrderedDict[str, Any] = OrderedDict()
        rng = np.random.default_rng(0)
        n, h, w = self.size
        inputs = {s.name: fill(rng, [n, s.channels, h, w], "float32") for s in self.region.sources}
        self.tensors = {(name, 1): tvm.runtime.tensor(array) for name, array in inputs.items()}
        self.expected: dict[tuple[str, int], np.ndarray] = {}
        self.reference: Callable[[], None] | None = None
        self.default = Decisions.from_json(message["default"], "the default decisions")

    def measure(self, decisions: Decisions, cutoff: float | None) -> dict[str, Any]:
        started = time.perf_counter()
        calls = self._calls(decisions)
        built = time.perf_counter()
        for result in self.region.results:  # what a kernel leaves unwritten shows
            tensor = self._tensor(result.value, result.shuffle)
            tensor.copyfrom(np.full(tensor.shape, np.nan, "float32"))

        def run() -> None:
            for function, arguments in calls:
                function(*arguments)

        run()
        problem = self._wrong()
        if problem:
            return {"error": problem}
        self.reference = self.reference or run  # the first is the default
        seconds, reference = self.watch.ratio(run, self.reference, cutoff)
        times = {"build_s": built - started, "run_s": time.perf_counter() - built}
        return {"seconds": seconds, "reference": reference, **times}

    def _calls(self, decisions: Decisions) -> list[tuple[Callable[..., Any], list[Any]]]:
        calls = []
        kernels = self.lowering.lower_as(self.region, self.shape, PREFIX, decisions)
        pieces = self.cutter.pieces(decisions.cuts)
        # Tensors between pieces lie in memory as the kernels on both sides like it: kernels of rows all like the same.
        rows = not any(worth(piece.region, self.shape, self.lowering.processor.l2_bytes) for piece in pieces)
        outside = {s.name for s in self.region.sources} | {r.value for r in self.region.results}
        for kernel, piece, decided in zip(kernels, pieces, decisions.pieces, strict=True):
            constants = [self.tvm.runtime.tensor(array) for array in kernel.constants]
            inputs = [self.tensors[name, 1] for name in kernel.inputs]
            outputs = [self._tensor(name, shuffle) for name, _, shuffle in kernel.outputs]
            names = [*kernel.inputs, *(name for name, _, _ in kernel.outputs)]
            place = [name in outside for name in names] if rows else [kernel.entry, list(decisions.cuts)]
            code = self._compiled([piece.region.describe(), asdict(decided), place], kernel)
            calls.append((code, [*inputs, *constants, *outputs]))
        return calls

    def _tensor(self, name: str, shuffle: int) -> Any:
        key = (name, shuffle)
        if key not in self.tensors:
            n, h, w = self.size
            shape = (n, self.region.by_name[name].channels // shuffle**2, h * shuffle, w * shuffle)
            self.tensors[key] = self.tvm.runtime.empty(shape, "float32")
        return self.tensors[key]

    def _compiled(self, structure: Any, kernel: Kernel) -> Any:
        """The code of a kernel, which depends on ``structure`` alone: the numbers come as constants."""
        key = json.dumps(structure)
        if key not in self.code:
            functions = {
                var: function.with_attr("global_symbol", kernel.entry) if var.name_hint == kernel.entry else function
                for var, function in kernel.module_functions().items()
            }
            module = self.tvm.IRModule(functions)
            self.code[key] = self.tvm.compile(module, target=self.target, tir_pipeline="s_tir")[kernel.entry]
        self.code.move_to_end(key)
        while len(self.code) > KEPT:
            self.code.popitem(last=False)
        return self.code[key]

    def _wrong(self) -> str | None:
        found = {(r.value, r.shuffle): self._tensor(r.value, r.shuffle).numpy() for r in self.region.results}
        if not self.expected:
            self.expected = {key: array.copy() for key, array in found.items()}
            bad = [name for (name, _), array in found.items() if not np.isfinite(array).all()]
            return f"wrong result: {bad[0]} is not finite with the default decisions" if bad else None
        problems = (difference(f"result {key[0]}", array, self.expected[key]) for key, array in found.items())
        return next(filter(None, problems), None)
