"""The `Kernel` record: TIR functions for a region, or for a part of one, and how they are called."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from sr_tvm.regions.value import GLOBAL, Value

if TYPE_CHECKING:
    import tvm

    from sr_tvm.regions.region import Region

# On each kernel of a scheduled module: "tuned" or "default", and which tuning record made it so.
SCHEDULE_ATTR, RECORD_ATTR = "sr_tvm.schedule", "sr_tvm.record"
TUNED, DEFAULT = "tuned", "default"
ESTIMATED = ", by estimated times"  # ends the words for a record that was found without running anything

Shape = tuple[int | None, int | None, int | None]
"""N, H and W of a region's tensors; None for a value known only when it runs."""


@dataclass(frozen=True, eq=False)
class KernelConstant:
    """Packed numbers that a kernel reads, as they lie in memory; ``scope`` is the memory's, as of a value."""

    name: str
    numbers: np.ndarray
    scope: str = GLOBAL


@dataclass(frozen=True, eq=False)
class Kernel:
    """One entry function for a region, or for a part of one.

    The parameters of ``functions[entry]`` are buffers of the shape, type and scope that the values say: the ``inputs``,
    the ``constants``, the ``outputs``. The other functions are private to the entry and carry its name as a prefix.

    Attributes:
        inputs: values of the region: a source, or an output of an earlier kernel of the same region.
        outputs: values that it makes.
        called: the global variables by which the functions call one another; TVM finds a function by identity, not by
            name.
    """

    functions: dict[str, tvm.tirx.PrimFunc]
    entry: str
    inputs: tuple[Value, ...]
    constants: tuple[KernelConstant, ...]
    outputs: tuple[Value, ...]
    called: tuple[tvm.ir.GlobalVar, ...] = ()

    def tuned(self, record: str) -> Kernel:
        """Mark the entry as made from a tuning record, told in words."""
        entry = self.functions[self.entry].with_attr({SCHEDULE_ATTR: TUNED, RECORD_ATTR: record})
        return replace(self, functions={**self.functions, self.entry: entry})

    def module_functions(self) -> dict[tvm.ir.GlobalVar, tvm.tirx.PrimFunc]:
        """The functions, keyed as a module needs them; the entry's variable is new."""
        import tvm

        variables = {var.name_hint: var for var in self.called}
        return {variables.get(name) or tvm.ir.GlobalVar(name): func for name, func in self.functions.items()}


class Lowers(Protocol):
    """Turns a region into kernels that run one after another; none where it leaves the region alone."""

    @property
    def name(self) -> str: ...

    def lower(self, region: Region, shape: Shape, name: str) -> list[Kernel]:
        """The kernels of ``region``; ``name`` is the prefix of their functions' names."""
        ...
