"""A 3x3 convolution as Winograd's F(2x2, 3x3): 16 products for 4 outputs instead of 36.

Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (CVPR 2016), section 4.1. All transforms are
additions: rows come as pairs, and even and odd pixels as vectors of their own, so no vector is ever shuffled. The error
is that of a direct sum.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from sr_tvm.regions.region import Conv
from sr_tvm.targets.cpu.rows.blocks import Blocks
from sr_tvm.targets.cpu.rows.code import StageCode, StageNumbers

G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
# Of rows: the last has the other sign, so that its products are added as all others are.
G_ROWS = G * np.array([[1], [1], [1], [-1]])
POINTS = 4
# Lines of products in the order they are summed, by how many take a turn in the registers at once.
TURNS = {1: ((1,), (2,), (0,), (3,)), 2: ((1, 2), (0, 3))}


@dataclass(frozen=True)
class Products:
    """A convolution by Winograd's products.

    Attributes:
        term: the convolution.
        tiles: cuts the output channels of a group into register tiles.
        lines: lines of products that are summed at a time, 1 or 2.
        offset: of its weights, from the stage's first number.
        input: where its transformed input lies, an offset in the workspace.
        kept: where sums of products wait, as :func:`emit_products` has it.
        total: the tile where its outputs wait for the layer's other convolutions, None where there are none.
    """

    term: Conv
    tiles: Blocks
    lines: int
    offset: int
    input: int
    kept: int
    total: int | None


def tile_floats(conv: Conv, lanes: int) -> int:
    """Count the scratch for the transformed input of one group.

    Args:
        conv: A 3x3 convolution.
        lanes: Elements in a vector.

    Returns:
        Elements of the workspace.
    """
    return POINTS * POINTS * conv.weight.shape[1] * lanes


def kept_floats(blocks: Blocks, lines: int, lanes: int) -> int:
    """Count the scratch for the sums that wait while others take the registers: see :func:`emit_products`.

    Args:
        blocks: The cut of a group's output channels into register tiles.
        lines: Lines of products that are summed at a time, 1 or 2.
        lanes: Elements in a vector.

    Returns:
        Elements of the workspace; 0 where two lines are summed at a time, for then nothing waits.
    """
    return blocks.size * POINTS * lanes if lines == 1 else 0


def pack_winograd(packed: StageNumbers, conv: Conv, blocks: Blocks, lines: int) -> int:
    """Pack transformed weights as [group][tile][turn][channel][output of the tile][line of the turn][column].

    They are G g G^T, of which the last row has the other sign (Lavin and Gray, CVPR 2016, section 4.1).

    Args:
        packed: The stage's numbers, which they are appended to.
        conv: A 3x3 convolution.
        blocks: The cut of a group's output channels into register tiles.
        lines: Lines of products that are summed at a time, 1 or 2.

    Returns:
        Their offset from the stage's first number.
    """
    outputs, channels = conv.weight.shape[:2]
    transformed = np.einsum("ia,ocab,kb->ocik", G_ROWS, conv.weight.astype("float64"), G)
    grouped = transformed.reshape(conv.groups, outputs // conv.groups, channels, POINTS, POINTS)
    parts = [
        grouped[g, first : first + size][:, :, list(turn)].transpose(1, 0, 2, 3).ravel()
        for g in range(conv.groups)
        for first, size in blocks.cuts()
        for turn in TURNS[lines]
    ]
    return packed.add(np.concatenate(parts))


def emit_input(code: StageCode, conv: Conv, group: Any, base: int) -> None:
    """Write the code that transforms the inputs of one group of a convolution.

    It makes B^T d B of the 4x4 pixels around 2x2 outputs (Lavin and Gray, CVPR 2016, section 4.1), in vectors
    [channel][point] of the column block at hand.

    Args:
        code: The function of a stage whose calls handle two rows.
        conv: A 3x3 convolution.
        group: The group at hand, an int or an expression.
        base: Offset in the workspace of the :func:`tile_floats` elements that are written.
    """
    e, lanes = code.e, code.layout.lanes
    channels = conv.weight.shape[1]
    done = 0
    for name in conv.inputs:
        count = channels if len(conv.inputs) == 1 else code.widths[name]
        with e.loop("c", count) as c:
            rows = []
            for dy in range(-1, 3):
                address = lambda slot, dx, dy=dy: code.address(code.inputs[name][dy], group * channels + c, slot, dx)  # noqa: B023,E731
                pixels = [e.bind("d", e.load(code.ws, address(*at))) for at in ((0, -1), (0, 0), (1, 0), (1, 1))]
                rows.append(pixels)
            down = [[e.bind("t", v) for v in _transform([rows[y][x] for y in range(4)])] for x in range(4)]
            for i in range(POINTS):
                for k, value in enumerate(_transform([down[x][i] for x in range(4)])):
                    at = base + (done * POINTS * POINTS + i * POINTS + k) * lanes
                    e.store(code.ws, value, at + c * (POINTS * POINTS * lanes))
        done += count


def _transform(d: list[Any]) -> list[Any]:
    return [d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]]


def emit_products(
    code: StageCode,
    products: Products,
    bias: int,
    group: Any,
    first: Any,
    size: int,
    done: Callable[[int, int, int, Any], None],
) -> None:
    """Write the code of one tile of outputs: products, and their inverse transform A^T m A.

    The upper row of outputs is m0 + m1 + m2, the lower m1 - m2 - m3, of the lines m0 .. m3 of products. So m1 and m2
    are summed first, and the sums of m0 and m3 go on from their sum and difference, which costs no addition of its own.
    With two lines at a time nothing leaves the registers; with one, m1 and then the difference wait in scratch.

    Args:
        code: The function of a stage whose calls handle two rows.
        products: The convolution; its input is transformed already.
        bias: Offset of the biases, one an output channel, from the stage's first number.
        group: The group at hand, an int or an expression.
        first: The tile's first output channel in its group.
        size: Output channels of the tile.
        done: Takes each finished vector: its output channel in the tile, row and slot (each 0 or 1), and the vector.
    """
    e, lanes, lines = code.e, code.layout.lanes, products.lines
    outputs, channels = products.term.weight.shape[:2]
    first_output = group * (outputs // products.term.groups) + first
    weights = code.weights + (products.offset + first_output * (POINTS * POINTS * channels))
    sums = [[[e.register("m") for _ in range(POINTS)] for _ in range(lines)] for _ in range(size)]
    each = [(output, k) for output in range(size) for k in range(POINTS)]

    def accumulate(turn: tuple[int, ...], at: Any) -> None:
        with e.loop("c", channels) as c:
            for line, i in enumerate(turn):
                for k in range(POINTS):
                    at_vector = products.input + (i * POINTS + k) * lanes + c * (POINTS * POINTS * lanes)
                    vector = e.bind("v", e.load(code.ws, at_vector))
                    for output in range(size):
                        weight = at + c * (size * lines * POINTS) + ((output * lines + line) * POINTS + k)
                        sums[output][line][k].fma(e.splat(e.scalar(code.p, weight)), vector)

    def place(output: int, k: int) -> int:
        return products.kept + (output * POINTS + k) * lanes

    def finish(row: int, line: int) -> None:
        for output in range(size):
            m = [register.get() for register in sums[output][line]]
            done(output, row, 0, e.bind("s", m[0] + m[1] + m[2]))
            done(output, row, 1, e.bind("s", m[1] - m[2] - m[3]))

    for output, k in each:
        for line in range(lines):
            # The product at (1, 1) is added to all four outputs: the bias rides on it.
            biased = line == 0 and k == 1
            sums[output][line][k].set(code.number(bias + (first_output + output)) if biased else e.splat(0.0))
    for number, turn in enumerate(TURNS[lines]):
        accumulate(turn, weights + number * (channels * size * lines * POINTS))
        if turn == (1, 2):
            for output, k in each:
                a, b = (e.bind("m", sums[output][line][k].get()) for line in (0, 1))
                sums[output][0][k].set(a + b)
                sums[output][1][k].set(a - b)
        elif turn == (1,):
            for output, k in each:
                e.store(code.ws, sums[output][0][k].get(), place(output, k))
                sums[output][0][k].set(e.splat(0.0))
        elif turn == (2,):
            for output, k in each:
                a, b = e.bind("m", e.load(code.ws, place(output, k))), e.bind("m", sums[output][0][k].get())
                e.store(code.ws, a - b, place(output, k))
                sums[output][0][k].set(a + b)
        elif turn == (0,):
            finish(0, 0)
            for output, k in each:
                sums[output][0][k].set(e.load(code.ws, place(output, k)))
        elif turn == (3,):
            finish(1, 0)
        else:
            finish(0, 0)
            finish(1, 1)
