"""Operators that only move data, in one form: Reshape with fixed dimensions, Slice and Split with constant inputs."""

from __future__ import annotations

import numpy as np
import onnx

from sr_tvm.errors import SrTvmError
from sr_tvm.frontend.graph import OnnxGraph, attributes, describe, input_name, make_node

Nodes = list[onnx.NodeProto] | None


def to_reshape(node: onnx.NodeProto, graph: OnnxGraph, opset: int) -> Nodes:
    """Rewrite Flatten, Squeeze, Unsqueeze and Reshape as a Reshape to the inferred, fixed shape.

    Args:
        node: Of one of the four operators.
        graph: It gains the constants that the new nodes read.
        opset: Version of the operator set that the node is of.

    Returns:
        Nodes to put in place; None where the node has that form already.

    Raises:
        SrTvmError: The result is an empty tensor, or the shape is not constant.
    """
    if node.op_type == "Reshape":
        target = graph.value(node, 1)
        assert target is not None
        if (target > 0).all():
            return None
    elif node.op_type in ("Squeeze", "Unsqueeze"):
        graph.value(node, 1)
    dims = next(iter(graph.infer(node, opset).values())).tensor_type.shape.dim
    shape = np.array([d.dim_value for d in dims], np.int64)
    if not shape.all():
        raise SrTvmError(f"{describe(node)} makes an empty tensor of shape {shape.tolist()}")
    return [make_node(node, "Reshape", [node.input[0], graph.constant(shape, "shape")], node.output)]


def slice_(node: onnx.NodeProto, graph: OnnxGraph, opset: int) -> Nodes:
    """Rewrite Slice with explicit, in-range starts, ends, axes and steps as constant inputs.

    Before opset 10 they were attributes. A Slice of everything is an Identity.

    Args:
        node: Slice.
        graph: It gains the constants that the new nodes read.
        opset: Version of the operator set that the node is of.

    Returns:
        Nodes to put in place; None where the node has that form already.

    Raises:
        SrTvmError: A step is 0, the result is an empty tensor, or the span is not constant.
    """
    shape, attrs = graph.shape(node.input[0]), attributes(node)
    if opset < 10:
        starts, ends, axes, steps = attrs["starts"], attrs["ends"], attrs.get("axes"), None
    else:
        starts, ends, axes, steps = (graph.value(node, i) for i in (1, 2, 3, 4))
    axes = np.arange(len(starts)) if axes is None else np.asarray(axes)
    steps = np.ones(len(starts), np.int64) if steps is None else np.asarray(steps)
    if not steps.all():
        raise SrTvmError(f"{describe(node)} has a step of 0")
    axes = axes % max(len(shape), 1)
    # Python's own clamping is ONNX's: slice(...).indices.
    spans = [
        slice(int(b), int(e), int(s)).indices(shape[a]) for b, e, a, s in zip(starts, ends, axes, steps, strict=True)
    ]
    if any(not len(range(*span)) for span in spans):
        raise SrTvmError(f"{describe(node)} makes an empty tensor")
    if all(span == (0, shape[a], 1) for span, a in zip(spans, axes, strict=True)):
        return [make_node(node, "Identity", node.input[:1], node.output)]
    # An end before the first element (of a backward slice) is said by a large negative number.
    fixed = [np.array(column, np.int64) for column in zip(*spans, strict=True)]
    fixed[1] = np.where(fixed[1] < 0, -(2**31), fixed[1])
    want = [fixed[0], fixed[1], axes.astype(np.int64), fixed[2]]
    if (
        opset >= 10
        and len(node.input) == 5
        and all(np.array_equal(np.asarray(graph.value(node, i + 1)), w) for i, w in enumerate(want))
    ):
        return None
    names = [graph.constant(w, hint) for w, hint in zip(want, ("starts", "ends", "axes", "steps"), strict=True)]
    return [make_node(node, "Slice", [node.input[0], *names], node.output)]


