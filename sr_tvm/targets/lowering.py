"""The seam between forming a region and making code of it: every target may offer a lowering."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    import tvm

    from sr_tvm.regions.region import Region

SCHEDULE_ATTR = "sr_tvm.schedule"  # on each kernel of a scheduled module: "tuned" or "default"

Shape = tuple[int | None, int | None, int | None]
"""N, H and W of a region's tensors; None for a value known only when it runs."""


@dataclass(frozen=True, eq=False)
class Kernel:
    """One TIR function for a region, or for a part of one, and how it is called.

    The parameters of ``functions[entry]`` are buffers of float32, the constants perhaps of float16: the ``inputs``, the
    ``constants``, the ``outputs``.
    The other functions are private to the entry and carry its name as a prefix.

    Attributes:
        inputs: names of region values: a source's, or an output of an earlier kernel of the same region.
        constants: packed weights.
        outputs: name of the region value, its channels C, and the factor r of the pixel shuffle of the store; the
            tensor is (N, C / r^2, H * r, W * r).
        called: the global variables by which the functions call one another; TVM finds a function by identity, not by
            name.
    """

    functions: dict[str, tvm.tirx.PrimFunc]
    entry: str
    inputs: tuple[str, ...]
    constants: tuple[np.ndarray, ...]
    outputs: tuple[tuple[str, int, int], ...]
    called: tuple[tvm.ir.GlobalVar, ...] = ()

    def tuned(self) -> Kernel:
        """The same, its entry marked as made from tuning records."""
        entry = self.functions[self.entry].with_attr(SCHEDULE_ATTR, "tuned")
        return replace(self, functions={**self.functions, self.entry: entry})

    def module_functions(self) -> dict[tvm.ir.GlobalVar, tvm.tirx.PrimFunc]:
        """The functions, keyed as a module needs them; the entry's variable is new."""
        import tvm

        variables = {var.name_hint: var for var in self.called}
        return {variables.get(name) or tvm.ir.GlobalVar(name): func for name, func in self.functions.items()}


class Lowering(Protocol):
    """Turns a region into kernels that run one after another."""

    name: str

    def lower(self, region: Region, shape: Shape, name: str) -> list[Kernel]:
        """The kernels of ``region``; ``name`` is the prefix of their functions' names."""
        ...
