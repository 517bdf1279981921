"""For each operator of a normalised graph, which pixels of its inputs an output pixel is computed from."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx

from sr_tvm.errors import SrTvmError
from sr_tvm.frontend.graph import OnnxGraph, attributes, describe
from sr_tvm.frontend.reach import Axis, union
from sr_tvm.frontend.resize_weights import Mode, nearest_indices, positions, weights

Reaches = dict[str, tuple[Axis, Axis]]
Rule = Callable[[onnx.NodeProto, OnnxGraph, Reaches, int], Axis]  # the last is the axis: 2 rows, 3 columns
_MIDDLE = 16  # an input pixel far enough from the borders for any kernel of a resize


def rule_for(node: onnx.NodeProto) -> Rule:
    """The rule of a node's operator.

    Raises:
        SrTvmError: it sees the whole picture, or moves pixels about.
    """
    rule = RULES.get(node.op_type)
    if rule is None:
        raise _refuse(node, "sees the whole picture")
    return rule


def _refuse(node: onnx.NodeProto, why: str) -> SrTvmError:
    return SrTvmError(f"{describe(node)} {why}: this network cannot work in tiles")


def _data(node: onnx.NodeProto, reaches: Reaches, axis: int) -> Axis:
    return reaches[node.input[0]][axis - 2]


def elementwise(node: onnx.NodeProto, graph: OnnxGraph, reaches: Reaches, axis: int) -> Axis:
    """Same pixel of every input; constants must not vary over the picture."""
    found = []
    for name in filter(None, node.input):
        if name in graph.constants:
            shape = (1, 1, 1, 1, *graph.shape(name))[-4:]
            if shape[2] != 1 or shape[3] != 1:
                raise _refuse(node, "uses a constant that varies over the picture")
        else:
            found.append(reaches[name][axis - 2])
    if len({a.scale for a in found}) != 1 or len({graph.shape(n)[2:] for n in node.input if n in graph.types}) != 1:
        raise _refuse(node, "joins pictures of different sizes")
    return union(found)


def _window(node: onnx.NodeProto, graph: OnnxGraph, axis: int) -> tuple[int, int, int, int]:
    """(kernel, stride, dilation, pad before) along an axis."""
    attrs, i = attributes(node), axis - 2
    kernel = attrs.get("kernel_shape") or graph.shape(node.input[1])[2:]
    get = [attrs.get(key, [default] * 4)[i] for key, default in (("strides", 1), ("dilations", 1), ("pads", 0))]
    return kernel[i], get[0], get[1], get[2]


def convolution(node: onnx.NodeProto, graph: OnnxGraph, reaches: Reaches, axis: int) -> Axis:
    """Conv and pools."""
    _needs_constant_weights(node, graph)
    if attributes(node).get("ceil_mode", 0):
        raise _refuse(node, "rounds its output size up")
    kernel, stride, dilation, pad = _window(node, graph, axis)
    data = _data(node, reaches, axis)
    if data.scale % stride:
        raise _refuse(node, "works at less than the input's resolution")
    return data.gather(data.scale // stride, lambda i: [i * stride - pad + j * dilation for j in range(kernel)])


def transposed(node: onnx.NodeProto, graph: OnnxGraph, reaches: Reaches, axis: int) -> Axis:
    """ConvTranspose: input pixel p adds to output pixels p x stride - pad + j x dilation."""
    _needs_constant_weights(node, graph)
    kernel, stride, dilation, pad = _window(node, graph, axis)
    data = _data(node, reaches, axis)

    def sources(i: int) -> list[int]:
        reached = (i + pad - j * dilation for j in range(kernel))
        return [at // stride for at in reached if at % stride == 0]

    return data.gather(data.scale * stride, sources)


def _needs_constant_weights(node: onnx.NodeProto, graph: OnnxGraph) -> None:
    if any(name not in graph.constants for name in node.input[1:] if name):
        raise _refuse(node, "has weights computed from the picture")


def depth_to_space(node: onnx.NodeProto, graph: OnnxGraph, reaches: Reaches, axis: int) -> Axis:
    block = attributes(node)["blocksize"]
    data = _data(node, reaches, axis)
    return data.gather(data.scale * block, lambda i: [i // block])


def space_to_depth(node: onnx.NodeProto, graph: OnnxGraph, reaches: Reaches, axis: int) -> Axis:
    block = attributes(node)["blocksize"]
    data = _data(node, reaches, axis)
    if data.scale % block:
        raise _refuse(node, "works at less than the input's resolution")
    return data.gather(data.scale // block, lambda i: range(i * block, (i + 1) * block))


def resize(node: onnx.NodeProto, graph: OnnxGraph, reaches: Reaches, axis: int) -> Axis:
    """By a whole factor, with coordinates that do not depend on the size."""
    attrs, shape = attributes(node), graph.shape(node.input[0])
    sizes = graph.constants[node.input[3]]
    coordinates = attrs["coordinate_transformation_mode"]
    data, factor = _data(node, reaches, axis), int(sizes[axis]) // shape[axis]
    if sizes[axis] == shape[axis]:
        return data
    if sizes[axis] % shape[axis] or coordinates == "align_corners":
        raise _refuse(node, "resizes by a factor that depends on the size, or by a fraction")
    size = 2 * _MIDDLE
    if attrs["mode"] == "nearest":
        x = positions(coordinates, size, size * factor, factor)
        taken = nearest_indices(x, size, attrs["nearest_mode"], False)
        return data.gather(data.scale * factor, _from_middle(lambda i: [int(taken[i])], factor))
    mode = Mode(attrs["mode"], coordinates, cubic_a=attrs["cubic_coeff_a"])
    matrix = weights(mode, size, size * factor, factor)
    return data.gather(data.scale * factor, _from_middle(lambda i: np.flatnonzero(matrix[i]).tolist(), factor))


def _from_middle(sources: Callable[[int], list[int]], factor: int) -> Callable[[int], list[int]]:
    def shifted(i: int) -> list[int]:
        block, phase = divmod(i, factor)
        return [p - _MIDDLE + block for p in sources(_MIDDLE * factor + phase)]

    return shifted


def pad(node: onnx.NodeProto, graph: OnnxGraph, reaches: Reaches, axis: int) -> Axis:
    if attributes(node)["mode"] == "wrap":
        raise _refuse(node, "wraps around the borders")
    before = int(graph.constants[node.input[1]][axis])
    data = _data(node, reaches, axis)
    return data.gather(data.scale, lambda i: [i - before])


def crop(node: onnx.NodeProto, graph: OnnxGraph, reaches: Reaches, axis: int) -> Axis:
    """Slice of channels, or of rows and columns without steps."""
    starts, _, axes, steps = (graph.constants[n].tolist() for n in node.input[1:5])
    data = _data(node, reaches, axis)
    if axis not in axes:
        return data
    start, step = next((s, t) for s, a, t in zip(starts, axes, steps, strict=True) if a == axis)
    if step != 1:
        raise _refuse(node, "takes every other pixel, or mirrors the picture")
    return data.gather(data.scale, lambda i: [i + start])


def channels_only(node: onnx.NodeProto, graph: OnnxGraph, reaches: Reaches, axis: int) -> Axis:
    """Concat, Split, Gather, Softmax and reductions, over channels."""
    if node.op_type.startswith("Reduce"):
        over = [a % 4 for a in graph.constants[node.input[1]].tolist()]
        fine = over == [1] and attributes(node).get("keepdims", 1)
    else:
        default = {"Softmax": -1}.get(node.op_type, 0)
        fine = (
            attributes(node).get("axis", default) % 4 == 1
            and graph.shape(node.output[0])[2:] == graph.shape(next(n for n in node.input if n in graph.types))[2:]
        )
    if not fine or len(graph.shape(node.output[0])) != 4:
        raise _refuse(node, "joins or reduces pixels, not channels")
    if node.op_type == "Concat":
        if any(n in graph.constants for n in node.input):
            raise _refuse(node, "joins the picture with a constant")
        return elementwise(node, graph, reaches, axis)
    return _data(node, reaches, axis)


_ELEMENTWISE = """Abs Add BatchNormalization Ceil Clip Div Elu Erf Exp Floor Gelu HardSigmoid HardSwish LeakyRelu Log
    Max Min Mish Mul Neg PRelu Pow Reciprocal Relu Sigmoid Sign Softplus Sqrt Sub Tanh"""
RULES: dict[str, Rule] = {
    **dict.fromkeys(_ELEMENTWISE.split(), elementwise),
    **dict.fromkeys(("Conv", "MaxPool", "AveragePool"), convolution),
    **dict.fromkeys(("Concat", "Split", "Gather", "Softmax"), channels_only),
    **dict.fromkeys(("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin"), channels_only),
    "ConvTranspose": transposed,
    "DepthToSpace": depth_to_space,
    "SpaceToDepth": space_to_depth,
    "Resize": resize,
    "Pad": pad,
    "Slice": crop,
}
