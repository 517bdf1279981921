"""A tile of a convolution's output by its definition: a row of pixels against broadcast weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from sr_tvm.streaming.region import Conv, taps
from sr_tvm.streaming.rows.blocks import Blocks
from sr_tvm.streaming.rows.code import Packed, StageCode
from sr_tvm.streaming.rows.emit import Register
from sr_tvm.streaming.rows.layout import SLOTS


def skips(conv: Conv) -> bool:
    """Whether the code leaves out taps that are zero, for which its tiles must be unrolled."""
    return conv.groups == 1 and not bool(taps(conv.weight).all())


def pack_direct(packed: Packed, conv: Conv, blocks: Blocks) -> int:
    """Weights as [group][tile][ky][channel][kx][output of the tile]."""
    outputs, channels, kh, kw = conv.weight.shape
    grouped = conv.weight.reshape(conv.groups, outputs // conv.groups, channels, kh, kw)
    parts = [
        grouped[g, first : first + size].transpose(2, 1, 3, 0).ravel()
        for g in range(conv.groups)
        for first, size in blocks.cuts()
    ]
    return packed.add(np.concatenate(parts))


def emit_direct(
    code: StageCode, conv: Conv, offset: int, group: Any, first: Any, tile: list[list[Register]], row: int, tile_input: Any
) -> None:
    """Add the convolution to the registers ``tile[output][slot]``, for one row of a call.

    ``first`` is the tile's first channel in its group. ``tile_input(channel, row, slot)`` is the address of the input where that is a tile of the stage and
    not a ring.
    """
    e, layout = code.e, code.layout
    outputs, channels, kh, kw = conv.weight.shape
    size = len(tile)
    base = offset + (group * (outputs // conv.groups) + first) * (channels * kh * kw)
    static = np.ones((size, kh, kw), bool) if not skips(conv) else taps(conv.weight)[int(first) : int(first) + size]
    done = 0
    for name, count in _parts(code, conv, channels):
        for ky in range(kh):
            if not static[:, ky].any():
                continue
            with e.loop("c", count) as c:
                weights = code.weights + (base + ((ky * channels + done) + c) * (kw * size))
                for kx in range(kw):
                    if not static[:, ky, kx].any():
                        continue
                    vectors = []
                    for slot in range(SLOTS):
                        if name is None:
                            address = tile_input(c, row, slot)
                        else:
                            source = code.inputs[name][row + ky - kh // 2]
                            address = code.address(source, group * channels + c, slot, kx - kw // 2)
                        vectors.append(e.bind("x", e.load(code.ws, address)))
                    for output in range(size):
                        if static[output, ky, kx]:
                            weight = e.bind("w", e.splat(e.scalar(code.p, weights + (kx * size + output))))
                            for slot in range(SLOTS):
                                tile[output][slot].fma(weight, vectors[slot])
        done += count


def _parts(code: StageCode, conv: Conv, channels: int) -> list[tuple[str | None, int]]:
    """The inputs and how many channels of a group each gives; the name None is the tile of the layer before."""
    if conv.inputs[0] not in code.inputs:
        return [(None, channels)]
    if len(conv.inputs) == 1:
        return [(conv.inputs[0], channels)]
    return [(name, code.widths[name]) for name in conv.inputs]
