"""Cut the output channels of a layer into register tiles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sr_tvm.streaming.rows.emit import Emitter


@dataclass(frozen=True)
class Blocks:
    """``full`` tiles of ``size`` channels and, where ``rest`` is not 0, one of ``rest``: as equal as can be."""

    full: int
    size: int
    rest: int

    @classmethod
    def of(cls, channels: int, most: int) -> Blocks:
        size = -(-channels // -(-channels // most))
        return cls(channels // size, size, channels % size)

    def visit(self, e: Emitter, unroll: bool = False) -> Iterator[tuple[Any, int]]:
        """Emit a loop over the full tiles, then the rest: yields the first channel and the size of each."""
        if unroll:
            yield from self.cuts()
            return
        with e.loop("tile", self.full) as tile:
            yield tile * self.size, self.size
        if self.rest:
            yield self.full * self.size, self.rest

    def cuts(self) -> list[tuple[int, int]]:
        """First channel and size of every tile."""
        sizes = [self.size] * self.full + ([self.rest] if self.rest else [])
        return [(i * self.size, size) for i, size in enumerate(sizes)]
