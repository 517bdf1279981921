"""A 3x3 convolution as Winograd's F(2x2, 3x3): 16 products for 4 outputs instead of 36.

Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (CVPR 2016), section 4.1. All transforms are
additions: rows come as pairs, and even and odd pixels as vectors of their own, so no vector is ever shuffled. The error
is that of a direct sum.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from sr_tvm.streaming.region import Conv
from sr_tvm.streaming.rows.blocks import Blocks
from sr_tvm.streaming.rows.code import Packed, StageCode

G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
POINTS = 4


def tile_floats(conv: Conv, lanes: int) -> int:
    """Scratch for the transformed input of one group."""
    return POINTS * POINTS * conv.weight.shape[1] * lanes


def partial_floats(blocks: Blocks, lanes: int) -> int:
    """Scratch for the four outputs of each channel of a tile while the rows of products are summed."""
    return blocks.size * 4 * lanes


def pack_winograd(packed: Packed, conv: Conv, blocks: Blocks) -> int:
    """Transformed weights as [group][tile][row of products][channel][output of the tile][column of products]."""
    outputs, channels = conv.weight.shape[:2]
    transformed = np.einsum("ia,ocab,kb->ocik", G, conv.weight.astype("float64"), G)
    grouped = transformed.reshape(conv.groups, outputs // conv.groups, channels, POINTS, POINTS)
    parts = [
        grouped[g, first : first + size].transpose(2, 1, 0, 3).ravel()
        for g in range(conv.groups)
        for first, size in blocks.cuts()
    ]
    return packed.add(np.concatenate(parts))


def emit_input(code: StageCode, conv: Conv, group: Any, base: int) -> None:
    """Transform the inputs of one group: B^T d B of the 4x4 pixels around 2x2 outputs, into [point][channel]."""
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
                    e.store(code.ws, at + c * (POINTS * POINTS * lanes), value)
        done += count


def _transform(d: list[Any]) -> list[Any]:
    return [d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]]


def emit_products(
    code: StageCode,
    conv: Conv,
    offset: int,
    bias: int,
    group: Any,
    first: Any,
    size: int,
    base: int,
    partial: int,
    done: Callable[[int, int, int, Any], None],
) -> None:
    """One tile of outputs: products, inverse transform A^T m A, ``done(output, row, slot, value)`` for each vector."""
    e, lanes = code.e, code.layout.lanes
    outputs, channels = conv.weight.shape[:2]
    first_output = group * (outputs // conv.groups) + first
    weights = code.weights + (offset + first_output * (POINTS * POINTS * channels))

    def kept(output: int, row: int, slot: int) -> int:
        return partial + ((output * 2 + row) * 2 + slot) * lanes

    sums = [[e.register("m") for _ in range(POINTS)] for _ in range(size)]
    for i in range(POINTS):
        for output in range(size):
            for k in range(POINTS):
                # The product at (1, 1) is added to all four outputs: the bias rides on it.
                biased = i == 1 and k == 1
                sums[output][k].set(code.number(bias + (first_output + output)) if biased else e.splat(0.0))
        with e.loop("c", channels) as c:
            at = weights + (i * channels + c) * (size * POINTS)
            vectors = [
                e.bind("v", e.load(code.ws, base + (i * POINTS + k) * lanes + c * (POINTS * POINTS * lanes)))
                for k in range(POINTS)
            ]
            for output in range(size):
                for k in range(POINTS):
                    sums[output][k].fma(e.splat(e.scalar(code.p, at + (output * POINTS + k))), vectors[k])
        for output in range(size):
            m = [sums[output][k].get() for k in range(POINTS)]
            even, odd = e.bind("s", m[0] + m[1] + m[2]), e.bind("s", m[1] - m[2] - m[3])
            for slot, value in enumerate((even, odd)):
                upper, lower = kept(output, 0, slot), kept(output, 1, slot)
                if i == 0:
                    e.store(code.ws, upper, value)
                elif i == 1:
                    e.store(code.ws, upper, e.load(code.ws, upper) + value)
                    e.store(code.ws, lower, value)
                elif i == 2:
                    done(output, 0, slot, e.load(code.ws, upper) + value)
                    e.store(code.ws, lower, e.load(code.ws, lower) - value)
                else:
                    done(output, 1, slot, e.load(code.ws, lower) - value)
