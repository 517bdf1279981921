"""Cut the output channels of a layer into register tiles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sr_tvm.codegen.builder import FunctionBuilder


@dataclass(frozen=True)
class Blocks:
    """``count`` tiles as equal as can be: the first ``larger`` of them have ``size`` channels, the others one less."""

    count: int
    size: int
    larger: int

    @classmethod
    def of(cls, channels: int, most: int) -> Blocks:
        """Cut channels into the fewest tiles of at most so many.

        Args:
            channels: How many are cut, 1 or more.
            most: Channels of a tile, at most.

        Returns:
            The cut.
        """
        count = -(-channels // most)
        size = -(-channels // count)
        return cls(count, size, channels - count * (size - 1))

    def visit(self, e: FunctionBuilder, unroll: bool = False) -> Iterator[tuple[Any, int]]:
        """Emit a loop over the larger tiles and one over the others.

        Args:
            e: The function that is being written.
            unroll: Whether to write out every tile instead, with numbers known when it is written.

        Yields:
            First channel, an int or an expression, and size of a tile; what the caller emits meanwhile is its code.
        """
        if unroll:
            yield from self.cuts()
            return
        with e.loop("tile", self.larger) as tile:
            yield tile * self.size, self.size
        if self.count > self.larger:
            with e.loop("tile", self.count - self.larger) as tile:
                yield tile * (self.size - 1) + self.larger * self.size, self.size - 1

    def cuts(self) -> list[tuple[int, int]]:
        """List the tiles.

        Returns:
            First channel and size of every tile.
        """
        sizes = [self.size] * self.larger + [self.size - 1] * (self.count - self.larger)
        return [(sum(sizes[:i]), size) for i, size in enumerate(sizes)]
