"""Nodes of an integer network from what a QDQ graph quantises: scales become shifts, multipliers and blends."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sr_tvm.errors import SrTvmError
from sr_tvm.quantize.blends import blend
from sr_tvm.quantize.network import (
    MOST_FRACTION,
    S16,
    U8,
    IntegerNetwork,
    Meaning,
    Narrow,
    Node,
    QuantizedConvolution,
    QuantizedInput,
    QuantizedSum,
    Residual,
    sums,
)
from sr_tvm.quantize.plain import BYTE_REACH, SPARE_BITS, offset, own_shifts
from sr_tvm.quantize.qdq_values import Bytes, Halfwords, Line, Product, Real, Steps, Total

FRACTION_BITS = 6
MOST_SHIFT = 24
EXACT = 1e-4  # of a scale's ratio to a power of two, below which it is one: scales are float32
STEP = 1 / 255  # of a picture's bytes
NEAR = 0.5  # of a byte: what moves bytes by less leaves them


class Nodes:
    """The nodes of the integer network that have been made so far, in the order in which they run.

    Errors lack the place in the file: who calls adds it.

    Attributes:
        by_name: The nodes.
        picture: Name of the network's input.
        means: Of the picture, (C,) in pixels, once something reads it; None before.
    """

    def __init__(self, picture: str, channels: int) -> None:
        meaning = Meaning(np.full(channels, STEP), np.zeros(channels, np.int64))
        self.by_name: dict[str, Node] = {picture: QuantizedInput(picture, meaning)}
        self.picture = picture
        self.means: np.ndarray | None = None  # of the picture, in pixels, once something reads it

    def meaning(self, value: str) -> Meaning:
        """Find what the bytes of a value stand for where the graph speaks of them.

        Args:
            value: Name of the value.

        Returns:
            Its meaning; of the picture that with zero points of 0, for the graph subtracts its means as constants.
        """
        found = self.by_name[value].meaning
        return Meaning(found.scale, np.zeros_like(found.zero_point)) if value == self.picture else found

    def network(self, result: str, shuffle: int) -> IntegerNetwork:
        """Make the network of those nodes that the result depends on.

        Args:
            result: Name of the value that becomes the result.
            shuffle: Factor of the pixel shuffle that the result is written by; 1: none.

        Returns:
            The network, whose last node is the result.

        Raises:
            SrTvmError: A convolution's numbers leave their range; the message names it.
        """
        wanted = {result, self.picture}
        for node in reversed(self.by_name.values()):
            if node.name in wanted:
                wanted |= set(node.inputs)
        return IntegerNetwork(tuple(node for node in self.by_name.values() if node.name in wanted), shuffle)

    def centred(self, means: np.ndarray) -> None:
        """Let the picture's bytes stand for pixels less ``means``, for all nodes that read them.

        They are the zero point, which is what lies outside of the picture.

        Args:
            means: (C,) in pixels, not rounded.

        Raises:
            SrTvmError: Something reads them with other means.
        """
        if self.means is not None and np.abs(self.means - means).max() > EXACT:
            raise SrTvmError("the picture is read with different means")
        self.means = means
        zero = np.clip(np.round(means), 0, 255).astype(np.int64)
        self.by_name[self.picture] = QuantizedInput(self.picture, Meaning(np.full(len(means), STEP), zero))

    def quantized(self, name: str, real: Real, steps: Steps) -> Bytes:
        """Add the nodes that make bytes of real numbers.

        Args:
            name: Of the value that is made.
            real: What is quantised, with C channels before its pixel shuffle.
            steps: What the bytes stand for.

        Returns:
            The bytes: those of a value that was there already where they stay as they are, else of the new one.

        Raises:
            SrTvmError: What is quantised has no integer form; the message says why.
        """
        channels = _channels(self, real)
        zeros = steps.zero_point
        if zeros.size > 1 and real.shuffle > 1:
            zeros = np.repeat(zeros, real.shuffle**2)
        meaning = Meaning(np.full(channels, steps.scale), np.broadcast_to(zeros, (channels,)).copy())
        _check_limits(real.limits, meaning)
        match real:
            case Line():
                return self._line(name, real, meaning, real.shuffle)
            case Product():
                self._add([], self._product(name, real, U8, meaning, meaning.zero_point))
            case Total(second=Halfwords()):
                self._halfwords(name, real, meaning)
            case Total():
                self._total(name, real, meaning)
            case Halfwords():
                raise SrTvmError("quantised twice before it is added to, it has no integer form")
        return Bytes(name, real.shuffle)

    def halfwords(self, name: str, real: Product | Total, steps: Steps) -> Halfwords:
        """Add the nodes that make halfwords of a sum of a residual path, and of these bytes.

        Args:
            name: Of the value that the bytes are.
            real: The sum before it is quantised, of a convolution or of one and the halfwords before it.
            steps: What the bytes stand for.

        Returns:
            The halfwords with the name of their bytes.

        Raises:
            SrTvmError: The sum has no integer form in 16 bits; the message says why.
        """
        channels = _channels(self, real)
        meaning = Meaning(np.full(channels, steps.scale), np.broadcast_to(steps.zero_point, (channels,)).copy())
        return self._halfwords(name, real, meaning)

    def _halfwords(self, name: str, real: Product | Total, meaning: Meaning) -> Halfwords:
        half = Meaning(meaning.scale / (1 << FRACTION_BITS), np.zeros(len(meaning.scale), np.int64))
        value, nodes = f"{name}_halfword", []
        if isinstance(real, Product):
            zeros = meaning.zero_point * float(1 << FRACTION_BITS)
            nodes = [self._product(value, real, S16, half, zeros)]
        else:
            if not isinstance(real.second, Halfwords):
                raise SrTvmError("a sum of two convolutions that is added to, unquantised, has no integer form")
            given = self.by_name[real.second.quantized].meaning
            same = np.allclose(given.scale, meaning.scale, EXACT)
            if not same or not np.array_equal(given.zero_point, meaning.zero_point):
                raise SrTvmError("sums of a residual path, quantised with different scales, have no integer form")
            nodes = [self._product(f"{real.first.name}_halfword", real.first, S16, half, 0.0)]
            self.by_name[nodes[0].name] = nodes[0]
            self.by_name[value] = QuantizedSum(value, (nodes[0].name, real.second.value), 0, half, S16)
        self._add(nodes, Narrow(name, (value,), FRACTION_BITS, meaning))
        return Halfwords(value, name)

    def _line(self, name: str, line: Line, meaning: Meaning, shuffle: int) -> Bytes:
        sources = [value for value, _ in line.terms]
        ratios = np.array([gain * self.meaning(value).scale / meaning.scale for value, gain in line.terms])
        moved = line.constant / meaning.scale + meaning.zero_point
        if len(sources) == 1 and line.slope is None and np.abs(ratios - 1).max() < EXACT:
            (source,) = sources
            if np.abs(moved - self.meaning(source).zero_point).max() < NEAR:  # bytes stay as they are
                if source == self.picture:
                    return Bytes(source, shuffle, -meaning.zero_point * STEP)
                if not line.constant.any():
                    return Bytes(source, shuffle)
        for value, ratio in zip(sources, ratios, strict=True):
            if value == self.picture:
                if self.means is None:
                    self.centred(np.zeros(len(moved)))
                moved = moved + ratio * self.by_name[value].meaning.zero_point
        self.by_name[name] = blend(name, tuple(sources), ratios, line.slope, moved, meaning)
        return Bytes(name, shuffle)

    def _product(
        self, name: str, product: Product, dtype: str, meaning: Meaning, zeros: np.ndarray | float
    ) -> QuantizedConvolution:
        """Return a convolution whose bias lacks ``zeros``, units of its value: the zero point of what is stored.

        Raises:
            SrTvmError: Its PReLU has no integer form, by its slopes or the zero points of its value.
        """
        ratio, fraction = product.unit / meaning.scale, 0
        if product.slope is not None and not product.slope.any() and not meaning.zero_point.any() and dtype == U8:
            product = replace(product, slope=None)  # bytes do the ReLU
        most = np.abs(_bounds(product) + (0 if product.slope is not None else zeros / ratio)).max(0)
        if product.slope is not None:
            if (np.abs(product.slope) > 1).any():
                raise SrTvmError("a PReLU right behind a convolution has slopes of -1 to 1 in its integer form")
            if np.ptp(meaning.zero_point):
                raise SrTvmError("zero points that differ between the channels of a PReLU have no integer form")
            fraction = product.fraction if product.fraction is not None else _fraction(product, ratio)
            shift, multiplier, before = requantized(ratio * 2.0**fraction, 0, most)
        elif dtype == S16:
            shift, multiplier, before = requantized(ratio, 0, most)
        else:
            shift, multiplier, before = requantized(ratio, SPARE_BITS, most, BYTE_REACH)
        slope = None if product.slope is None else np.clip(np.round(product.slope * 32768), -32768, 32767)
        return QuantizedConvolution(
            name, (product.source,), product.weight, _int32(product.bias), shift, multiplier, dtype, meaning,
            None if slope is None else slope.astype(np.int16), fraction, before,
        )  # fmt: skip

    def _total(self, name: str, total: Total, meaning: Meaning) -> None:
        half = Meaning(meaning.scale / (1 << FRACTION_BITS), np.zeros(len(meaning.scale), np.int64))
        zeros = meaning.zero_point * float(1 << FRACTION_BITS)
        one = f"{total.first.name}_halfword"
        if isinstance(total.second, Product):
            first = self._product(one, total.first, S16, half, zeros)
            second = self._product(f"{total.second.name}_halfword", total.second, S16, half, 0.0)
            self._add([first, second], QuantizedSum(name, (one, second.name), FRACTION_BITS, meaning))
            return
        assert isinstance(total.second, Line)
        ((trunk, _),) = total.second.terms
        given = self.meaning(trunk)
        exact = float(given.scale[0] / half.scale[0])
        factor = round(exact)
        if not 1 <= factor <= 127 or abs(factor - exact) * 255 > NEAR * (1 << FRACTION_BITS):
            raise SrTvmError(
                f"a residual of scale {given.scale[0]:.4g} on one of {meaning.scale[0]:.4g}: not a whole number of "
                "64ths apart; quantise the convolution's own result, too"
            )
        first = self._product(one, total.first, S16, half, zeros - given.zero_point * float(factor))
        self._add([first], Residual(name, (one, trunk), factor, FRACTION_BITS, meaning))

    def _add(self, convolutions: list[QuantizedConvolution], last: Node) -> None:
        """Add nodes; the zero points go to the biases once what reads the convolutions is known."""
        added: list[Node] = [*convolutions, last]
        nodes = {**self.by_name, **{node.name: node for node in added}}
        network = IntegerNetwork(tuple(nodes.values()), 1)
        for node in added:
            if isinstance(node, QuantizedConvolution):
                whole = node.bias.astype(np.int64) + offset(network, node)
                nodes[node.name] = replace(node, bias=_int32(whole))
        self.by_name = nodes


def requantized(
    ratio: np.ndarray, spare: int = 0, most: np.ndarray | None = None, reach: int = 32767
) -> tuple[int, np.ndarray | None, np.ndarray | None]:
    """Choose the shift and the multipliers that make integers of given scale from sums.

    Args:
        ratio: (O,) steps of the value that a unit of the sums is; above 0, up to 1.
        spare: Bits of the halfwords between that are below a step of the value, where there are multipliers.
        most: (O,) the largest magnitude that a sum may have; None: the sums of all outputs get one shift.
        reach: Steps of the value beyond which it does not matter that a sum leaves 16 bits.

    Returns:
        The shift in bits; the multipliers (O,) int16, in 32768ths, or None where powers of two do; and the bits (O,)
        int8 that the sums of each output are shifted by first, or None where one shift fits all.

    Raises:
        SrTvmError: A ratio is over 1, not above 0 or not finite.
    """
    if not np.isfinite(ratio).all() or ratio.min() <= 0 or ratio.max() > 1 + EXACT:
        raise SrTvmError(f"a unit of its sums is {ratio.max():.3g} of a step of its bytes; up to 1 is possible")
    shift = int(np.floor(-np.log2(ratio.max()) + EXACT))
    shift = min(max(shift, 0), MOST_SHIFT)
    if np.abs(ratio * 2.0**shift - 1).max() < EXACT:
        return shift, None, None
    shift = max(0, shift - spare)
    before = None if most is None else own_shifts(ratio, shift, most, reach)
    whole = ratio * 2.0 ** (shift + (0 if before is None else before.astype(np.int64)))
    return shift, np.clip(np.round(whole * 32768), 1, 32767).astype(np.int16), before


def _fraction(product: Product, ratio: np.ndarray) -> int:
    """Return the bits below a byte before a PReLU: as many as no picture's sums make leave 16 bits."""
    reach = float((np.abs(_bounds(product)) * ratio).max())
    most = min(MOST_FRACTION, int(np.floor(-np.log2(ratio.max()))))
    return int(np.clip(np.floor(np.log2(32767 / max(reach, 1.0))), 0, max(most, 0)))


