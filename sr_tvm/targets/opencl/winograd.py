"""Convolutions of three columns by Winograd's F(2, 3): two neighbours of a row by four multiplications, not six."""

from __future__ import annotations

from collections.abc import Sequence

from sr_tvm.codegen.builder import Expr
from sr_tvm.targets.opencl.code import GpuBuilder
from sr_tvm.targets.opencl.registers import Fetch, Held
from sr_tvm.targets.opencl.weights import COLUMNS


class Winograd:
    """The sums of one convolution (Lavin and Gray, arXiv 1509.09308), added to those in ``made``.

    Of the four products of a pair of pixels, the first is added to the pair's first sum where it lies, the last to the
    second; the middle ones have sums of their own, since both pixels take them, and :meth:`finish` adds them.
    """

    def __init__(self, b: GpuBuilder, made: Held) -> None:
        self.b, self.made = b, made
        self.between = Held(b, "between", made.channels, made.pixels)
        for group in range(made.groups):
            for pixel in range(made.pixels):
                self.between.put(group, pixel, b.spread(b.real(0), made.lanes(group)))

    def add(self, pixels: Sequence[Sequence[Expr]], of: int, fetch: Fetch) -> None:
        """Add the products of a row's pixels with its transformed weights.

        Args:
            pixels: The numbers of some inputs, at most four, of each pixel that the row's results see, from left to
                right: two more than the work-item computes.
            of: Inputs that the weights are packed for; it may be more than there are numbers.
            fetch: Gives the transformed weights, by column, input and group of outputs.
        """
        made = self.made
        for column in range(COLUMNS):
            sums, which = (made, column // 3) if column in (0, 3) else (self.between, column - 1)
            for c in range(len(pixels[0])):
                factors = [
                    self._factor(column, [pixel[c] for pixel in pixels[left : left + COLUMNS]])
                    for left in range(0, made.pixels, 2)
                ]
                for group in range(made.groups):
                    sums.add(group, fetch((column * of + c) * made.groups + group), factors, which, 2)

    def _factor(self, column: int, row: Sequence[Expr]) -> Expr:
        """Return what a column of the transformed weights is multiplied by, of four numbers of a row."""
        a, b, c, d = row
        return self.b.bind("t", (a - c, b + c, c - b, d - b)[column])

    def finish(self) -> None:
        """Add what both pixels of a pair take to the sums, once all rows are added."""
        made, between = self.made, self.between
        for group in range(made.groups):
            for pixel in range(0, made.pixels, 2):
                both, apart = between.get(group, pixel), between.get(group, pixel + 1)
                made.put(group, pixel, made.get(group, pixel) + (both + apart))
                made.put(group, pixel + 1, made.get(group, pixel + 1) + (both - apart))
