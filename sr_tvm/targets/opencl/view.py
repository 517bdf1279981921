"""What a convolution sees of a value in memory: the pixels beside a work-item's own, zeros outside of the picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from tvm import tirx

from sr_tvm.codegen.builder import Expr
from sr_tvm.regions.region import Pointwise
from sr_tvm.targets.opencl.code import GpuBuilder
from sr_tvm.targets.opencl.forms import ValueMemory
from sr_tvm.targets.opencl.registers import arithmetic

Parameter = Callable[[str, int, Expr], Expr]  # of a node by its name, which one, the group: a vector of numbers


@dataclass(frozen=True)
class Pixels:
    """The pixels of a work-item: neighbours in a row of a picture.

    Attributes:
        image: Which picture of the batch, an expression.
        x: Column of the first, an expression.
        count: How many.
    """

    image: Expr
    x: Expr
    count: int


class View:
    """A value in memory as a convolution sees it: zeros outside the picture, arithmetic done on the way.

    Args:
        b: Writes the kernel.
        at: The work-item's own pixels.
        memory: The value.
        chain: Arithmetic on the way, the first done first.
        parameter: Reads the numbers of that arithmetic.
        reach: How many pixels beside its own a work-item looks, to the left and to the right.
    """

    def __init__(
        self,
        b: GpuBuilder,
        at: Pixels,
        memory: ValueMemory,
        chain: Sequence[Pointwise],
        parameter: Parameter,
        reach: int,
    ) -> None:
        self.b, self.at, self.memory, self.chain, self.parameter = b, at, memory, chain, parameter
        x = at.x
        self.columns: dict[int, tuple[Expr, Expr]] = {}
        if not self._zeros:
            for offset in range(-reach, 0):
                inside = x + offset >= 0
                self.columns[offset] = b.bind("at", tirx.max(x + offset, b.integer(0))), self._mask(inside)
            for offset in range(at.count, at.count + reach):
                inside = x + offset < memory.width
                last = b.integer(memory.width - 1)
                self.columns[offset] = b.bind("at", tirx.min(x + offset, last)), self._mask(inside)

    @property
    def _zeros(self) -> bool:
        """Whether what is outside reads as zero by itself."""
        return self.memory.border and not self.chain

    def _mask(self, condition: Expr) -> Expr:
        b = self.b
        return b.bind("mask", tirx.Cast(b.dtype, condition))

    @contextmanager
    def inside(self, row: Expr, reach: int) -> Iterator[None]:
        """Write what follows so that it is done for rows of the picture only, where the kernel reaches beyond.

        Args:
            row: The row that is read, an expression; it may lie outside the picture.
            reach: Rows above and below its own that the convolution looks at; 0: never outside.
        """
        if reach == 0 or self._zeros:
            yield
            return
        with self.b.when(tirx.And(row >= 0, row < self.memory.height)):
            yield

    def read(self, group: Expr, row: Expr, offset: int, count: int) -> list[Expr]:
        """Read the numbers of one pixel, zeros outside the picture.

        Args:
            group: Which four channels.
            row: Row of the pixel, in the picture unless the memory reads as zero outside.
            offset: Columns from the work-item's first pixel, negative to the left.
            count: Channels to read, from the first of the group on, at most 4.

        Returns:
            So many scalars of the builder's element type.
        """
        b = self.b
        x, mask = self.columns.get(offset, (self.at.x + offset, None))
        scalars = self.memory.read(self.at.image, group, row, x, count)
        if self.chain:
            for node in self.chain:
                rows = [b.bind("p", self.parameter(node.name, i, group)) for i in range(len(node.parameters))]
                scalars = [
                    arithmetic(b, node.function, scalar, [b.lane(row, i) for row in rows])
                    for i, scalar in enumerate(scalars)
                ]
        if mask is not None:
            scalars = [scalar * mask for scalar in scalars]
        return [b.bind("q", scalar) for scalar in scalars] if mask is not None or self.chain else scalars
