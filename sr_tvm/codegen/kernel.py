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
    """Packed numbers that a kernel reads, as they lie in memory; ``scope`` is the memory's, as of a value.

    Attributes:
        name: Of the kernel's parameter.
        numbers: In the shape and element type of that parameter.
        scope: TVM's name of the memory that they lie in.
    """

    name: str
    numbers: np.ndarray
    scope: str = GLOBAL


@dataclass(frozen=True, eq=False)
class Kernel:
    """One entry function for a region, or for a part of one.

    The parameters of ``functions[entry]`` are buffers of the shape, type and scope that the values say: the ``inputs``,
    the ``constants``, the ``outputs``. The other functions are private to the entry and carry its name as a prefix.

    Attributes:
        inputs: Values of the region: a source, or an output of an earlier kernel of the same region.
        outputs: Values that it makes.
        called: The global variables by which the functions call one another; TVM finds a function by identity, not by
            name.
    """

    functions: dict[str, tvm.tirx.PrimFunc]
    entry: str
    inputs: tuple[Value, ...]
    constants: tuple[KernelConstant, ...]
    outputs: tuple[Value, ...]
    called: tuple[tvm.ir.GlobalVar, ...] = ()

    def tuned(self, record: str) -> Kernel:
        """Mark the entry as made from a tuning record.

        Args:
            record: Words that tell a person which one, of which file.

        Returns:
            The kernel with an entry that has the attributes ``SCHEDULE_ATTR`` and ``RECORD_ATTR``.
        """
        entry = self.functions[self.entry].with_attr({SCHEDULE_ATTR: TUNED, RECORD_ATTR: record})
        return replace(self, functions={**self.functions, self.entry: entry})

    def module_functions(self) -> dict[tvm.ir.GlobalVar, tvm.tirx.PrimFunc]:
        """Give the functions the variables that a module finds them by.

        Returns:
            The functions by variable: those of ``called`` for private ones, and a new one for the entry.
        """
        import tvm

        variables = {var.name_hint: var for var in self.called}
        return {variables.get(name) or tvm.ir.GlobalVar(name): func for name, func in self.functions.items()}


class Lowers(Protocol):
    """What turns a region into kernels that run one after another."""

    @property
    def name(self) -> str:
        """The name of the lowering, as reports of the passes tell it."""
        ...

    def lower(self, region: Region, shape: Shape, name: str) -> list[Kernel]:
        """Make the kernels of a region.

        Args:
            region: What they compute together.
            shape: N, H and W of the region's tensors; None for one known only at run time.
            name: The prefix of their functions' names.

        Returns:
            The kernels in the order they run; none where the region is left to the passes that follow.
        """
        ...
