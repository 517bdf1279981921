"""Weights and biases in the order in which row functions read them."""

from __future__ import annotations

import numpy as np

from sr_tvm.quantize.network import Blend, QuantizedConvolution
from sr_tvm.targets.hexagon.hvx.code import GROUP, LANES, groups
from sr_tvm.targets.hexagon.hvx.convolution import Form
from sr_tvm.targets.hexagon.hvx.pair import PairForm


class PackedStages:
    """The numbers of all stages: doublewords of weights, words of biases; who adds some is told where they lie."""

    def __init__(self) -> None:
        self._weights: list[np.ndarray] = []
        self._biases: list[np.ndarray] = []
        self._counts = [0, 0]

    @property
    def weights(self) -> np.ndarray:
        """The doublewords, (n,) int64, and 16 of zeros that are read ahead."""
        return np.concatenate([*self._weights, np.zeros(16, np.int64)])

    @property
    def biases(self) -> np.ndarray:
        """The words, (n,) int32, whole vectors, and one of zeros."""
        return np.concatenate([*self._biases, np.zeros(LANES, np.int32)])

    def add_weights(self, numbers: np.ndarray) -> int:
        """Append weights in the order of use.

        Args:
            numbers: Of any shape, within int8; they are made up to whole doublewords.

        Returns:
            The place of the first doubleword.
        """
        place = self._counts[0]
        raw = numbers.astype(np.int8).tobytes()
        packed = np.frombuffer(raw + bytes(-len(raw) % 8), np.int64)
        self._weights.append(packed)
        self._counts[0] += len(packed)
        return place

    def add_biases(self, numbers: np.ndarray) -> int:
        """Append words.

        Args:
            numbers: Of any shape, within int32; they are made up to whole vectors.

        Returns:
            The place of the first vector.
        """
        place = self._counts[1]
        words = np.concatenate([numbers.astype(np.int32).ravel(), np.zeros(-numbers.size % LANES, np.int32)])
        self._biases.append(words)
        self._counts[1] += len(words) // LANES
        return place

    def add_zero(self, zero_point: np.ndarray) -> int:
        """Append the bytes that stand for 0 in a value, four channels a word.

        Args:
            zero_point: (C,) 0...255, made up to whole groups with 0.

        Returns:
            The place of the first word.
        """
        padded = np.zeros(groups(len(zero_point)) * GROUP, np.uint8)
        padded[: len(zero_point)] = zero_point
        return self.add_biases(np.frombuffer(padded.tobytes(), np.int32)) * LANES


def padded(node: QuantizedConvolution) -> np.ndarray:
    """Fill up a convolution's weights to whole groups of four channels.

    Args:
        node: The convolution, with weights (O, C, kh, kw).

    Returns:
        int8 of the same shape but for O and C, which are multiples of four; what is added is 0.
    """
    outputs, inputs, tall, wide = node.weight.shape
    found = np.zeros((groups(outputs) * GROUP, groups(inputs) * GROUP, tall, wide), np.int8)
    found[:outputs, :inputs] = node.weight
    return found


def spread(bias: np.ndarray) -> np.ndarray:
    """Make a whole vector of each bias.

    Args:
        bias: (O,) int32; it is made up to whole groups of outputs with 0.

    Returns:
        int32, LANES times each, one after another.
    """
    whole = np.zeros(groups(len(bias)) * GROUP, np.int32)
    whole[: len(bias)] = bias
    return np.repeat(whole, LANES)


