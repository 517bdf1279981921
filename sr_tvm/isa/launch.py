"""What is known of a kernel before it is compiled: how many work-items run it, and how often its loops go round."""

from __future__ import annotations

import math
from collections.abc import Iterator

from sr_tvm.system.validation import Count, Positive, Record

Axes = tuple[Positive, Positive, Positive]


class SourceLoop(Record, frozen=True, forbid_unknown_fields=False):
    """A loop of the source, and how much one iteration does outside of its inner loops.

    Attributes:
        extent: Iterations.
        multiplies: Floating-point multiplications of an iteration, an element of a vector each.
        macs: Those of them whose product is added to something.
        stores: Words of 32 bits written to global or local memory in an iteration.
    """

    extent: Count
    multiplies: float = 0
    macs: float = 0
    stores: float = 0
    inner: tuple[SourceLoop, ...] = ()

    def total(self, field: str) -> float:
        """Add up what all iterations of the loop do, those of inner loops included.

        Args:
            field: "multiplies", "macs" or "stores".

        Returns:
            As many of them, in the unit of the field.
        """
        return self.extent * (getattr(self, field) + sum(loop.total(field) for loop in self.inner))

    def flat(self) -> Iterator[SourceLoop]:
        """List this loop and all within.

        Yields:
            The loops in the order of the text, this one first.
        """
        yield self
        for loop in self.inner:
            yield from loop.flat()


class Launch(Record, frozen=True, forbid_unknown_fields=False):
    """One kernel as it is launched.

    Attributes:
        name: The kernel's in the OpenCL C.
        groups: Work-groups along x, y, z.
        local_size: Work-items of a group along x, y, z.
        body: All that one work-item does, as a loop of one iteration.
        read, written: Bytes that one work-item reads and writes, by memory ("global", "local", "constant", "image").
        footprint: Bytes of buffers and images that all work-items together touch at least: each of them once.
        problem: Why loops or sizes are not known; "" where they are.
    """

    name: str
    groups: Axes
    local_size: Axes
    body: SourceLoop
    read: dict[str, float]
    written: dict[str, float]
    footprint: float = 0
    problem: str = ""

    @property
    def items(self) -> int:
        """Work-items that are launched, idle ones at the edge included."""
        return math.prod(self.groups) * math.prod(self.local_size)
