"""How far a fully convolutional network looks: the halo that makes tiles come out as the whole picture does.

From the input on, each operator's rule gives the pixels that it reads, along each axis, as an interval for each phase
of the output grid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np
import onnx

from sr_tvm.errors import SrTvmError
from sr_tvm.frontend.every_size import same_at_every_size
from sr_tvm.frontend.graph import OnnxGraph, attributes, describe
from sr_tvm.frontend.input_shapes import Shapes, resolve_inputs
from sr_tvm.frontend.normalize import normalize
from sr_tvm.frontend.resize_weights import Mode, nearest_indices, positions, weights

_PROBES = ((24, 20), (29, 33))
_MIDDLE = 16  # an input pixel far enough from the borders for any kernel of a resize


@dataclass(frozen=True)
class Field:
    """What a network's output pixels depend on, where it can work in tiles.

    Output pixel (y, x) depends on input pixels within ``halo`` of (y // scale, x // scale), in rows and columns. A tile
    that keeps ``halo`` extra pixels on each side that is not a border of the picture gives the same output.

    Attributes:
        halo: In input pixels.
        scale: Output pixels for each input pixel, along rows and columns alike.
    """

    halo: int
    scale: int


def receptive_field(model: onnx.ModelProto, at: Callable[[Shapes], OnnxGraph] | None = None) -> Field:
    """Find the receptive field of a network with one picture in and one out, from its graph alone.

    Args:
        model: Checked, of float32.
        at: Gives ``model`` normalised at fixed shapes; None to normalise it here.

    Returns:
        The halo that tiles need, and the scale.

    Raises:
        SrTvmError: The network cannot be tiled: an operator sees the whole picture (Gemm, global pooling,
            align_corners) or works below the input's resolution, or the output is no whole multiple of the input.
    """
    at = at or partial(normalize, model)
    shapes = _probe_shapes(model)
    graph = at(shapes[0])
    field = _analyse(graph)
    others = () if same_at_every_size(model, graph, shapes) else shapes[1:]
    if any(_analyse(at(shape)) != field for shape in others):
        raise SrTvmError("the network changes with the size of its input: it cannot work in tiles")
    return field


def _probe_shapes(model: onnx.ModelProto) -> list[Shapes]:
    weights = {t.name for t in model.graph.initializer}
    inputs = [v for v in model.graph.input if v.name not in weights]
    if len(inputs) != 1 or len(model.graph.output) != 1:
        raise SrTvmError(f"{len(inputs)} inputs and {len(model.graph.output)} outputs: tiling needs one of each")
    dims = [d.dim_value if d.HasField("dim_value") else 0 for d in inputs[0].type.tensor_type.shape.dim]
    if len(dims) != 4 or not dims[1]:
        raise SrTvmError(f"input {inputs[0].name!r} is not a picture of shape NxCxHxW with C fixed")
    name = inputs[0].name
    found = []
    for height, width in _PROBES:
        shape = (dims[0] or 1, dims[1], dims[2] or height, dims[3] or width)
        if (resolved := resolve_inputs(model, {name: shape})) not in found:
            found.append(resolved)
    return found


def _analyse(graph: OnnxGraph) -> Field:
    (name,), (output,) = graph.inputs, graph.outputs
    reaches: dict[str, tuple[Axis, Axis]] = {name: (Axis.of_input(), Axis.of_input())}
    for node in graph.nodes:
        rule = rule_for(node)
        reaches[node.output[0]] = (rule(node, graph, reaches, 2), rule(node, graph, reaches, 3))
        # Split: every part looks as far as the whole.
        reaches |= {other: reaches[node.output[0]] for other in node.output[1:] if other}
    rows, columns = reaches[output]
    given, made = graph.shape(name), graph.shape(output)
    scale = rows.scale
    if len(made) != 4 or columns.scale != scale or made[2:] != (given[2] * scale, given[3] * scale):
        last = describe(graph.nodes[-1])
        raise SrTvmError(f"{last} makes {made[2:]} pixels of {given[2:]}: tiles need one whole factor")
    return Field(max(rows.halo, columns.halo), scale)


@dataclass(frozen=True)
class Axis:
    """The input pixels that each pixel of a tensor depends on, along one axis.

    Pixel i of a tensor of :attr:`scale` depends on the input pixels from ``i // scale + low[i % scale]`` to
    ``i // scale + high[i % scale]``. An empty interval has low > high.

    Attributes:
        low: For each phase of the tensor's grid, the first input pixel, relative to the one that the phase lies in.
        high: For each phase, the last one.
    """

    low: tuple[int, ...]
    high: tuple[int, ...]

    @classmethod
    def of_input(cls) -> Axis:
        """Describe the network's input, of which each pixel depends on itself.

        Returns:
            The axis, of scale 1.
        """
        return cls((0,), (0,))

    @property
    def scale(self) -> int:
        """Pixels of the tensor for each pixel of the input."""
        return len(self.low)

    @property
    def halo(self) -> int:
        """The largest distance to an input pixel that is read, to either side, in input pixels."""
        return max(0, *(-a for a, b in zip(self.low, self.high, strict=True) if a <= b), *self.high)

    def at(self, i: int) -> tuple[int, int]:
        """Give the interval of input pixels that one pixel depends on.

        Args:
            i: The pixel of the tensor; it may be outside the picture.

        Returns:
            The first and the last input pixel.
        """
        block, phase = divmod(i, self.scale)
        return block + self.low[phase], block + self.high[phase]

    def gather(self, scale: int, sources: Callable[[int], Iterable[int]]) -> Axis:
        """Describe a tensor whose pixels are computed from pixels of this one.

        Args:
            scale: Of the new tensor.
            sources: From a pixel of the new tensor, the pixels of this one that it is computed from.

        Returns:
            The axis of the new tensor.
        """
        low, high = [], []
        for i in range(scale):
            spans = [(a, b) for a, b in map(self.at, sources(i)) if a <= b]
            low.append(min((a for a, _ in spans), default=1))
            high.append(max((b for _, b in spans), default=0))
        return Axis(tuple(low), tuple(high))


def union(axes: list[Axis]) -> Axis:
    """Describe a tensor each pixel of which is computed from the same pixel of several tensors.

    Args:
        axes: Of those tensors, one or more, all of one scale.

    Returns:
        The axis of the new tensor.
    """
    low, high = [], []
    for i in range(axes[0].scale):
        spans = [s for s in (a.at(i) for a in axes) if s[0] <= s[1]]
        low.append(min((a for a, _ in spans), default=1))
        high.append(max((b for _, b in spans), default=0))
    return Axis(tuple(low), tuple(high))


Reaches = dict[str, tuple[Axis, Axis]]
Rule = Callable[[onnx.NodeProto, OnnxGraph, Reaches, int], Axis]  # the last is the axis: 2 rows, 3 columns


def rule_for(node: onnx.NodeProto) -> Rule:
    """Look up the rule of a node's operator.

    Args:
        node: Of a normalised graph.

    Returns:
        The rule: from the node and what its inputs depend on, what its output depends on.

    Raises:
        SrTvmError: The operator sees the whole picture, or moves pixels about.
    """
    rule = RULES.get(node.op_type)
    if rule is None:
        raise SrTvmError(_refusal(node, "sees the whole picture"))
    return rule


def _refusal(node: onnx.NodeProto, why: str) -> str:
    return f"{describe(node)} {why}: this network cannot work in tiles"


def _data(node: onnx.NodeProto, reaches: Reaches, axis: int) -> Axis:
    return reaches[node.input[0]][axis - 2]


def elementwise(node: onnx.NodeProto, graph: OnnxGraph, reaches: Reaches, axis: int) -> Axis:
    """Follow an operator that reads the same pixel of every input.

    Args:
        node: Of an elementwise operator, or a Concat.
        graph: It holds the node's constants and the shapes of its inputs.
        reaches: The rows and columns of every tensor before it, by name.
        axis: 2 for rows, 3 for columns.

    Returns:
        The input pixels that each pixel of the node's first output depends on.

    Raises:
        SrTvmError: A constant varies over the picture, or the inputs are of different sizes.
    """
    found = []
    for name in filter(None, node.input):
        if name in graph.constants:
            shape = (1, 1, 1, 1, *graph.shape(name))[-4:]
            # The numbers of a BatchNormalization are one a channel, whatever their shape.
            if node.op_type != "BatchNormalization" and (shape[2] != 1 or shape[3] != 1):
                raise SrTvmError(_refusal(node, "uses a constant that varies over the picture"))
        else:
            found.append(reaches[name][axis - 2])
    if len({a.scale for a in found}) != 1 or len({graph.shape(n)[2:] for n in node.input if n in graph.types}) != 1:
        raise SrTvmError(_refusal(node, "joins pictures of different sizes"))
    return union(found)


def _window(node: onnx.NodeProto, graph: OnnxGraph, axis: int) -> tuple[int, int, int, int]:
    """Return (kernel, stride, dilation, pad before) along an axis."""
    attrs, i = attributes(node), axis - 2
    kernel = attrs.get("kernel_shape") or graph.shape(node.input[1])[2:]
    get = [attrs.get(key, [default] * 4)[i] for key, default in (("strides", 1), ("dilations", 1), ("pads", 0))]
    return kernel[i], get[0], get[1], get[2]


def convolution(node: onnx.NodeProto, graph: OnnxGraph, reaches: Reaches, axis: int) -> Axis:
    """Follow a convolution or a pool: a window for each output pixel.

    Args:
        node: Conv, MaxPool or AveragePool.
        graph: It holds the node's constants and the shapes of its inputs.
        reaches: The rows and columns of every tensor before it, by name.
        axis: 2 for rows, 3 for columns.

    Returns:
        The input pixels that each pixel of the node's first output depends on.

    Raises:
        SrTvmError: Weights are computed from the picture, the output size is rounded up, or its resolution is below the
            input's.
    """
    _needs_constant_weights(node, graph)
    if attributes(node).get("ceil_mode", 0):
        raise SrTvmError(_refusal(node, "rounds its output size up"))
    kernel, stride, dilation, pad = _window(node, graph, axis)
    data = _data(node, reaches, axis)
    if data.scale % stride:
        raise SrTvmError(_refusal(node, "works at less than the input's resolution"))
    return data.gather(data.scale // stride, lambda i: [i * stride - pad + j * dilation for j in range(kernel)])


def transposed(node: onnx.NodeProto, graph: OnnxGraph, reaches: Reaches, axis: int) -> Axis:
    """Follow a transposed convolution.

    Pixel p of its input adds to output pixels p x stride - pad + j x dilation, for each tap j.

    Args:
        node: ConvTranspose.
        graph: It holds the node's constants and the shapes of its inputs.
        reaches: The rows and columns of every tensor before it, by name.
        axis: 2 for rows, 3 for columns.

    Returns:
        The input pixels that each pixel of the node's first output depends on.

    Raises:
        SrTvmError: Weights are computed from the picture.
    """
    _needs_constant_weights(node, graph)
    kernel, stride, dilation, pad = _window(node, graph, axis)
    data = _data(node, reaches, axis)

    def sources(i: int) -> list[int]:
        reached = (i + pad - j * dilation for j in range(kernel))
        return [at // stride for at in reached if at % stride == 0]

    return data.gather(data.scale * stride, sources)


def _needs_constant_weights(node: onnx.NodeProto, graph: OnnxGraph) -> None:
    if any(name not in graph.constants for name in node.input[1:] if name):
        raise SrTvmError(_refusal(node, "has weights computed from the picture"))


def depth_to_space(node: onnx.NodeProto, graph: OnnxGraph, reaches: Reaches, axis: int) -> Axis:
    """Follow a pixel shuffle: a block of output pixels reads one pixel.

    Args:
        node: DepthToSpace.
        graph: It holds the node's constants and the shapes of its inputs.
        reaches: The rows and columns of every tensor before it, by name.
        axis: 2 for rows, 3 for columns.

    Returns:
        The input pixels that each pixel of the node's first output depends on.
    """
    block = attributes(node)["blocksize"]
    data = _data(node, reaches, axis)
    return data.gather(data.scale * block, lambda i: [i // block])


def space_to_depth(node: onnx.NodeProto, graph: OnnxGraph, reaches: Reaches, axis: int) -> Axis:
    """Follow the inverse of a pixel shuffle: an output pixel reads a block.

    Args:
        node: SpaceToDepth.
        graph: It holds the node's constants and the shapes of its inputs.
        reaches: The rows and columns of every tensor before it, by name.
        axis: 2 for rows, 3 for columns.

    Returns:
        The input pixels that each pixel of the node's first output depends on.

    Raises:
        SrTvmError: The output's resolution is below that of the network's input.
    """
    block = attributes(node)["blocksize"]
    data = _data(node, reaches, axis)
    if data.scale % block:
        raise SrTvmError(_refusal(node, "works at less than the input's resolution"))
    return data.gather(data.scale // block, lambda i: range(i * block, (i + 1) * block))


def resize(node: onnx.NodeProto, graph: OnnxGraph, reaches: Reaches, axis: int) -> Axis:
    """Follow a resize by a whole factor, with coordinates that do not depend on the size.

    Args:
        node: Resize in the form of ``rewrite_resize``.
        graph: It holds the node's constants and the shapes of its inputs.
        reaches: The rows and columns of every tensor before it, by name.
        axis: 2 for rows, 3 for columns.

    Returns:
        The input pixels that each pixel of the node's first output depends on.

    Raises:
        SrTvmError: The factor is a fraction or depends on the size of the picture.
    """
    attrs, shape = attributes(node), graph.shape(node.input[0])
    sizes = graph.constants[node.input[3]]
    coordinates = attrs["coordinate_transformation_mode"]
    data, factor = _data(node, reaches, axis), int(sizes[axis]) // shape[axis]
    if sizes[axis] == shape[axis]:
        return data
    if sizes[axis] % shape[axis] or coordinates == "align_corners":
        raise SrTvmError(_refusal(node, "resizes by a factor that depends on the size, or by a fraction"))
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
    """Follow a padding, which moves the pixels by what is added before them.

    Args:
        node: Pad.
        graph: It holds the node's constants and the shapes of its inputs.
        reaches: The rows and columns of every tensor before it, by name.
        axis: 2 for rows, 3 for columns.

    Returns:
        The input pixels that each pixel of the node's first output depends on.

    Raises:
        SrTvmError: It wraps around the borders.
    """
    if attributes(node)["mode"] == "wrap":
        raise SrTvmError(_refusal(node, "wraps around the borders"))
    before = int(graph.constants[node.input[1]][axis])
    data = _data(node, reaches, axis)
    return data.gather(data.scale, lambda i: [i - before])


def crop(node: onnx.NodeProto, graph: OnnxGraph, reaches: Reaches, axis: int) -> Axis:
    """Follow a slice of channels, or of rows and columns without steps.

    Args:
        node: Slice.
        graph: It holds the node's constants and the shapes of its inputs.
        reaches: The rows and columns of every tensor before it, by name.
        axis: 2 for rows, 3 for columns.

    Returns:
        The input pixels that each pixel of the node's first output depends on.

    Raises:
        SrTvmError: It takes every other pixel, or mirrors the picture.
    """
    starts, _, axes, steps = (graph.constants[n].tolist() for n in node.input[1:5])
    data = _data(node, reaches, axis)
    if axis not in axes:
        return data
    start, step = next((s, t) for s, a, t in zip(starts, axes, steps, strict=True) if a == axis)
    if step != 1:
        raise SrTvmError(_refusal(node, "takes every other pixel, or mirrors the picture"))
    return data.gather(data.scale, lambda i: [i + start])


def channels_only(node: onnx.NodeProto, graph: OnnxGraph, reaches: Reaches, axis: int) -> Axis:
    """Follow an operator that joins, picks or reduces channels and leaves pixels where they are.

    Args:
        node: Concat, Split, Gather, Softmax or a reduction.
        graph: It holds the node's constants and the shapes of its inputs.
        reaches: The rows and columns of every tensor before it, by name.
        axis: 2 for rows, 3 for columns.

    Returns:
        The input pixels that each pixel of the node's first output depends on.

    Raises:
        SrTvmError: It works along rows or columns, or joins the picture with a constant.
    """
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
        raise SrTvmError(_refusal(node, "joins or reduces pixels, not channels"))
    if node.op_type == "Concat":
        if any(n in graph.constants for n in node.input):
            raise SrTvmError(_refusal(node, "joins the picture with a constant"))
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
