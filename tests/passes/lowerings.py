"""Lowerings for tests of region formation: one that leaves every region alone but remembers it, one that runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import tvm
from tvm import relax

from sr_tvm.build.schedule import schedule
from sr_tvm.codegen.kernel import Kernel, Shape
from sr_tvm.regions.region import Conv, Pointwise, Region, Result, Source
from sr_tvm.targets.cpu.host import Cpu
from sr_tvm.targets.plain.lowering import PlainLowering


class Recorder:
    """Keeps the regions it is given. Lowers them by ``inner``; without one it declines, so ``main`` stays as it is."""

    name = "recorder"

    def __init__(self, inner=None) -> None:
        self.inner = inner
        self.regions: list[Region] = []
        self.shapes: list[Shape] = []

    def lower(self, region: Region, shape: Shape, name: str) -> list[Kernel]:
        self.regions.append(region)
        self.shapes.append(shape)
        return self.inner.lower(region, shape, name) if self.inner else []


class Cut:
    """Plain loops, one kernel for each node: every value goes through memory, as an extreme choice of cut points."""

    name = "cut"

    def lower(self, region: Region, shape: Shape, name: str) -> list[Kernel]:
        made = []
        for i, part in enumerate(parts(region)):
            made += PlainLowering().lower(part, shape, f"{name}_part{i}")
        return made


def parts(region: Region) -> list[Region]:
    """A region for each node but the sources: its inputs become sources, its value a result."""
    found = []
    for node in region.nodes:
        if isinstance(node, Source):
            continue
        sources = [Source(name, region.by_name[name].channels) for name in dict.fromkeys(node.inputs)]
        results = [r for r in region.results if r.value == node.name]
        if region.readers[node.name] and Result(node.name) not in results:
            results.append(Result(node.name))
        found.append(Region((*sources, node), tuple(results)))
    return found


class Quick(Cpu):
    """The CPU target at LLVM's lowest level that still is of use: tests wait for the compiler, not for the code."""

    def tvm_target(self) -> tvm.target.Target:
        return tvm.target.Target({"kind": "llvm", "opt-level": 1})


def build(mod: tvm.IRModule) -> Callable[[list[np.ndarray]], list[np.ndarray]]:
    """Schedule and compile an optimised module as the CPU target does; a function that runs it."""
    target = Quick()
    machine = relax.VirtualMachine(target.compile(schedule(mod, target)), tvm.cpu())

    def run(arrays: list[np.ndarray]) -> list[np.ndarray]:
        got = machine["main"](*[tvm.runtime.tensor(a) for a in arrays])
        return [got.numpy()] if hasattr(got, "numpy") else [t.numpy() for t in got]

    return run


def kinds(region: Region) -> Counter:
    """How many nodes of each kind: Counter(Conv=3, relu=2, Add=1, ...)."""
    return Counter(n.function if isinstance(n, Pointwise) else type(n).__name__ for n in region.nodes)


def kernels_of(region: Region) -> list[str]:
    """The convolutions in order: ``3x3 24>144``, with ``/4`` for four groups."""
    rows = []
    for node in region.nodes:
        if isinstance(node, Conv):
            out, into, kh, kw = node.weight.shape
            rows.append(f"{kh}x{kw} {into * node.groups}>{out}" + (f"/{node.groups}" if node.groups > 1 else ""))
    return rows
