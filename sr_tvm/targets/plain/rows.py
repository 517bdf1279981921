"""One row of one operator in plain loops: the functions that :mod:`sr_tvm.targets.plain.lowering` calls in a step."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from tvm import tirx

from sr_tvm.regions.region import Add, Concat, Conv, Node, Pointwise
from sr_tvm.targets.lowering import Shape
from sr_tvm.targets.plain.function import Place, RowFunction, Rows
from sr_tvm.targets.plain.tir import block, load, loop, number, real, store, variable, when


def constants_of(node: Node) -> list[np.ndarray]:
    """The weights of a node as its function reads them."""
    if isinstance(node, Conv):
        arrays: Sequence[np.ndarray] = (node.weight, node.bias)
    else:
        arrays = node.parameters if isinstance(node, Pointwise) else ()
    return [np.ascontiguousarray(array, dtype="float32") for array in arrays]


def node_key(node: Node) -> Hashable:
    """Nodes of equal keys, with equal places of inputs and output, do the same with other weights."""
    if isinstance(node, Conv):
        return ("conv", node.weight.shape, node.groups)
    return node.function if isinstance(node, Pointwise) else type(node).__name__


def node_function(node: Node, place: Place, inputs: Sequence[Place], shape: Shape) -> tirx.PrimFunc:
    """Compute a row of ``node``: pointers are its output, its inputs, its :func:`constants_of`."""
    f = RowFunction(shape)
    out = f.rows("out", place)
    sources = [f.rows(f"in{i}", source) for i, source in enumerate(inputs)]
    constants = [f.array(f"constant{i}", array.shape) for i, array in enumerate(constants_of(node))]
    if isinstance(node, Conv):
        return f.function(conv_row(f, node, out, sources, *constants))
    if isinstance(node, Concat):
        firsts = accumulate([source.channels for source in inputs], initial=0)
        parts = zip(sources, firsts, strict=False)
        return f.function(block([each_pixel(out, [source], lambda x, _: x, first) for source, first in parts]))
    if isinstance(node, Add):
        return f.function(each_pixel(out, sources, lambda a, b, _: a + b))
    assert isinstance(node, Pointwise)
    kind = node.function
    return f.function(each_pixel(out, sources, lambda x, c: pointwise(kind, x, [load(p, c) for p in constants])))


def each_pixel(out: Rows, inputs: Sequence[Rows], value: Any, first: int = 0) -> tirx.Stmt:
    """Channel c + ``first`` of the row becomes ``value``(channel c of each input ..., c)."""
    c, x, row = variable("c"), variable("x"), out.of.row
    result = value(*[load(source.data, *source.at(c, row, x)) for source in inputs], c)
    body = store(out.data, result, *out.at(c + number(first), row, x))
    return loop(c, number(0), number(inputs[0].place.channels), loop(x, number(0), out.of.width, body))


def pointwise(function: str, x: Any, p: Sequence[Any]) -> Any:
    match function:
        case "relu":
            return tirx.max(x, real(0))
        case "prelu":
            return tirx.Select(x > real(0), x, x * p[0])
        case "clip":
            return tirx.min(tirx.max(x, p[0]), p[1])
        case "shift":
            return x + p[0]
        case "scale":
            return x * p[0]
    raise ValueError(function)


def conv_row(
    f: RowFunction, conv: Conv, out: Rows, inputs: Sequence[Rows], weight: tirx.Var, bias: tirx.Var
) -> tirx.Stmt:
    """The row of each output channel is the accumulator: one pass over it for each tap of each input channel.

    A tap's pass covers the pixels whose neighbour lies in the picture, so padding needs no test inside the loop.
    """
    of_group, (_, depth, kh, kw) = conv.channels // conv.groups, conv.weight.shape
    o, x = variable("o"), variable("x")
    work = [loop(x, number(0), f.width, store(out.data, load(bias, o), *out.at(o, f.row, x)))]
    first = 0
    for source in inputs:
        channels, whole = source.place.channels, conv.groups == 1
        i, ky, kx, x = variable("i"), variable("ky"), variable("kx"), variable("x")
        above = f.row + ky - number(kh // 2)
        # A pixel x reads x + aside: both must be inside.
        aside = kx - number(kw // 2)
        start = tirx.max(number(0), number(0) - aside)
        extent = tirx.max(tirx.min(f.width, f.width - aside) - start, number(0))
        # ``i`` counts the channels of this input where all are read, the weight's own where groups are.
        member = i + number(first) if whole else i
        channel = i if whole else tirx.floordiv(o, number(of_group)) * number(depth) + i - number(first)
        tap, here = tirx.Var("tap", "float32"), out.at(o, f.row, x)
        product = load(source.data, *source.at(channel, above, x + aside)) * tap
        body: tirx.Stmt = loop(x, start, extent, store(out.data, load(out.data, *here) + product, *here))
        body = block([tirx.Bind(tap, load(weight, o, member, ky, kx)), when(tap != real(0), body)])
        body = when(tirx.And(above >= number(0), above < f.height), loop(kx, number(0), number(kw), body))
        if not whole and len(inputs) > 1:
            body = when(tirx.And(channel >= number(0), channel < number(channels)), body)
        body = loop(ky, number(0), number(kh), body)
        work.append(loop(i, number(0), number(channels if whole else depth), body))
        first += channels
    return loop(o, number(0), number(conv.channels), block(work))


def store_function(place: Place, shuffle: int, shape: Shape) -> tirx.PrimFunc:
    """Write a row of a result to a tensor (N, C / r^2, H * r, W * r), at the address its pixel shuffle says."""
    f, channels = RowFunction(shape), place.channels // shuffle**2
    out = f.array("out", (f.batch, channels, f.height * shuffle, f.width * shuffle))
    value = f.rows("value", place)
    c, dy, dx, x, r = variable("c"), variable("dy"), variable("dx"), variable("x"), number(shuffle)
    pixel = load(value.data, *value.at((c * r + dy) * r + dx, f.row, x))
    body = loop(x, number(0), f.width, store(out, pixel, f.image, c, f.row * r + dy, x * r + dx))
    return f.function(loop(c, number(0), number(channels), loop(dy, number(0), r, loop(dx, number(0), r, body))))
