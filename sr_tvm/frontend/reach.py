"""Which input pixels, along one axis, a pixel depends on: an interval for each phase of the output grid."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Axis:
    """Pixel i of a tensor with ``scale`` pixels an input pixel depends on the input pixels from
    ``i // scale + low[i % scale]`` to ``i // scale + high[i % scale]``. An empty interval has low > high.
    """

    low: tuple[int, ...]
    high: tuple[int, ...]

    @classmethod
    def of_input(cls) -> Axis:
        """A pixel of the input depends on itself."""
        return cls((0,), (0,))

    @property
    def scale(self) -> int:
        return len(self.low)

    @property
    def halo(self) -> int:
        """The largest distance, to either side."""
        return max(0, *(-a for a, b in zip(self.low, self.high, strict=True) if a <= b), *self.high)

    def at(self, i: int) -> tuple[int, int]:
        """The interval of pixel ``i``, in input pixels."""
        block, phase = divmod(i, self.scale)
        return block + self.low[phase], block + self.high[phase]

    def gather(self, scale: int, sources: Callable[[int], Iterable[int]]) -> Axis:
        """The axis of a tensor of that ``scale`` whose pixel i is computed from pixels ``sources(i)`` of this one."""
        low, high = [], []
        for i in range(scale):
            spans = [(a, b) for a, b in map(self.at, sources(i)) if a <= b]
            low.append(min((a for a, _ in spans), default=1))
            high.append(max((b for _, b in spans), default=0))
        return Axis(tuple(low), tuple(high))


def union(axes: list[Axis]) -> Axis:
    """What a pixel computed from the same pixel of several tensors depends on. All are of one scale."""
    low, high = [], []
    for i in range(axes[0].scale):
        spans = [s for s in (a.at(i) for a in axes) if s[0] <= s[1]]
        low.append(min((a for a, _ in spans), default=1))
        high.append(max((b for _, b in spans), default=0))
    return Axis(tuple(low), tuple(high))
