"""Whether a graph that was normalised at one size is the same at every other, by its operators alone."""

from __future__ import annotations

import math
from collections.abc import Iterable

import onnx

from sr_tvm.frontend.graph import OnnxGraph, attributes
from sr_tvm.frontend.input_shapes import Shapes
from sr_tvm.frontend.tensors import MAX_ELEMENTS

# What normalize.py does to these depends on no height or width, and they fit any; `_keeps` has the conditions.
_WEIGHTED = frozenset(("Conv", "ConvTranspose"))
_POINTWISE_NAMES = """Abs Add Clip Div Elu Erf Exp Gelu HardSigmoid HardSwish LeakyRelu Mish Mul Neg PRelu Relu
    Sigmoid Softplus Sqrt Sub Tanh"""
_POINTWISE = frozenset(_POINTWISE_NAMES.split())
_ALIKE = _WEIGHTED | _POINTWISE | {"Concat", "DepthToSpace", "Identity"}


def same_at_every_size(model: onnx.ModelProto, graph: OnnxGraph, sizes: Iterable[Shapes]) -> bool:
    """Tell whether a model is known to be normalised to the same nodes and constants at other sizes of its input.

    Args:
        model: Checked, of float32.
        graph: ``model`` normalised at one size.
        sizes: Shapes of the input, by its name, of the other sizes.

    Returns:
        True where its operators alone show it. False says nothing: it has to be normalised at the others and compared.
    """
    if not _reads_no_size(model) or len(graph.inputs) != 1:
        return False
    (given,) = graph.inputs.values()
    if len(given) != 4 or any(isinstance(n, str) or n < 2 for n in given[2:]):
        return False  # at one row or column what does not fit may be broadcast
    return all(_keeps(graph, node) for node in graph.nodes) and all(_fits(graph, shapes) for shapes in sizes)


def _reads_no_size(model: onnx.ModelProto) -> bool:
    """Return whether every operator on pixels is one of ours, and makes what an output needs, so is in the graph."""
    constants = {t.name for t in model.graph.initializer}
    pixels = []
    for node in model.graph.node:
        if node.op_type == "Constant" or (node.input and all(n in constants for n in node.input if n)):
            constants.update(node.output)
        elif node.op_type in _ALIKE and not any(_looks_at_size(a) for a in node.attribute):
            pixels.append(node)
        else:
            return False
    needed = {value.name for value in model.graph.output}
    for node in reversed(pixels):
        if not needed.intersection(node.output):
            return False
        needed.update(node.input)
    return True


def _looks_at_size(attribute: onnx.AttributeProto) -> bool:
    return attribute.name == "output_shape" or (attribute.name == "auto_pad" and attribute.s != b"NOTSET")


def _keeps(graph: OnnxGraph, node: onnx.NodeProto) -> bool:
    """Return whether a node makes pictures of its input's size, or a whole multiple, whatever that is."""
    data = [n for n in node.input if n and n not in graph.constants]
    constants = [graph.constants[n].shape for n in node.input if n in graph.constants]
    if any(len(graph.shape(n)) != 4 for n in (*data, *node.output)) or len({graph.shape(n)[2:] for n in data}) != 1:
        return False
    attrs, (tall, wide) = attributes(node), graph.shape(data[0])[2:]
    factors = [1, 1]
    if node.op_type in _WEIGHTED:
        if data != [node.input[0]]:
            return False
        strides = attrs.get("strides", factors)
        if node.op_type == "Conv" and any(n != 1 for n in strides):
            return False
        factors = strides
    elif node.op_type == "DepthToSpace":
        factors = [attrs["blocksize"]] * 2
    elif node.op_type == "Concat":
        if constants or attrs["axis"] not in (1, -3):
            return False
    elif node.op_type not in _POINTWISE or not all(map(_by_channel, constants)):
        return False
    return all(graph.shape(n)[2:] == (tall * factors[0], wide * factors[1]) for n in node.output)


def _by_channel(constant: tuple[int, ...]) -> bool:
    """Return whether a constant of that shape is one number, or one for each channel."""
    return math.prod(constant) == 1 or (len(constant) in (3, 4) and constant[-3] == math.prod(constant))


def _fits(graph: OnnxGraph, shapes: Shapes) -> bool:
    """Return whether no tensor has more elements at the input ``shapes`` than are supported."""
    ((name, (batch, _, height, width)),) = shapes.items()
    small = math.prod((graph.shape(name)[0], *graph.shape(name)[2:]))
    most = max(math.prod(graph.shape(n)) for n in graph.types)
    return most // small * batch * height * width <= MAX_ELEMENTS
