"""The `IntegerNetwork` record: a network in integers, as a DSP computes it and as NumPy defines it.

Activations are bytes without sign (u8) that stand for scale * (byte - zero point), or halfwords with sign (s16) that
stand for scale * halfword. Weights are signed bytes, sums 32 bits. Outside of the picture every byte is its zero point,
which stands for 0. A convolution's bias has the zero point of its input, and of its output, folded in: the sum starts
from it, over plain bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sr_tvm.errors import SrTvmError
from sr_tvm.regions.region import taps

U8, S16 = "uint8", "int16"
MAX_SUM = 1 << 30  # of a 32-bit sum: rounding adds up to half of the divisor


@dataclass(frozen=True, eq=False)
class Meaning:
    """What the integers of a value stand for, by channel: scale (C,) float64, zero point (C,) int; s16 has zero 0."""

    scale: np.ndarray
    zero_point: np.ndarray

    def real(self, stored: np.ndarray) -> np.ndarray:
        """Compute the numbers that integers stand for.

        Args:
            stored: (C, H, W) uint8 or int16.

        Returns:
            (C, H, W) float64: scale * (stored - zero point).
        """
        return (stored - self.zero_point[:, None, None].astype(np.float64)) * self.scale[:, None, None]


@dataclass(frozen=True, eq=False)
class QuantizedInput:
    """The network's input: u8."""

    name: str
    meaning: Meaning
    dtype = U8
    inputs = ()


@dataclass(frozen=True, eq=False)
class QuantizedConvolution:
    """Convolution of u8, stride 1, an odd kernel and as many pixels out as in.

    Each sum, begun at the bias, is shifted right by ``before``, rounded down, where there is such. It is divided by
    2 ** ``shift`` with halves rounded up and saturated to 16 bits; then, where there is a ``multiplier``, multiplied by
    multiplier / 32768, halves rounded up, and saturated again. That is the result for s16; u8 saturates it once more to
    0...255, which is what a ReLU is where the zero point is 0.

    With a ``slope``, a PReLU, the halfword h becomes the larger of h and h * slope / 32768, halves rounded up. Then the
    zero point * 2 ** ``fraction`` is added, which the bias does not hold here, saturated to 16 bits, and the result
    divided by 2 ** ``fraction``, halves rounded up. A slope over 1 is one below it of the negative: see calibrate.py.

    Attributes:
        weight: (O, I, kh, kw) int8.
        bias: (O,) int32.
        multiplier: (O,) int16, positive; None where scales are such that none is needed.
        slope: (O,) int16; None: no PReLU. Only for u8.
        fraction: Bits of the halfwords below a unit of the bytes; 0 without a slope.
        filled: Outputs and inputs that are none of the network's and only fill up groups; their weights are 0.
        before: (O,) int8, 0 to 31: of outputs whose scales are so far apart that one shift does not fit all; or None.
    """

    name: str
    inputs: tuple[str]
    weight: np.ndarray
    bias: np.ndarray
    shift: int
    multiplier: np.ndarray | None
    dtype: str
    meaning: Meaning
    slope: np.ndarray | None = None
    fraction: int = 0
    before: np.ndarray | None = None
    filled: tuple[int, int] = (0, 0)


@dataclass(frozen=True, eq=False)
class Residual:
    """Sum of s16 and u8 * ``factor``, saturated to 16 bits, divided by 2 ** ``shift``, halves rounded up, as u8.

    The zero points are folded into the bias of the convolution that makes the s16.
    """

    name: str
    inputs: tuple[str, str]
    factor: int
    shift: int
    meaning: Meaning
    dtype = U8


@dataclass(frozen=True, eq=False)
class QuantizedSum:
    """Sum of two s16 values, saturated to 16 bits; as u8, divided by 2 ** ``shift``, halves rounded up."""

    name: str
    inputs: tuple[str, str]
    shift: int
    meaning: Meaning
    dtype: str = U8


@dataclass(frozen=True, eq=False)
class Narrow:
    """An s16 value divided by 2 ** ``shift``, halves rounded up, as u8: what convolutions read of a residual path.

    The s16 holds the zero point * 2 ** shift.
    """

    name: str
    inputs: tuple[str]
    shift: int
    meaning: Meaning
    dtype = U8


@dataclass(frozen=True, eq=False)
class Blend:
    """One u8 from one or two others of the same channels, whatever their scales: what stands between convolutions.

    Each byte less its zero point is taken * 64 and multiplied by its multiplier / 32768, halves rounded up; both are
    added, saturated to 16 bits. With a ``slope``, a PReLU or ReLU of one input, the result is the larger of that and of
    the same by the slope in the multiplier's place; of channels in ``smaller`` all its bits are turned round, which is
    its negative less 1: a slope over 1 takes the smaller, the negative of the larger negative. Then ``offset`` is
    added, saturated, and all of it divided by 2 ** ``fraction``, halves rounded up, and saturated to 0...255.

    Attributes:
        multipliers: (inputs, C) int16.
        slope: (C,) int16 or None.
        smaller: (C,) bool, only with a slope; None: nowhere.
        offset: (C,) int16; holds the zero point of the result, and 1 of ``smaller``.
    """

    name: str
    inputs: tuple[str, ...]
    multipliers: np.ndarray
    slope: np.ndarray | None
    offset: np.ndarray
    fraction: int
    meaning: Meaning
    smaller: np.ndarray | None = None
    dtype = U8


Node = QuantizedInput | QuantizedConvolution | Residual | QuantizedSum | Narrow | Blend
BLEND_BITS = 6  # what a byte is taken times in a blend: 2 ** 6 is the largest power in an int8
MOST_FRACTION = 6  # of halfwords: 32767 / 2 ** 6 is beyond a byte


