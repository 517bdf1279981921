"""One row of one operator in plain loops: what :mod:`sr_tvm.streaming.plain` puts into a step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tvm import tirx

from sr_tvm.streaming.plain_tir import Index, block, buffer, load, loop, number, real, store, variable, when
from sr_tvm.streaming.region import Add, Concat, Conv, Node, Pointwise


@dataclass(frozen=True)
class Rows:
    """Where the rows of a value are: a ring (C, ring, W), or a source's whole tensor (N, C, H, W) where ``ring`` is 0.

    ``height`` and ``width`` are the picture's, ``image`` is the index along N of a source.
    """

    data: tirx.Var
    channels: int
    height: Index
    width: Index
    ring: int = 0
    image: Index = None

    def at(self, channel: Index, row: Index, x: Index) -> list[Index]:
        """The indices of a pixel; ``row`` is a row of the picture."""
        if self.ring:
            return [channel, tirx.floormod(row, number(self.ring)) if self.ring > 1 else number(0), x]
        return [self.image, channel, row, x]


def constants_of(node: Node) -> list[np.ndarray]:
    """The weights of a node as its code reads them."""
    if isinstance(node, Conv):
        arrays: Sequence[np.ndarray] = (node.weight, node.bias)
    else:
        arrays = node.parameters if isinstance(node, Pointwise) else ()
    return [np.ascontiguousarray(array, dtype="float32") for array in arrays]


def node_row(node: Node, rows: dict[str, Rows], constants: Sequence[tirx.Var], row: Index) -> tirx.Stmt:
    """Compute row ``row`` of ``node``; ``constants`` are the buffers of :func:`constants_of`."""
    out, inputs = rows[node.name], [rows[name] for name in node.inputs]
    if isinstance(node, Conv):
        return conv_row(node, out, inputs, constants[0], constants[1], row)
    c, x = variable("c"), variable("x")

    def each(source: Rows, first: int, value: object) -> tirx.Stmt:
        body = store(out.data, value, *out.at(c + number(first), row, x))
        return loop(c, number(0), number(source.channels), loop(x, number(0), out.width, body))

    values = [load(source.data, *source.at(c, row, x)) for source in inputs]
    if isinstance(node, Concat):
        firsts = np.cumsum([0] + [source.channels for source in inputs])
        parts = []
        for source, first in zip(inputs, firsts, strict=False):
            c, x = variable("c"), variable("x")
            parts.append(each(source, int(first), load(source.data, *source.at(c, row, x))))
        return block(parts)
    if isinstance(node, Add):
        return each(inputs[0], 0, values[0] + values[1])
    return each(inputs[0], 0, pointwise(node, values[0], [load(p, c) for p in constants]))


def pointwise(node: Node, x: object, p: Sequence[object]) -> object:
    assert isinstance(node, Pointwise)
    match node.function:
        case "relu":
            return tirx.max(x, real(0))
        case "prelu":
            return tirx.Select(x > real(0), x, x * p[0])  # type: ignore[operator]
        case "clip":
            return tirx.min(tirx.max(x, p[0]), p[1])
        case "shift":
            return x + p[0]  # type: ignore[operator]
        case "scale":
            return x * p[0]  # type: ignore[operator]


def conv_row(
    conv: Conv, out: Rows, inputs: Sequence[Rows], weight: tirx.Var, bias: tirx.Var, row: Index
) -> tirx.Stmt:
    """The row of each output channel is the accumulator: one pass over it for each tap of each input channel.

    A tap's pass covers the pixels whose neighbour lies in the picture, so padding needs no test inside the loop.
    """
    width = out.width
    of_group, (_, depth, kh, kw) = conv.channels // conv.groups, conv.weight.shape
    o, x = variable("o"), variable("x")
    work = [loop(x, number(0), width, store(out.data, load(bias, o), *out.at(o, row, x)))]
    first = 0
    for source in inputs:
        i, ky, kx, x = variable("i"), variable("ky"), variable("kx"), variable("x")
        above = row + ky - number(kh // 2)
        # A pixel x reads x + aside: both must be inside.
        aside = kx - number(kw // 2)
        start = tirx.max(number(0), number(0) - aside)
        extent = tirx.max(tirx.min(width, width - aside) - start, number(0))
        tap = tirx.Var("tap", "float32")
        whole = conv.groups == 1
        # ``i`` counts the channels of this input where all are read, the weight's own where groups are.
        member = i + number(first) if whole else i
        channel = i if whole else tirx.floordiv(o, number(of_group)) * number(depth) + i - number(first)
        here = out.at(o, row, x)
        product = load(source.data, *source.at(channel, above, x + aside)) * tap
        body: tirx.Stmt = loop(x, start, extent, store(out.data, load(out.data, *here) + product, *here))
        body = block([tirx.Bind(tap, load(weight, o, member, ky, kx)), when(tap != real(0), body)])
        body = when(tirx.And(above >= number(0), above < out.height), loop(kx, number(0), number(kw), body))
        if not whole and len(inputs) > 1:
            body = when(tirx.And(channel >= number(0), channel < number(source.channels)), body)
        body = loop(ky, number(0), number(kh), body)
        work.append(loop(i, number(0), number(source.channels if whole else depth), body))
        first += source.channels
    return loop(o, number(0), number(conv.channels), block(work))


def store_row(value: Rows, out: tirx.Var, image: Index, row: Index, shuffle: int) -> tirx.Stmt:
    """Write a row of a result to ``out``, (N, C / r^2, H * r, W * r), at the address its pixel shuffle says."""
    c, dy, dx, x = variable("c"), variable("dy"), variable("dx"), variable("x")
    r = number(shuffle)
    pixel = load(value.data, *value.at((c * r + dy) * r + dx, row, x))
    body = loop(x, number(0), value.width, store(out, pixel, image, c, row * r + dy, x * r + dx))
    body = loop(dy, number(0), r, loop(dx, number(0), r, body))
    return loop(c, number(0), number(value.channels // shuffle**2), body)
