"""Weights and biases in the order in which row functions read them."""

from __future__ import annotations

import numpy as np

from sr_tvm.quantize.network import Blend, QuantizedConvolution
from sr_tvm.targets.hexagon.hvx.code import GROUP, LANES, groups
from sr_tvm.targets.hexagon.hvx.convolution import Form
from sr_tvm.targets.hexagon.hvx.pair import PairForm


class PackedStages:
    """Collects the numbers of all stages: doublewords of weights, words of biases; each is told where it lies."""

    def __init__(self) -> None:
        self._weights: list[np.ndarray] = []
        self._biases: list[np.ndarray] = []
        self._counts = [0, 0]

    @property
    def weights(self) -> np.ndarray:
        """(n,) int64."""
        return np.concatenate([*self._weights, np.zeros(16, np.int64)])

    @property
    def biases(self) -> np.ndarray:
        """(n,) int32, whole vectors."""
        return np.concatenate([*self._biases, np.zeros(LANES, np.int32)])

    def add_weights(self, numbers: np.ndarray) -> int:
        """Append int8 in the order of use; returns the first doubleword."""
        place = self._counts[0]
        raw = numbers.astype(np.int8).tobytes()
        packed = np.frombuffer(raw + bytes(-len(raw) % 8), np.int64)
        self._weights.append(packed)
        self._counts[0] += len(packed)
        return place

    def add_biases(self, numbers: np.ndarray) -> int:
        """Append words; returns the first vector."""
        place = self._counts[1]
        words = np.concatenate([numbers.astype(np.int32).ravel(), np.zeros(-numbers.size % LANES, np.int32)])
        self._biases.append(words)
        self._counts[1] += len(words) // LANES
        return place

    def add_zero(self, zero_point: np.ndarray) -> int:
        """Append the bytes that stand for 0, four channels a word; returns the first word."""
        padded = np.zeros(groups(len(zero_point)) * GROUP, np.uint8)
        padded[: len(zero_point)] = zero_point
        return self.add_biases(np.frombuffer(padded.tobytes(), np.int32)) * LANES


def padded(node: QuantizedConvolution) -> np.ndarray:
    """The weights with both channels filled up to whole groups."""
    outputs, inputs, tall, wide = node.weight.shape
    found = np.zeros((groups(outputs) * GROUP, groups(inputs) * GROUP, tall, wide), np.int8)
    found[:outputs, :inputs] = node.weight
    return found


def spread(bias: np.ndarray) -> np.ndarray:
    """A vector of each bias, up to whole groups of outputs."""
    whole = np.zeros(groups(len(bias)) * GROUP, np.int32)
    whole[: len(bias)] = bias
    return np.repeat(whole, LANES)


def convolution_weights(node: QuantizedConvolution, form: Form, first: int) -> np.ndarray:
    """Of ``form.outputs`` channels from ``first``: by row, group of inputs, tap, output, input of the group.

    What is read of a group that holds rows before comes last: from the lowest row up.
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
    """A vector of each bias, and the words of multipliers, of slopes and of shifts where there are some."""
    part = spread(node.bias).reshape(-1, LANES)[first : first + form.outputs].ravel()
    rows = [numbers for numbers in (node.multiplier, node.slope) if numbers is not None]
    parts = [part, *(halfword_words(row)[first // 2 : (first + form.outputs) // 2] for row in rows)]
    if node.before is not None:
        parts.append(np.pad(node.before, (0, -len(node.before) % GROUP))[first : first + form.outputs].astype(np.int32))
    return np.concatenate(parts)


def halfword_words(numbers: np.ndarray) -> np.ndarray:
    """Halfwords by channel as words, two for each group: those of channels 0 and 2, and of 1 and 3."""
    four = np.zeros((groups(len(numbers)), GROUP), np.int64)
    four.reshape(-1)[: len(numbers)] = numbers
    four &= 0xFFFF
    return np.stack([four[:, 0] | four[:, 2] << 16, four[:, 1] | four[:, 3] << 16], 1).ravel().astype(np.int32)


def blend_words(node: Blend) -> np.ndarray:
    """By group: words of each input's multipliers, of slopes and masks where there are some, and of the offsets."""
    masks = None if node.smaller is None else -node.smaller.astype(np.int64)
    rows = [*node.multipliers, *(row for row in (node.slope, masks) if row is not None), node.offset]
    return np.concatenate([halfword_words(row).reshape(-1, 2) for row in rows], 1).ravel()


def first_filled(numbers: np.ndarray, first: int, axis: int = 0) -> np.ndarray:
    """Numbers by hidden channel, whole groups of four of them, of which the first has only ``first`` and zeros."""
    return np.insert(numbers, [first] * (GROUP - first), 0, axis)


def expand_weights(node: QuantizedConvolution, form: PairForm) -> np.ndarray:
    """By group of outputs, group of inputs, output of the group, input of the group; the first group comes once more.

    The first lies as closely as the outputs that it has, and zeros follow. The function reads ahead: what follows the
    last group is the first of the next tile.
    """
    whole = first_filled(padded(node)[: len(node.bias), :, 0, 0], form.first)
    split = whole.reshape(-1, GROUP, form.inputs, GROUP).transpose(0, 2, 1, 3)
    dense = split[0, :, : form.first].ravel()
    begin = np.pad(dense, (0, split[0].size - dense.size))
    return np.concatenate([begin, split[1:].ravel(), begin])


def project_weights(node: QuantizedConvolution, form: PairForm) -> np.ndarray:
    """By group of inputs, output, input of the group; outputs are made up to an even number."""
    whole = first_filled(padded(node)[: 2 * form.share, : node.weight.shape[1], 0, 0], form.first, 1)
    return whole.reshape(2 * form.share, -1, GROUP).transpose(1, 0, 2)


def pair_biases(expand: QuantizedConvolution, project: QuantizedConvolution, form: PairForm) -> np.ndarray:
    """A vector of each bias: those of the outputs, then those of the hidden channels."""
    return np.repeat(np.concatenate([project.bias, first_filled(expand.bias, form.first)]), LANES)