def convolution_weights(node: QuantizedConvolution, form: Form, first: int) -> np.ndarray:
    """Order the weights of a convolution's row function as it reads them.

    That is by row, group of inputs, tap, output, input of the group. What is read of a group that holds rows before
    comes last: from the lowest row up.

    Args:
        node: The convolution.
        form: Of the row function.
        first: The first of the ``form.outputs`` channels that it makes.

    Returns:
        int8, to be flattened in this order.
    """
    part = padded(node)[first : first + form.outputs]
    taps = part[:, :, :, [d + form.kernel // 2 for d in form.near]]
    split = taps.reshape(form.outputs, form.inputs, GROUP, form.rows, form.kernel)
    ordered = split.transpose(3, 1, 4, 0, 2)
    if not form.packed:
        return ordered
    full, rest = ordered[:, :-1], ordered[::-1, -1, ..., : form.packed]
    held = np.concatenate([*rest, np.zeros((*rest[0].shape[:-1], GROUP), np.int8)], -1)
    vectors = [held[..., i * GROUP : (i + 1) * GROUP] for i in range(form.packed)]
    return np.concatenate([part.ravel() for part in (full, *vectors)])


def convolution_biases(node: QuantizedConvolution, form: Form, first: int) -> np.ndarray:
    """Collect the words of a convolution's row function: a vector of each bias, multipliers, slopes and shifts.

    Args:
        node: The convolution; what of the last three it does not have is left out.
        form: Of the row function.
        first: The first of the ``form.outputs`` channels that it makes.

    Returns:
        (n,) int32.
    """
    part = spread(node.bias).reshape(-1, LANES)[first : first + form.outputs].ravel()
    rows = [numbers for numbers in (node.multiplier, node.slope) if numbers is not None]
    parts = [part, *(halfword_words(row)[first // 2 : (first + form.outputs) // 2] for row in rows)]
    if node.before is not None:
        parts.append(np.pad(node.before, (0, -len(node.before) % GROUP))[first : first + form.outputs].astype(np.int32))
    return np.concatenate(parts)


def halfword_words(numbers: np.ndarray) -> np.ndarray:
    """Pack halfwords by channel into words, two for each group: channels 0 and 2, and 1 and 3.

    Args:
        numbers: (C,) integers, of which 16 bits are taken; made up to whole groups with 0.

    Returns:
        (2 * groups,) int32, the earlier channel in the lower half.
    """
    four = np.zeros((groups(len(numbers)), GROUP), np.int64)
    four.reshape(-1)[: len(numbers)] = numbers
    four &= 0xFFFF
    return np.stack([four[:, 0] | four[:, 2] << 16, four[:, 1] | four[:, 3] << 16], 1).ravel().astype(np.int32)


def blend_words(node: Blend) -> np.ndarray:
    """Collect the words of a blend's row function.

    Args:
        node: The blend.

    Returns:
        (n,) int32, by group of channels: words of each input's multipliers, of slopes and of masks where there are
        some, and of the offsets.
    """
    masks = None if node.smaller is None else -node.smaller.astype(np.int64)
    rows = [*node.multipliers, *(row for row in (node.slope, masks) if row is not None), node.offset]
    return np.concatenate([halfword_words(row).reshape(-1, 2) for row in rows], 1).ravel()


def first_filled(numbers: np.ndarray, first: int, axis: int = 0) -> np.ndarray:
    """Make up the first group of hidden channels to four, behind those that it has.

    Args:
        numbers: By hidden channel along ``axis``.
        first: Channels that the first group has, 1 to 4; the other groups are full.
        axis: Of the hidden channels.

    Returns:
        The numbers with zeros inserted, of the same type.
    """
    return np.insert(numbers, [first] * (GROUP - first), 0, axis)


def expand_weights(node: QuantizedConvolution, form: PairForm) -> np.ndarray:
    """Order the weights of the first of two fused 1x1 convolutions as their row function reads them.

    That is by group of outputs, group of inputs, output of the group, input of the group; the first group comes once
    more. The first lies as closely as the outputs that it has, and zeros follow. The function reads ahead: what follows
    the last group is the first of the next tile.

    Args:
        node: The first convolution, whose outputs are the hidden channels.
        form: Of the row function.

    Returns:
        (n,) int8.
    """
    whole = first_filled(padded(node)[: len(node.bias), :, 0, 0], form.first)
    split = whole.reshape(-1, GROUP, form.inputs, GROUP).transpose(0, 2, 1, 3)
    dense = split[0, :, : form.first].ravel()
    begin = np.pad(dense, (0, split[0].size - dense.size))
    return np.concatenate([begin, split[1:].ravel(), begin])


def project_weights(node: QuantizedConvolution, form: PairForm) -> np.ndarray:
    """Order the weights of the second of two fused 1x1 convolutions as their row function reads them.

    Args:
        node: The second convolution, whose inputs are the hidden channels.
        form: Of the row function.

    Returns:
        int8 by group of inputs, output, input of the group; outputs are made up to an even number.
    """
    whole = first_filled(padded(node)[: 2 * form.share, : node.weight.shape[1], 0, 0], form.first, 1)
    return whole.reshape(2 * form.share, -1, GROUP).transpose(1, 0, 2)


def pair_biases(expand: QuantizedConvolution, project: QuantizedConvolution, form: PairForm) -> np.ndarray:
    """Collect the biases of two fused 1x1 convolutions, a vector of each.

    Args:
        expand: The first convolution, whose outputs are the hidden channels.
        project: The second.
        form: Of their row function.

    Returns:
        (n,) int32: those of the outputs, then those of the hidden channels.
    """
    return np.repeat(np.concatenate([project.bias, first_filled(expand.bias, form.first)]), LANES)
