"""How a row of pixels lies in a line buffer, and how a tile of vectors covers it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sr_tvm.targets.cpu.rows.element import FLOAT32, Element

LINE = 64  # bytes of a cache line
SLOTS = 2  # vectors of one row in a tile


@dataclass(frozen=True)
class RowLayout:
    """Rows of ``width`` pixels as [channel][phase][pitch] elements, with a vector of padding at both ends of each line.

    With two phases, the even pixels of a row lie before the odd ones: then a shift by two pixels is a shift by one
    element, and the column transform of Winograd's F(2x2, 3x3) is arithmetic between vectors. A column block is
    ``2 * lanes`` pixels: with one phase two neighbouring vectors, with two a vector of even and one of odd pixels.

    Attributes:
        lanes: elements in a vector.
        phases: 1 or 2.
        rows: rows made in one step, 1 or 2.
        width: pixels of a strip, a multiple of ``block``.
        element: what it computes with.
    """

    lanes: int
    phases: int
    rows: int
    width: int
    element: Element = FLOAT32

    @property
    def block(self) -> int:
        """Pixels of a column block."""
        return SLOTS * self.lanes

    @property
    def pitch(self) -> int:
        """Elements of one phase of a channel's line, with the padding at both ends."""
        return self.width // self.phases + 2 * self.lanes

    @property
    def channel(self) -> int:
        """Elements from a channel to the next: an odd number of cache lines, so that channels use all cache sets."""
        line = LINE // self.element.bytes
        return (-(-self.phases * self.pitch // line) | 1) * line

    def line(self, slot: int, dx: int = 0) -> int:
        """Find a vector of a channel's line in column block 0.

        Args:
            slot: Which of the column block's vectors, 0 or 1.
            dx: Pixels by which it is shifted to the right, negative to the left.

        Returns:
            Elements from the begin of the channel.
        """
        if self.phases == 1:
            return self.lanes + slot * self.lanes + dx
        return ((slot + dx) % 2) * self.pitch + self.lanes + (slot + dx) // 2

    def column(self, block: Any) -> Any:
        """Find a column block.

        Args:
            block: Its number, an int or an expression.

        Returns:
            Elements from column block 0 of the same line, of the type of ``block``.
        """
        return block * (self.lanes if self.phases == 2 else self.block)

    def pixel(self, x: Any) -> Any:
        """Find a pixel of a channel's line.

        Args:
            x: Its number in the strip, an int or an expression.

        Returns:
            Elements from the begin of the channel.
        """
        import tvm.tirx as tirx

        if self.phases == 1:
            return self.lanes + x
        return tirx.floormod(x, 2) * self.pitch + self.lanes + tirx.floordiv(x, 2)

    def tile_pixel(self, x: Any) -> tuple[Any, Any]:
        """Find a pixel in the vectors of a tile.

        Args:
            x: Its number in the column block, an int or an expression.

        Returns:
            The slot of its vector, and its lane there.
        """
        import tvm.tirx as tirx

        if self.phases == 1:
            return tirx.floordiv(x, self.lanes), tirx.floormod(x, self.lanes)
        return tirx.floormod(x, 2), tirx.floordiv(x, 2)
