"""One graph for pictures of every size: found by fixing the sizes several times and comparing what comes out.

With its sizes fixed, a graph has no shape arithmetic left (``normalize.py``). If nothing in it depends on the sizes
then, it is the graph for all of them. Only the sizes of a Resize may differ, where they are the same whole multiple.
Once is enough where all operators are such that they cannot (``every_size.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import onnx

from sr_tvm.errors import SrTvmError
from sr_tvm.frontend.every_size import same_at_every_size
from sr_tvm.frontend.graph import OnnxGraph, attributes, describe, input_name, make_node
from sr_tvm.frontend.input_shapes import OpenShapes, Shapes, fix_it
from sr_tvm.frontend.normalize import normalize

# Batch, height and width to compare at: the least, even and odd, tall and wide, large.
PROBES = ((1, 24, 20), (2, 1, 1), (3, 29, 33), (1, 1021, 766))


def normalize_any_size(
    model: onnx.ModelProto, shapes: OpenShapes, at: Callable[[Shapes], OnnxGraph] | None = None
) -> OnnxGraph:
    """Normalise a model for pictures of any size: one graph that holds for all of them.

    Every dimension of an output is then a number, or a whole multiple of a named one.

    Args:
        model: Checked, of float32.
        shapes: Of every input; a dimension that is a name may have any size, the others are fixed.
        at: Gives ``model`` normalised at fixed shapes, to which nothing is done; None to normalise it here.

    Returns:
        The graph, its ``inputs`` being ``shapes``.

    Raises:
        SrTvmError: The graph is not supported, or depends on the sizes; the message names the node, and the option
            that fixes the sizes.
    """
    at = at or partial(normalize, model)
    probes = [_at(shapes, probe) for probe in PROBES]
    try:
        graph = at(probes[0])
        if same_at_every_size(model, graph, probes):
            return replace(graph, inputs=dict(shapes))
        factors = {n.output[0]: _factors(graph, n) for n in graph.nodes if n.op_type == "Resize"}
        found = [_outputs(graph)]
        for probe in probes[1:]:
            other = at(probe)
            _require_same(graph, other, factors)
            found.append(_outputs(other))
        _require_multiples(probes, found)
    except SrTvmError as error:
        open_shape = next(s for s in shapes.values() if any(isinstance(d, str) for d in s))
        raise SrTvmError(f"{error}; the model is not for any size: {fix_it(open_shape)}") from error
    graph = replace(graph, inputs=dict(shapes), constants=dict(graph.constants), taken=set(graph.taken))
    graph.nodes = [_by_scales(graph, n, factors[n.output[0]]) if n.op_type == "Resize" else n for n in graph.nodes]
    return graph


def _at(shapes: OpenShapes, probe: tuple[int, int, int]) -> Shapes:
    """Return the shapes at a probe: names replaced by its sizes, by where they first stand in a picture.

    Raises:
        SrTvmError: A name stands where a picture has no batch, height or width.
    """
    batch, height, width = probe
    sizes: dict[str, int] = {}
    for name, shape in shapes.items():
        places = {0: batch, 2: height, 3: width} if len(shape) == 4 else {}
        for axis, dim in enumerate(shape):
            if isinstance(dim, str) and dim not in sizes:
                if axis not in places:
                    raise SrTvmError(f"input {name!r}: dimension {dim!r} (axis {axis}) must be fixed; {fix_it(shape)}")
                sizes[dim] = places[axis]
    return {name: tuple(sizes[d] if isinstance(d, str) else d for d in shape) for name, shape in shapes.items()}


def _require_same(graph: OnnxGraph, other: OnnxGraph, factors: dict[str, tuple[int, ...]]) -> None:
    for ours, theirs in zip(graph.nodes, other.nodes, strict=False):
        if ours.op_type == "Resize" and theirs.op_type == "Resize":
            same = factors[ours.output[0]] == _factors(other, theirs)
            constants = [n for n in ours.input[1:3] if n]
        else:
            same, constants = True, [n for n in ours.input if n in graph.constants]
        same = same and ours.SerializeToString() == theirs.SerializeToString()
        if not same or not all(_equal(graph.constants[n], other.constants[n]) for n in constants):
            raise SrTvmError(f"{describe(ours)} depends on the size of the picture")
        if ours.op_type == "Pad" and attributes(ours).get("mode") in ("reflect", "wrap"):
            raise SrTvmError(f"{describe(ours)} needs a picture larger than its padding")
    if len(graph.nodes) != len(other.nodes) or graph.outputs != other.outputs:
        raise SrTvmError("the graph has other nodes at another size of the picture")


def _equal(a: np.ndarray, b: np.ndarray) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def _factors(graph: OnnxGraph, node: onnx.NodeProto) -> tuple[int, ...]:
    """Return by which whole numbers a Resize in the form of ``rewrite_resize`` enlarges each axis.

    Raises:
        SrTvmError: It resizes by a fraction.
    """
    shape, sizes = graph.shape(node.input[0]), graph.constants[input_name(node, 3)].tolist()
    if any(size % n for size, n in zip(sizes, shape, strict=True)):
        raise SrTvmError(f"{describe(node)} resizes by a fraction")
    return tuple(size // n for size, n in zip(sizes, shape, strict=True))


def _by_scales(graph: OnnxGraph, node: onnx.NodeProto, factors: tuple[int, ...]) -> onnx.NodeProto:
    scales = graph.constant(np.array(factors, np.float32), "scales")
    return make_node(node, "Resize", [node.input[0], "", scales], node.output, **attributes(node))


def _outputs(graph: OnnxGraph) -> list[tuple[int, ...]]:
    return [graph.shape(name) for name in graph.outputs]


def _require_multiples(probes: list[Shapes], found: list[list[tuple[int, ...]]]) -> None:
    """Insist that each dimension of an output is the same at all probes, or the same multiple of one of the inputs'.

    Raises:
        SrTvmError: One is not.
    """
    columns = {column for name in probes[0] for column in zip(*(p[name] for p in probes), strict=True)}
    for shapes in zip(*found, strict=True):
        for sizes in zip(*shapes, strict=True):
            multiples = (all(s == sizes[0] // c[0] * n for s, n in zip(sizes, c, strict=True)) for c in columns)
            if len(set(sizes)) > 1 and not any(multiples):
                raise SrTvmError(f"an output of {sizes[0]} pixels is no whole multiple of the input's {probes[0]}")
