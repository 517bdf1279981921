"""What a work-item has in registers: values, weights that it was handed several at a time, arithmetic on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tvm import tirx

from sr_tvm.codegen.builder import Expr
from sr_tvm.targets.opencl.code import GpuBuilder
from sr_tvm.targets.opencl.shares import LANES


class Held:
    """A value of a work-item's pixels in registers: vectors by group of channels and pixel.

    The last group is as narrow as its channels: what would pad it is not computed.
    """

    def __init__(self, b: GpuBuilder, name: str, channels: int, pixels: int) -> None:
        self.b, self.channels, self.pixels = b, channels, pixels
        self.groups, self.full = -(-channels // LANES), channels // LANES
        self.vectors = b.vectors(name, self.full * pixels) if self.full else None
        self.rest = b.vectors(name, pixels, lanes=channels % LANES) if channels % LANES else None

    def lanes(self, group: int) -> int:
        return min(LANES, self.channels - group * LANES)

    def get(self, group: int, pixel: int) -> Expr:
        return self.b.get(*self._place(group, pixel))

    def put(self, group: int, pixel: int, value: Expr) -> None:
        """Write a vector, of which the first numbers are kept."""
        self.b.put(*self._place(group, pixel), self.b.narrowed(value, self.lanes(group)))

    def add(self, group: int, weight: Expr, factors: Sequence[Expr], first: int = 0, step: int = 1) -> None:
        """Add a weight times a number of each pixel, of every ``step``-th from ``first`` on."""
        lanes = self.lanes(group)
        weight = self.b.bind("w", self.b.narrowed(weight, lanes))
        for i, factor in enumerate(factors):
            pixel = first + i * step
            self.put(group, pixel, weight * self.b.spread(factor, lanes) + self.get(group, pixel))

    def scalar(self, channel: int, pixel: int) -> Expr:
        group, lane = divmod(channel, LANES)
        vector = self.get(group, pixel)
        return vector if self.lanes(group) == 1 else self.b.lane(vector, lane)

    def _place(self, group: int, pixel: int) -> tuple[tirx.Var, int]:
        return (self.vectors, group * self.pixels + pixel) if group < self.full else (self.rest, pixel)


class Fetch:
    """The weights of a turn: gives vectors by their index from ``base``, which is a whole number of loads.

    Of ``several`` vectors that are read at a time, each load serves them all.
    """

    def __init__(self, b: GpuBuilder, several: int, read: Callable[[Expr], Expr], base: Expr) -> None:
        self.b, self.several, self.read, self.base = b, several, read, base
        self.held: dict[int, Expr] = {}

    def __call__(self, index: int) -> Expr:
        b, several = self.b, self.several
        if several == 1:
            return self.read(self.base + index)
        first = index - index % several
        if first not in self.held:
            self.held[first] = b.bind("w", self.read(self.base + first))
        return b.slice(self.held[first], index % several)

    def afresh(self) -> Fetch:
        """The same with nothing read yet, for the body of a condition."""
        return Fetch(self.b, self.several, self.read, self.base)

    def moved(self, vectors: Expr) -> Fetch:
        """The same from so many vectors on, for the body of another loop."""
        return Fetch(self.b, self.several, self.read, self.base + vectors)


def arithmetic(b: GpuBuilder, function: str, x: Expr, parameters: Sequence[Expr]) -> Expr:
    """Do the arithmetic of a :class:`~sr_tvm.regions.region.Pointwise`, on a vector or on a number."""
    lanes = x.ty.dtype.lanes
    zero = b.spread(b.real(0), lanes)
    parameters = [b.narrowed(p, lanes) for p in parameters]
    match function:
        case "relu":
            return tirx.max(x, zero)
        case "prelu":
            return tirx.max(x, zero) + parameters[0] * tirx.min(x, zero)
        case "clip":
            return tirx.min(tirx.max(x, parameters[0]), parameters[1])
        case "shift":
            return x + parameters[0]
        case "scale":
            return x * parameters[0]
    raise ValueError(f"no arithmetic is called {function}")
