"""A tile of a convolution's output by its definition: a row of pixels against broadcast weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import gcd
from typing import Any

import numpy as np
from tvm import tirx

from sr_tvm.codegen.builder import FunctionBuilder, Register
from sr_tvm.regions.region import Conv, taps
from sr_tvm.targets.cpu.rows.code import StageCode, StageNumbers


def skips(conv: Conv) -> bool:
    """Tell whether the code of a convolution leaves out taps that are zero, for which its tiles must be unrolled.

    Args:
        conv: The convolution.

    Returns:
        True where it has no groups and one of its taps is zero for all inputs.
    """
    return conv.groups == 1 and not bool(taps(conv.weight).all())


def pack_direct(packed: StageNumbers, conv: Conv, cuts: list[tuple[int, int]]) -> int:
    """Pack the weights of a convolution by its definition as [group][tile][ky][channel][kx][output].

    Args:
        packed: The stage's numbers, which they are appended to.
        conv: The convolution.
        cuts: First output of each register tile in its group, and its size in channels.

    Returns:
        Their offset from the stage's first number.
    """
    outputs, channels, kh, kw = conv.weight.shape
    grouped = conv.weight.reshape(conv.groups, outputs // conv.groups, channels, kh, kw)
    parts = [
        grouped[g, first : first + size].transpose(2, 1, 3, 0).ravel()
        for g in range(conv.groups)
        for first, size in cuts
    ]
    return packed.add(np.concatenate(parts))


@dataclass(frozen=True)
class TileInput:
    """The input of a 1x1 convolution where it is a tile of the stage, in scratch, instead of a line buffer.

    Attributes:
        first: the first channel of the input that the tile holds.
        count: how many channels it holds.
        address: takes a channel of the tile, a row of the call and a slot; gives the offset of the vector in the
            workspace.
    """

    first: Any
    count: int
    address: Callable[[Any, int, int], Any]


def emit_direct(
    code: StageCode,
    conv: Conv,
    offset: int,
    group: Any,
    first: Any,
    tile: list[dict[tuple[int, int], Register]],
    source: TileInput | None = None,
    unroll: int = 1,
) -> None:
    """Write the code that adds a convolution, by its definition, to a register tile.

    Args:
        code: The stage's function.
        conv: The convolution, with float32 weights (O, I / groups, kh, kw).
        offset: Of its weights, from the stage's first number.
        group: The group at hand, an int or an expression.
        first: The tile's first output channel in its group; an int where taps are left out.
        tile: The registers that are added to, by output channel of the tile, and by row of the call and slot.
        source: The tile in scratch that is its input; None where it reads line buffers.
        unroll: Input channels that one turn of the loop takes, as far as that divides them.
    """
    e = code.e
    outputs, channels, kh, kw = conv.weight.shape
    size, places = len(tile), list(tile[0])
    base = offset + (group * (outputs // conv.groups) + first) * (channels * kh * kw)
    present = np.ones((size, kh, kw), bool) if not skips(conv) else taps(conv.weight)[int(first) : int(first) + size]
    done: Any = 0 if source is None else source.first
    parts = _parts(code, conv, channels) if source is None else [(None, source.count)]
    for name, count in parts:
        for ky in range(kh):
            if not present[:, ky].any():
                continue
            with _channels(e, count, unroll) as c:
                weights = code.weights + (base + ((ky * channels + done) + c) * (kw * size))
                for kx in range(kw):
                    if not present[:, ky, kx].any():
                        continue
                    vectors = {}
                    for row, slot in places:
                        if name is None:
                            assert source is not None
                            address = source.address(c, row, slot)
                        else:
                            line = code.inputs[name][row + ky - kh // 2]
                            address = code.address(line, group * channels + c, slot, kx - kw // 2)
                        vectors[row, slot] = e.bind("x", e.load(code.ws, address))
                    for output in range(size):
                        if present[output, ky, kx]:
                            weight = e.bind("w", e.splat(e.scalar(code.p, weights + (kx * size + output))))
                            for place in places:
                                tile[output][place].fma(weight, vectors[place])
        done = done + count


@contextmanager
def _channels(e: FunctionBuilder, count: int, unroll: int) -> Iterator[Any]:
    """Loop over channels, some of them a turn.

    Yields:
        The channel, an expression.
    """
    some = gcd(count, unroll)
    with e.loop("c", count // some) as c, e.loop("u", some, tirx.ForKind.UNROLLED) as u:
        yield c * some + u


def _parts(code: StageCode, conv: Conv, channels: int) -> list[tuple[str | None, int]]:
    """Return the line buffers that a convolution reads, and how many channels of a group each gives."""
    if len(conv.inputs) == 1:
        return [(conv.inputs[0], channels)]
    return [(name, code.widths[name]) for name in conv.inputs]