def _bounds(product: Product) -> np.ndarray:
    """Return the least and the largest sums, (2, O)."""
    nothing = Meaning(product.unit, np.zeros(len(product.unit), np.int64))
    bare = QuantizedConvolution("", (product.source,), product.weight, _int32(product.bias), 0, None, S16, nothing)
    return np.array(sums(bare))


def _channels(nodes: Nodes, real: Real) -> int:
    if isinstance(real, Line):
        return len(real.constant)
    if isinstance(real, Halfwords):
        return len(nodes.by_name[real.value].meaning.scale)
    return len((real.first if isinstance(real, Total) else real).unit)


def _check_limits(limits: tuple[float, float], meaning: Meaning) -> None:
    """Refuse limits that bytes do not have anyhow.

    Raises:
        SrTvmError: The clip is narrower than what the bytes reach.
    """
    low, high = limits
    least = float((-meaning.zero_point * meaning.scale).min())
    most = float(((255 - meaning.zero_point) * meaning.scale).max())
    step = float(meaning.scale[0])
    if low > least + step or high < most - step:
        raise SrTvmError(
            f"clipped to {low:g}...{high:g}, quantised to {least:.4g}...{most:.4g}: a narrower clip has no integer form"
        )


def _int32(numbers: np.ndarray) -> np.ndarray:
    return np.clip(numbers, -(2**31), 2**31 - 1).astype(np.int32)
