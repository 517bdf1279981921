"""The functions of the plain lowering: their parameters, and where a value's rows are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tvm import tirx
from typing_extensions import override

from sr_tvm.codegen.builder import Expr, FunctionBuilder
from sr_tvm.codegen.kernel import Shape

INDEX = "int64"


def dimensions(shape: Shape) -> list[Expr]:
    """Give N, H and W as indices of type int64.

    Args:
        shape: The three sizes; None for what is known only at run time.

    Returns:
        A constant for each known size, and a variable for each other.
    """
    return [tirx.Var(name, INDEX) if s is None else tirx.const(s, INDEX) for s, name in zip(shape, "nhw", strict=True)]


@dataclass(frozen=True)
class RowPlace:
    """Where the rows of a value lie.

    Attributes:
        channels: of the value.
        line_buffer: rows of its line buffer (channels, rows, width), where row y of the picture is at y modulo
            ``rows``; 0 for a source, which lies as (N, C, H, W).
    """

    channels: int
    line_buffer: int

    def extents(self, batch: Expr, height: Expr, width: Expr) -> tuple[Expr, ...]:
        """Give the shape of the buffer that holds the rows.

        Args:
            batch: Pictures.
            height: Rows of a picture.
            width: Pixels of a row.

        Returns:
            (channels, rows, width) of a line buffer, (batch, channels, height, width) of a source.
        """
        return (self.channels, self.line_buffer, width) if self.line_buffer else (batch, self.channels, height, width)


class RowFunction(FunctionBuilder):
    """A function that makes one row of a value.

    Its parameters are pointers in the order that they are declared, then the image and the row, and the sizes that are
    known only at run time.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__(index=INDEX)
        self.batch, self.height, self.width = dims = dimensions(shape)
        # TVM's NarrowDataType makes the index of a short loop an int32, but not the parameter of the function it goes
        # to: so these are int32 where they are passed.
        self._place = [tirx.Var("image", "int32"), tirx.Var("row", "int32")]
        self.image, self.row = (tirx.Cast(INDEX, var) for var in self._place)
        self._sizes = [dim for dim, size in zip(dims, shape, strict=True) if size is None]

    def array(self, name: str, shape: Sequence[Expr]) -> tirx.Var:
        """Append a pointer to a float32 tensor to the parameters.

        Args:
            name: Of the tensor.
            shape: Of the tensor.

        Returns:
            The tensor.
        """
        return self.view(name, self.pointer(f"{name}_pointer"), shape)

    def rows(self, name: str, place: RowPlace) -> Rows:
        """Append a pointer to the rows of a value to the parameters.

        Args:
            name: Of the buffer that holds them.
            place: Where they lie in it.

        Returns:
            Access to the pixels.
        """
        return Rows(self, self.array(name, place.extents(self.batch, self.height, self.width)), place)

    @override
    def private(self, name: str) -> tirx.PrimFunc:
        self.params += [*self._place, *self._sizes]
        return super().private(name)


@dataclass(frozen=True)
class Rows:
    """The rows of a value in a function.

    Attributes:
        of: the function.
        data: the buffer that holds the rows.
        place: where they lie in it.
    """

    of: RowFunction
    data: tirx.Var
    place: RowPlace

    def at(self, channel: Expr, row: Expr, x: Expr) -> list[Expr]:
        """Find a pixel in the buffer.

        Args:
            channel: Of the value.
            row: Of the picture; a line buffer must still hold it.
            x: Pixel of the row.

        Returns:
            The buffer's indices.
        """
        if self.place.line_buffer:
            return [channel, row % self.place.line_buffer, x]
        return [self.of.image, channel, row, x]

    def load(self, channel: Expr, row: Expr, x: Expr) -> Expr:
        """Read a pixel.

        Args:
            channel: Of the value.
            row: Of the picture; a line buffer must still hold it.
            x: Pixel of the row.

        Returns:
            A float32.
        """
        return self.of.load(self.data, *self.at(channel, row, x))

    def store(self, value: Expr, channel: Expr, row: Expr, x: Expr) -> None:
        """Write a pixel.

        Args:
            value: A float32.
            channel: Of the value.
            row: Of the picture; a line buffer forgets the one that was in its place.
            x: Pixel of the row.
        """
        self.of.store(self.data, value, *self.at(channel, row, x))
