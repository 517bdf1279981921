"""One row of one operator in plain loops: the functions that :mod:`sr_tvm.targets.plain.lowering` calls in a step."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from contextlib import ExitStack

import numpy as np
from tvm import tirx

from sr_tvm.codegen.builder import Expr
from sr_tvm.codegen.kernel import Shape
from sr_tvm.regions.region import Add, Concat, Conv, Node, Pointwise
from sr_tvm.regions.value import FLOAT32
from sr_tvm.targets.plain.places import RowFunction, RowPlace, Rows


def constants_of(node: Node) -> list[np.ndarray]:
    """Give the numbers of a node as its function reads them.

    Args:
        node: An operator of a region.

    Returns:
        Contiguous float32 arrays: weight (O, I / groups, kh, kw) and bias (O,) of a convolution, the parameters (C,) of
        a pointwise operator, else none.
    """
    if isinstance(node, Conv):
        arrays: Sequence[np.ndarray] = (node.weight, node.bias)
    else:
        arrays = node.parameters if isinstance(node, Pointwise) else ()
    return [np.ascontiguousarray(array, dtype=FLOAT32) for array in arrays]


def node_key(node: Node) -> Hashable:
    """Name what a node does, whatever its numbers are.

    Args:
        node: An operator of a region.

    Returns:
        Equal for nodes that can share one function where their inputs and outputs have equal places, too.
    """
    if isinstance(node, Conv):
        return ("conv", node.weight.shape, node.groups)
    return node.function if isinstance(node, Pointwise) else type(node).__name__


def node_function(
    node: Node, place: RowPlace, inputs: Sequence[RowPlace], shape: Shape, order: str, name: str
) -> tirx.PrimFunc:
    """Make the function that computes a row of a node.

    Its pointers are the node's output, its inputs and its :func:`constants_of`.

    Args:
        node: An operator of a region; no source.
        place: Where the rows of its output lie.
        inputs: Where those of its inputs lie.
        shape: N, H and W of the region; None for what is known only at run time.
        order: Of a convolution's loops, as :class:`~sr_tvm.targets.plain.decisions.PlainDecisions` has it.
        name: That others call the function by.

    Returns:
        A private function.
    """
    f = RowFunction(shape)
    out = f.rows("out", place)
    sources = [f.rows(f"in{i}", source) for i, source in enumerate(inputs)]
    constants = [f.array(f"constant{i}", array.shape) for i, array in enumerate(constants_of(node))]
    if isinstance(node, Conv):
        weight, bias = constants
        conv_row(node, out, sources, weight, bias, order)
    elif isinstance(node, Concat):
        first = 0
        for source in sources:
            each_pixel(out, [source], lambda x, _: x, first)
            first += source.place.channels
    elif isinstance(node, Add):
        each_pixel(out, sources, lambda a, b, _: a + b)
    else:
        assert isinstance(node, Pointwise)
        kind = node.function
        each_pixel(out, sources, lambda x, c: pointwise(f, kind, x, [f.load(p, c) for p in constants]))
    return f.private(name)


def each_pixel(out: Rows, inputs: Sequence[Rows], value: Callable[..., Expr], first: int = 0) -> None:
    """Write the loops over the pixels of a row, all channels of it: an output's pixel from those of the inputs.

    Args:
        out: The output; its channel c + ``first`` is made of the inputs' channel c.
        inputs: All of the same channels.
        value: Takes the pixel of each input and the channel c; gives the output's pixel.
        first: The first channel that is written.
    """
    f = out.of
    with f.loop("c", inputs[0].place.channels) as c, f.loop("x", f.width) as x:
        out.store(value(*[source.load(c, f.row, x) for source in inputs], c), c + first, f.row, x)


def pointwise(f: RowFunction, function: str, x: Expr, p: Sequence[Expr]) -> Expr:
    """Apply a pointwise operator to a pixel.

    Args:
        f: The function that is being written.
        function: One of "relu", "prelu", "clip", "shift" and "scale".
        x: The pixel, float32.
        p: The operator's parameters for the pixel's channel, as :class:`~sr_tvm.regions.region.Pointwise` lists them.

    Returns:
        The resulting pixel.

    Raises:
        ValueError: There is no such operator.
    """
    match function:
        case "relu":
            return tirx.max(x, f.real(0))
        case "prelu":
            return tirx.Select(x > f.real(0), x, x * p[0])
        case "clip":
            return tirx.min(tirx.max(x, p[0]), p[1])
        case "shift":
            return x + p[0]
        case "scale":
            return x * p[0]
    raise ValueError(function)


def conv_row(conv: Conv, out: Rows, inputs: Sequence[Rows], weight: tirx.Var, bias: tirx.Var, order: str) -> None:
    """Write the loops of one row of a convolution.

    The row of each output channel is the accumulator: one pass over it for each tap of each input channel. A tap's pass
    covers the pixels whose neighbour lies in the picture, so padding needs no test inside the loop.

    Args:
        conv: The convolution.
        out: Its output.
        inputs: Its inputs, which are concatenated along the channels.
        weight: (O, I / groups, kh, kw), float32.
        bias: (O,), float32.
        order: Of the loops around a row, as :class:`~sr_tvm.targets.plain.decisions.PlainDecisions` has it.
    """
    f = out.of
    if order[0] == "o":
        with f.loop("o", conv.channels) as o:
            _begin(out, bias, o)
            _sums(conv, out, inputs, weight, order, o)
    else:
        with f.loop("o", conv.channels) as o:
            _begin(out, bias, o)
        _sums(conv, out, inputs, weight, order)


def _begin(out: Rows, bias: tirx.Var, o: Expr) -> None:
    f = out.of
    with f.loop("x", f.width) as x:
        out.store(f.load(bias, o), o, f.row, x)


def _sums(conv: Conv, out: Rows, inputs: Sequence[Rows], weight: tirx.Var, order: str, of: Expr | None = None) -> None:
    """Add the products of all inputs, in loops of this order; of one output channel where ``of`` says which."""
    f, whole = out.of, conv.groups == 1
    of_group, (_, depth, kh, kw) = conv.channels // conv.groups, conv.weight.shape
    first = 0
    for source in inputs:
        channels = source.place.channels
        extents = {"o": conv.channels, "i": channels if whole else depth, "k": kh}
        with ExitStack() as inside:
            at = {"o": of} if of is not None else {}
            for axis in order:
                if axis not in at:
                    at[axis] = inside.enter_context(f.loop({"k": "ky"}.get(axis, axis), extents[axis]))
            o, i, ky = at["o"], at["i"], at["k"]
            # ``i`` counts the channels of this input where all are read, the weight's own where groups are.
            member = i + first if whole else i
            channel = i if whole else o // of_group * depth + i - first
            if not whole and len(inputs) > 1:
                inside.enter_context(f.when(tirx.And(channel >= 0, channel < channels)))
            above = f.row + ky - kh // 2
            inside.enter_context(f.when(tirx.And(above >= 0, above < f.height)))
            kx = inside.enter_context(f.loop("kx", kw))
            tap = f.bind("tap", f.load(weight, o, member, ky, kx))
            # A pixel x reads x + aside: both must be inside.
            aside = kx - kw // 2
            start = tirx.max(f.integer(0), 0 - aside)
            extent = tirx.max(tirx.min(f.width, f.width - aside) - start, f.integer(0))
            with f.when(tap != f.real(0)), f.loop("x", extent, start=start) as x:
                product = source.load(channel, above, x + aside) * tap
                out.store(out.load(o, f.row, x) + product, o, f.row, x)
        first += channels


def store_function(place: RowPlace, shuffle: int, shape: Shape, name: str) -> tirx.PrimFunc:
    """Make the function that writes a row of a result to memory, each pixel at the address that its pixel shuffle says.

    Its pointers are a tensor (N, C / r^2, H * r, W * r), float32, and the rows of the value.

    Args:
        place: Where the rows of the value lie.
        shuffle: r, the factor of the pixel shuffle; 1 for none.
        shape: N, H and W of the region; None for what is known only at run time.
        name: That others call the function by.

    Returns:
        A private function.
    """
    f, r, channels = RowFunction(shape), shuffle, place.channels // shuffle**2
    out = f.array("out", (f.batch, channels, f.height * r, f.width * r))
    value = f.rows("value", place)
    with f.loop("c", channels) as c, f.loop("dy", r) as dy, f.loop("dx", r) as dx, f.loop("x", f.width) as x:
        pixel = value.load((c * r + dy) * r + dx, f.row, x)
        f.store(out, pixel, f.image, c, f.row * r + dy, x * r + dx)
    return f.private(name)