@dataclass(frozen=True, eq=False)
class IntegerNetwork:
    """Nodes in the order in which they run; the last is the result, which is written after a pixel shuffle.

    Raises:
        SrTvmError: A sum may leave its 32 bits, a constant its range; the message names the node.
    """

    nodes: tuple[Node, ...]
    shuffle: int

    def __post_init__(self) -> None:
        for node in self.nodes:
            if isinstance(node, QuantizedConvolution):
                _check(node)

    @cached_property
    def by_name(self) -> dict[str, Node]:
        """The nodes by their names, which are also the names of their values."""
        return {node.name: node for node in self.nodes}

    @property
    def picture(self) -> QuantizedInput:
        """The one node that is the network's input."""
        (found,) = (node for node in self.nodes if isinstance(node, QuantizedInput))
        return found

    @property
    def result(self) -> Node:
        """The last node, whose value the network is for."""
        return self.nodes[-1]

    def channels(self, name: str) -> int:
        """Count the channels of a value, before any pixel shuffle.

        Args:
            name: Of the value.

        Returns:
            How many there are, with those that only fill up groups.
        """
        return len(self.by_name[name].meaning.scale)

    def readers(self, name: str) -> list[Node]:
        """List the nodes that read a value.

        Args:
            name: Of the value.

        Returns:
            The nodes, in the order in which they run; none for the result.
        """
        return [node for node in self.nodes if name in node.inputs]

    def macs(self) -> int:
        """Count the multiply-accumulates of all convolutions for each pixel of the input.

        Returns:
            How many there are, by the rules of the function :func:`macs`.
        """
        return sum(macs(node) for node in self.nodes if isinstance(node, QuantizedConvolution))


def macs(node: QuantizedConvolution) -> int:
    """Count the multiply-accumulates of a convolution for each pixel.

    Not counted are taps that are zero for all inputs, as in a transposed convolution, and channels that only fill up.
    Outputs and inputs all of whose weights have become zero are none of these: the network has them.

    Args:
        node: The convolution.

    Returns:
        How many there are.
    """
    outputs, inputs = node.filled
    there = taps(node.weight)
    there[~there.any((1, 2))] = True
    return (int(there.sum()) - outputs * there[0].size) * (node.weight.shape[1] - inputs)


def sums(node: QuantizedConvolution) -> tuple[np.ndarray, np.ndarray]:
    """Find the least and the largest sum of a convolution that any picture can give.

    Args:
        node: The convolution, with O outputs, that reads bytes.

    Returns:
        The least (O,) and the largest (O,), int64, before shifts and multipliers.
    """
    weight = node.weight.astype(np.int64).reshape(len(node.bias), -1)
    low = node.bias + 255 * np.minimum(weight, 0).sum(1)
    return low, node.bias + 255 * np.maximum(weight, 0).sum(1)


def halfwords(node: QuantizedConvolution) -> tuple[int, int]:
    """Find the least and the largest 16-bit value of a convolution that any picture can give.

    Args:
        node: The convolution.

    Returns:
        The least and the largest of all its outputs, -32768...32767.
    """
    low, high = (divided(shifted(node, total), node.shift) for total in sums(node))
    if node.multiplier is not None:
        low, high = (multiplied(total, node.multiplier.astype(np.int64)) for total in (low, high))
    return int(np.clip(low.min(), -32768, 32767)), int(np.clip(high.max(), -32768, 32767))


def shifted(node: QuantizedConvolution, total: np.ndarray) -> np.ndarray:
    """Shift sums right by the number of bits that is each output's own, rounding down.

    Args:
        node: The convolution, with O outputs, whose ``before`` holds the shifts.
        total: (O, ...) integers.

    Returns:
        (O, ...) of the same type; ``total`` itself where outputs have no shifts of their own.
    """
    if node.before is None:
        return total
    return total >> node.before.astype(total.dtype).reshape(-1, *[1] * (total.ndim - 1))


def divided(total: np.ndarray, shift: int) -> np.ndarray:
    """Divide integers by 2 ** shift, halves rounded up.

    Args:
        total: Integers of any shape, wide enough for half of the divisor more.
        shift: Bits, 0 or more.

    Returns:
        Integers of the same shape and type.
    """
    return (total + ((1 << shift) >> 1)) >> shift


def multiplied(halfword: np.ndarray, multiplier: np.ndarray) -> np.ndarray:
    """Multiply 16-bit numbers by multiplier / 32768, halves rounded up.

    Args:
        halfword: Integers of 32 bits or more, saturated to -32768...32767 first.
        multiplier: Integers of -32768...32767 of a shape that broadcasts with them.

    Returns:
        Integers, not saturated again.
    """
    return (np.clip(halfword, -32768, 32767) * multiplier + 0x4000) >> 15


def _check(node: QuantizedConvolution) -> None:
    low, high = sums(node)
    if low.min() < -MAX_SUM or high.max() > MAX_SUM:
        raise SrTvmError(
            f"{node.name}: a sum of its int8 products may leave 31 bits; fewer inputs or a smaller bias fit"
        )
    if not 0 <= node.shift < 32:
        raise SrTvmError(f"{node.name}: its sums would be divided by 2 ** {node.shift}; 0 to 31 is possible")
    if not 0 <= node.fraction <= (0 if node.slope is None else MOST_FRACTION):
        raise SrTvmError(f"{node.name}: {node.fraction} bits below a byte; 0 to {MOST_FRACTION} are, with a slope")
    if node.slope is not None and (node.dtype != U8 or np.ptp(node.meaning.zero_point)):
        raise SrTvmError(f"{node.name}: a PReLU makes uint8 with one zero point for all channels")