def split(node: onnx.NodeProto, graph: OnnxGraph, opset: int) -> Nodes:
    """Rewrite Split with its sizes as a constant input; a part that is the whole is an Identity.

    Args:
        node: Split.
        graph: It gains the constants that the new nodes read.
        opset: Version of the operator set that the node is of.

    Returns:
        Nodes to put in place; None where the node has that form already.

    Raises:
        SrTvmError: The sizes do not come to the size of the axis, one of them is below 1, or they are not constant.
    """
    attrs = attributes(node)
    if len(node.output) == 1:
        return [make_node(node, "Identity", node.input[:1], node.output)]
    if opset >= 13 and input_name(node, 1):
        graph.value(node, 1)
        return None
    axis = attrs.get("axis", 0) % len(graph.shape(node.input[0]))
    size, parts = graph.shape(node.input[0])[axis], len(node.output)
    each = -(-size // parts)  # num_outputs (opset 18): the last part may be smaller
    sizes = attrs.get("split") or [min(each, size - i * each) for i in range(parts)]
    if sum(sizes) != size or min(sizes) < 1:
        raise SrTvmError(f"{describe(node)} cuts {size} into {list(sizes)}")
    name = graph.constant(np.array(sizes, np.int64), "split")
    return [make_node(node, "Split", [node.input[0], name], node.output, axis=axis)]


def reduce(node: onnx.NodeProto, graph: OnnxGraph, opset: int) -> Nodes:
    """Rewrite a reduction with explicit axes as a constant input.

    They were attributes before opset 13 (ReduceSum) or 18.

    Args:
        node: ReduceMean, ReduceSum, ReduceMax or ReduceMin.
        graph: It gains the constants that the new nodes read.
        opset: Version of the operator set that the node is of.

    Returns:
        Nodes to put in place; None where the node has that form already.

    Raises:
        SrTvmError: The axes are an input that is not constant.
    """
    attrs = attributes(node)
    axes = attrs.get("axes")
    if axes is None:
        given = graph.value(node, 1)
        axes = [] if given is None else given.tolist()
        if given is not None and len(axes) and "noop_with_empty_axes" not in attrs:
            return None
    if not len(axes):
        if attrs.get("noop_with_empty_axes", 0):
            return [make_node(node, "Identity", node.input[:1], node.output)]
        axes = list(range(len(graph.shape(node.input[0]))))
    name = graph.constant(np.array(axes, np.int64), "axes")
    return [make_node(node, node.op_type, [node.input[0], name], node.output, keepdims=attrs.get("keepdims", 1))]


def gather(node: onnx.NodeProto, graph: OnnxGraph, opset: int) -> Nodes:
    """Rewrite Gather from pixels by constant indices so that none of them is negative.

    Args:
        node: Gather.
        graph: It gains the constants that the new nodes read.
        opset: Version of the operator set that the node is of; all versions are treated alike.

    Returns:
        Nodes to put in place; None where the node has that form already.

    Raises:
        SrTvmError: An index is out of range, or not constant.
    """
    index = graph.value(node, 1)
    assert index is not None
    axis = attributes(node).get("axis", 0) % max(len(graph.shape(node.input[0])), 1)
    size = graph.shape(node.input[0])[axis]
    if index.size and not -size <= index.min() <= index.max() < size:
        raise SrTvmError(f"{describe(node)} takes element {index.min()} or {index.max()} of {size}")
    if (index >= 0).all():
        return None
    name = graph.constant(index % size, "index")
    return [make_node(node, "Gather", [node.input[0], name], node.output, axis=axis)]


REWRITES = {
    "Gather": gather,
    **dict.fromkeys(("Flatten", "Squeeze", "Unsqueeze", "Reshape"), to_reshape),
    **dict.fromkeys(("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin"), reduce),
    "Slice": slice_,
    "Split": split,
}
