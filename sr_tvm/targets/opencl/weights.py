"""The numbers of a stage's convolutions as its kernel reads them, and when they go to local memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sr_tvm.regions.region import Conv
from sr_tvm.targets.opencl.shares import LANES, depthwise

# Vectors from the start of local memory that an Adreno's loads reach without an addition: 4 KB. Past it each load of a
# turn has an address of its own in a register, and a stage of a block spills.
NEAR = 256
COLUMNS = 4  # of a row's weights for Winograd's F(2, 3)


def vectors(array: np.ndarray) -> np.ndarray:
    """Cut the last axis into vectors of four, padded with zeros.

    Args:
        array: (..., C), of any element type.

    Returns:
        (..., ceil(C / 4), 4) of the same type.
    """
    padding = [(0, 0)] * (array.ndim - 1) + [(0, -array.shape[-1] % LANES)]
    padded = np.pad(array, padding)
    return padded.reshape(*array.shape[:-1], -1, LANES)


def by_rows(weight: np.ndarray) -> np.ndarray:
    """Pack the weights of a convolution row by row of its kernel.

    A row has its groups of four inputs one after another, of each its columns, of these its inputs, of these the
    outputs. The last group has as many inputs as there are.

    Args:
        weight: (O, I, kh, kw), of a float type.

    Returns:
        (kh, vectors of a row, 4) of the same type.
    """
    _, inputs, tall, _ = weight.shape
    rows = []
    for dy in range(tall):
        parts = []
        for first in range(0, inputs, LANES):
            part = weight[:, first : first + LANES, dy]  # O, up to 4, kw
            parts.append(vectors(part.transpose(2, 1, 0)).reshape(-1, LANES))
        rows.append(np.concatenate(parts))
    return np.stack(rows)


def uses_winograd(conv: Conv, wanted: bool, pixels: int) -> bool:
    """Tell whether Winograd's F(2, 3) computes a convolution: one of three columns, for pairs of pixels.

    Args:
        conv: A convolution that reads memory, or any other.
        wanted: Whether it is decided where it can be done.
        pixels: Neighbours in a row that a work-item computes.

    Returns:
        False where it can't be done, or is not wanted.
    """
    return wanted and conv.weight.shape[3] == 3 and pixels % 2 == 0 and not depthwise(conv)


def transformed(weight: np.ndarray) -> np.ndarray:
    """Transform the rows of weights for F(2, 3) (Lavin and Gray, arXiv 1509.09308).

    Args:
        weight: (O, I, kh, 3), of a float type.

    Returns:
        (O, I, kh, 4) of the same type: of g0 g1 g2 those of the transformed row: g0, (g0 + g1 + g2) / 2, (g0 - g1 + g2)
        / 2, g2.
    """
    first, middle, last = np.moveaxis(weight, 3, 0)
    return np.stack([first, (first + middle + last) / 2, (first - middle + last) / 2, last], axis=3)


def by_groups(weight: np.ndarray) -> np.ndarray:
    """Pack the weights of a convolution group by group of four inputs: :func:`by_rows` with the last group padded.

    Args:
        weight: (O, I, kh, kw), of a float type.

    Returns:
        (kh * ceil(I / 4), vectors of a group, 4) of the same type.
    """
    padded = np.pad(weight, ((0, 0), (0, -weight.shape[1] % LANES), (0, 0), (0, 0)))
    rows = by_rows(padded)
    return rows.reshape(rows.shape[0] * (padded.shape[1] // LANES), -1, LANES)


def by_channels(weight: np.ndarray) -> np.ndarray:
    """Pack the weights of a depthwise convolution: of each row its groups of four channels, of these the columns.

    Args:
        weight: (C, 1, kh, kw), of a float type.

    Returns:
        (kh, ceil(C / 4) * kw, 4) of the same type.
    """
    rows = vectors(weight[:, 0].transpose(1, 2, 0))  # kh, kw, groups, 4
    return rows.transpose(0, 2, 1, 3).reshape(weight.shape[2], -1, LANES)


def by_inputs(weight: np.ndarray) -> np.ndarray:
    """Pack the weights of a 1x1 convolution input by input.

    Args:
        weight: (O, I, 1, 1), of a float type.

    Returns:
        (I, ceil(O / 4), 4) of the same type.
    """
    return vectors(weight[:, :, 0, 0].T)


def by_hidden(expand: Conv, parameters: Sequence[np.ndarray], project: np.ndarray) -> np.ndarray:
    """Pack the numbers for hidden channels, four at a time.

    Of each group: the bias, the parameters of what lies between, the expanding weights input by input, then for each of
    the four channels the projecting weights to all outputs.

    Args:
        expand: The 1x1 convolution to E hidden channels.
        parameters: Of the arithmetic between, in order, each (E,).
        project: Weights of the 1x1 convolution from them, (O, E, 1, 1).

    Returns:
        (ceil(E / 4), vectors of a group, 4) float64.
    """
    widen = vectors(expand.weight[:, :, 0, 0].T)  # inputs, groups, 4
    rows = np.stack([vectors(np.asarray(row, np.float64)) for row in (expand.bias, *parameters)])  # n, groups, 4
    narrow = vectors(project[:, :, 0, 0].T)  # hidden, groups of outputs, 4
    narrow = np.pad(narrow, ((0, -narrow.shape[0] % LANES), (0, 0), (0, 0)))
    narrow = narrow.reshape(widen.shape[1], -1, LANES)
    return np.concatenate([rows.transpose(1, 0, 2), widen.transpose(1, 0, 2), narrow], axis=1)


def ungrouped(weight: np.ndarray, groups: int) -> np.ndarray:
    """Widen a grouped convolution's weights with zeros between groups.

    Args:
        weight: (O, I / groups, kh, kw), of any element type.
        groups: Of the convolution.

    Returns:
        (O, I, kh, kw) of the same type.
    """
    outputs, each = weight.shape[0] // groups, weight.shape[1]
    dense = np.zeros((weight.shape[0], each * groups, *weight.shape[2:]), weight.dtype)
    for i in range(groups):
        dense[i * outputs : (i + 1) * outputs, i * each : (i + 1) * each] = weight[i * outputs : (i + 1) * outputs]
    return dense


@dataclass(frozen=True, eq=False)
class WeightBlock:
    """Weights that are used turn after turn of a loop.

    Attributes:
        numbers: (splits, turns, vectors of a turn, 4); a split is what one work-item's share of the channels needs.
        groups: Where a turn is a group of four inputs of a row, the groups of a row; else 0. How many turns are taken
            at a time divides it, or is a multiple of it.
    """

    numbers: np.ndarray
    groups: int = 0

    @property
    def turns(self) -> int:
        """Turns of the loop."""
        return int(self.numbers.shape[1])

    @property
    def size(self) -> int:
        """Vectors of a turn."""
        return int(self.numbers.shape[2])


@dataclass(frozen=True, eq=False)
class WeightPhase:
    """Blocks whose weights are in local memory at the same time.

    Attributes:
        turns: Of a single block, as many turns' weights as there are at a time; 0: those of all.
        offset: In vectors, of the first split's numbers among those of all phases.
        size: Vectors that are in local memory at a time; 0: none, they are read where they lie.
    """

    blocks: tuple[WeightBlock, ...]
    turns: int
    offset: int
    size: int

    @property
    def whole(self) -> int:
        """Vectors of all blocks, of one split."""
        return sum(block.turns * block.size for block in self.blocks)

    def numbers(self) -> np.ndarray:
        """Join the numbers of all blocks, as they lie in memory: share after share, of each the blocks in order.

        Returns:
            (vectors of all shares, 4), of the blocks' element type.
        """
        flat = [block.numbers.reshape(block.numbers.shape[0], -1, LANES) for block in self.blocks]
        return np.concatenate(flat, axis=1).reshape(-1, LANES)


def phases(blocks: Sequence[WeightBlock], budget: int) -> list[WeightPhase]:
    """Give the blocks to phases such that none has more than ``budget`` vectors in local memory.

    A block whose single turn is larger than that has a phase of ``size`` 0: its weights are read where they lie. Blocks
    share a phase while their turns are within ``NEAR`` vectors of its start.

    Args:
        blocks: In the order that a kernel uses them.
        budget: Vectors that local memory holds; 0: weights are read where they lie.

    Returns:
        The phases, in the order of the blocks.
    """
    found: list[WeightPhase] = []
    offset = 0
    waiting: list[WeightBlock] = []

    def close() -> None:
        nonlocal offset, waiting
        if waiting:
            size = sum(block.turns * block.size for block in waiting)
            found.append(WeightPhase(tuple(waiting), 0, offset, size))
            offset += size * waiting[0].numbers.shape[0]
            waiting = []

    for block in blocks:
        whole = block.turns * block.size
        if whole > budget:
            close()
            turns = next((n for n in range(block.turns, 0, -1) if _fits(block, n, budget)), 0)
            found.append(WeightPhase((block,), turns, offset, turns * block.size))
            offset += whole * block.numbers.shape[0]
            continue
        before = sum(b.turns * b.size for b in waiting)
        if before + whole > budget or (before and before + block.size > NEAR):
            close()
        waiting.append(block)
    close()
    return found


def _fits(block: WeightBlock, turns: int, budget: int) -> bool:
    row = block.groups or 1
    apart = row % turns == 0 or turns % row == 0
    return block.turns % turns == 0 and apart and turns * block.size <= budget
