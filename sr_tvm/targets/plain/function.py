"""The functions of the plain lowering: their parameters, and where a value's rows are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tvm import tirx

from sr_tvm.targets.lowering import Shape
from sr_tvm.targets.plain.tir import POINTER, STATUS, Index, block, buffer, number, outline, variable


@dataclass(frozen=True)
class Place:
    """Where the rows of a value are: a ring (C, ring, W), or a source, (N, C, H, W), where ``ring`` is 0."""

    channels: int
    ring: int


class RowFunction:
    """A function for one row; its parameters are pointers as they are declared, image, row, sizes known at run time."""

    def __init__(self, shape: Shape) -> None:
        dims = [variable(name) if size is None else number(size) for size, name in zip(shape, "nhw", strict=True)]
        self.batch, self.height, self.width = dims
        self._place = [tirx.Var("image", "int32"), tirx.Var("row", "int32")]
        self.image, self.row = (tirx.Cast("int64", var) for var in self._place)
        self._sizes = [dim for dim, size in zip(dims, shape, strict=True) if size is None]
        self._pointers: list[tirx.Var] = []
        self._declared: list[tirx.Stmt] = []

    def array(self, name: str, shape: Sequence[Any]) -> tirx.Var:
        data = buffer(name, shape)
        self._pointers.append(tirx.Var(f"{name}_pointer", POINTER))
        self._declared.append(tirx.DeclBuffer(data, data=self._pointers[-1]))
        return data

    def rows(self, name: str, place: Place) -> Rows:
        c = place.channels
        ring = (c, place.ring, self.width)
        return Rows(self, self.array(name, ring if place.ring else (self.batch, c, self.height, self.width)), place)

    def function(self, body: tirx.Stmt) -> tirx.PrimFunc:
        params = [*self._pointers, *self._place, *self._sizes]
        body = outline(block([*self._declared, body]))
        return tirx.PrimFunc(params, body, ret_type=STATUS).with_attr("tirx.noalias", True)


@dataclass(frozen=True)
class Rows:
    """The rows of a value in a function."""

    of: RowFunction
    data: tirx.Var
    place: Place

    def at(self, channel: Index, row: Index, x: Index) -> list[Index]:
        """The indices of a pixel; ``row`` is a row of the picture."""
        if self.place.ring:
            return [channel, tirx.floormod(row, number(self.place.ring)), x]
        return [self.of.image, channel, row, x]
