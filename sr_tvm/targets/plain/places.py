"""The functions of the plain lowering: their parameters, and where a value's rows are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tvm import tirx

from sr_tvm.codegen.builder import Expr, FunctionBuilder
from sr_tvm.codegen.kernel import Shape

INDEX = "int64"


def dimensions(shape: Shape) -> list[Expr]:
    """Give N, H and W as indices: variables where they are known at run time only."""
    return [tirx.Var(name, INDEX) if s is None else tirx.const(s, INDEX) for s, name in zip(shape, "nhw", strict=True)]


@dataclass(frozen=True)
class RowPlace:
    """Where the rows of a value are: a line buffer (C, rows, W), or a source, (N, C, H, W), ``line_buffer`` 0."""

    channels: int
    line_buffer: int

    def extents(self, batch: Expr, height: Expr, width: Expr) -> tuple[Expr, ...]:
        """Give the shape of the buffer."""
        return (self.channels, self.line_buffer, width) if self.line_buffer else (batch, self.channels, height, width)


class RowFunction(FunctionBuilder):
    """A function for one row; its parameters are pointers as they are declared, image, row, sizes known at run time."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(index=INDEX)
        self.batch, self.height, self.width = dims = dimensions(shape)
        # TVM's NarrowDataType makes the index of a short loop an int32, but not the parameter of the function it goes
        # to: so these are int32 where they are passed.
        self._place = [tirx.Var("image", "int32"), tirx.Var("row", "int32")]
        self.image, self.row = (tirx.Cast(INDEX, var) for var in self._place)
        self._sizes = [dim for dim, size in zip(dims, shape, strict=True) if size is None]

    def array(self, name: str, shape: Sequence[Expr]) -> tirx.Var:
        """Append a pointer to a tensor of ``shape``."""
        return self.view(name, self.pointer(f"{name}_pointer"), shape)

    def rows(self, name: str, place: RowPlace) -> Rows:
        """Append a pointer to a value's rows."""
        return Rows(self, self.array(name, place.extents(self.batch, self.height, self.width)), place)

    def private(self, name: str) -> tirx.PrimFunc:
        self.params += [*self._place, *self._sizes]
        return super().private(name)


@dataclass(frozen=True)
class Rows:
    """The rows of a value in a function."""

    of: RowFunction
    data: tirx.Var
    place: RowPlace

    def at(self, channel: Expr, row: Expr, x: Expr) -> list[Expr]:
        """Give the indices of a pixel; ``row`` is a row of the picture."""
        if self.place.line_buffer:
            return [channel, row % self.place.line_buffer, x]
        return [self.of.image, channel, row, x]

    def load(self, channel: Expr, row: Expr, x: Expr) -> Expr:
        return self.of.load(self.data, *self.at(channel, row, x))

    def store(self, value: Expr, channel: Expr, row: Expr, x: Expr) -> None:
        self.of.store(self.data, value, *self.at(channel, row, x))
