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

    Attributes:
        groups: Groups of four channels, the last of which may have fewer.
        full: Those of four.
    """

    def __init__(self, b: GpuBuilder, name: str, channels: int, pixels: int) -> None:
        self.b, self.channels, self.pixels = b, channels, pixels
        self.groups, self.full = -(-channels // LANES), channels // LANES
        self.vectors = b.vectors(name, self.full * pixels) if self.full else None
        self.rest = b.vectors(name, pixels, lanes=channels % LANES) if channels % LANES else None

    def lanes(self, group: int) -> int:
        """Count the channels of a group.

        Args:
            group: From 0.

        Returns:
            4, or fewer for the last group.
        """
        return min(LANES, self.channels - group * LANES)

    def get(self, group: int, pixel: int) -> Expr:
        """Read a vector.

        Args:
            group: Which channels.
            pixel: Which of the work-item's pixels, from 0.

        Returns:
            A vector of :meth:`lanes` numbers of the builder's element type.
        """
        return self.b.get(*self._place(group, pixel))

    def put(self, group: int, pixel: int, value: Expr) -> None:
        """Write a vector, of which the first numbers are kept.

        Args:
            group: Which channels.
            pixel: Which of the work-item's pixels, from 0.
            value: A vector of at least :meth:`lanes` numbers of the builder's element type.
        """
        self.b.put(*self._place(group, pixel), self.b.narrowed(value, self.lanes(group)))

    def add(self, group: int, weight: Expr, factors: Sequence[Expr], first: int = 0, step: int = 1) -> None:
        """Add a vector of weights times a number of each pixel.

        Args:
            group: Which channels the weights are for.
            weight: A vector of at least :meth:`lanes` numbers.
            factors: A scalar for each pixel that is added to.
            first: The pixel of the first factor.
            step: Pixels from the one of a factor to that of the next.
        """
        lanes = self.lanes(group)
        weight = self.b.bind("w", self.b.narrowed(weight, lanes))
        for i, factor in enumerate(factors):
            pixel = first + i * step
            self.put(group, pixel, weight * self.b.spread(factor, lanes) + self.get(group, pixel))

    def scalar(self, channel: int, pixel: int) -> Expr:
        """Read a number.

        Args:
            channel: Of the value, from 0.
            pixel: Which of the work-item's pixels, from 0.

        Returns:
            A scalar of the builder's element type.
        """
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
        """Give a vector of weights, reading it if no load before has.

        Args:
            index: Vectors from ``base`` on, known while the kernel is written.

        Returns:
            A vector of four of the builder's element type.
        """
        b, several = self.b, self.several
        if several == 1:
            return self.read(self.base + index)
        first = index - index % several
        if first not in self.held:
            self.held[first] = b.bind("w", self.read(self.base + first))
        return b.slice(self.held[first], index % several)

    def afresh(self) -> Fetch:
        """Make the same with nothing read yet, for the body of a condition, which is not always done.

        Returns:
            Weights from the same ``base`` on.
        """
        return Fetch(self.b, self.several, self.read, self.base)

    def moved(self, vectors: Expr) -> Fetch:
        """Make the same from a later vector on, with nothing read yet, for the body of another loop.

        Args:
            vectors: How many vectors later, a whole number of loads.

        Returns:
            Weights from ``base`` and so many on.
        """
        return Fetch(self.b, self.several, self.read, self.base + vectors)


def arithmetic(b: GpuBuilder, function: str, x: Expr, parameters: Sequence[Expr]) -> Expr:
    """Write the arithmetic of a :class:`~sr_tvm.regions.region.Pointwise`.

    Args:
        b: Gives the zeros, and takes parameters to as many lanes.
        function: "relu", "prelu", "clip", "shift" or "scale".
        x: A vector, or a number.
        parameters: Those of the function, each of at least as many lanes as ``x``.

    Returns:
        The result, of the lanes of ``x``.

    Raises:
        ValueError: There is no such function.
    """
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
