"""Activations in one form: Clip with inputs, PRelu with a slope per channel, two-input Min and Max."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx

from sr_tvm.frontend.graph import OnnxGraph, attributes, make_node

Nodes = list[onnx.NodeProto] | None


def clip(node: onnx.NodeProto, graph: OnnxGraph, opset: int) -> Nodes:
    """Rewrite Clip so that its bounds are inputs; before opset 11 they were attributes.

    A bound at the extreme floats, the old default, is dropped.

    Args:
        node: Clip.
        graph: It gains the constants that the new nodes read.
        opset: Version of the operator set that the node is of.

    Returns:
        Nodes to put in place; None where the node has that form already.
    """
    if opset >= 11:
        return None
    attrs = attributes(node)
    bounds = []
    for key in ("min", "max"):
        value = attrs.get(key)
        # The old defaults are the extreme floats, that is, no bound.
        absent = value is None or abs(value) >= np.finfo(np.float32).max
        bounds.append("" if absent else graph.constant(np.array(value, np.float32), key))
    return [make_node(node, "Clip", [node.input[0], *bounds], node.output)]


def prelu(node: onnx.NodeProto, graph: OnnxGraph, opset: int) -> Nodes:
    """Rewrite PRelu of a constant slope of one element as LeakyRelu.

    Args:
        node: PRelu.
        graph: It gains the constants that the new nodes read.
        opset: Version of the operator set that the node is of; all versions are treated alike.

    Returns:
        Nodes to put in place; None for other slopes.
    """
    slope = graph.constants.get(node.input[1])
    if slope is None or slope.size != 1 or node.input[0] in graph.constants:
        return None
    if slope.ndim > len(graph.shape(node.input[0])):
        return None
    return [make_node(node, "LeakyRelu", [node.input[0]], node.output, alpha=float(slope.reshape(())))]


def pairwise(op_type: str) -> Callable[[onnx.NodeProto, OnnxGraph, int], Nodes]:
    """Make the rewrite of an operator of many inputs to a chain of two-input operators.

    Args:
        op_type: Sum, Max or Min; of Sum the chain is of Add.

    Returns:
        A rewrite as the others of this file. One input alone becomes an Identity.
    """
    pair = {"Sum": "Add"}.get(op_type, op_type)

    def rewrite(node: onnx.NodeProto, graph: OnnxGraph, opset: int) -> Nodes:
        names = list(node.input)
        if len(names) == 1:
            return [make_node(node, "Identity", names, node.output)]
        if len(names) == 2 and pair == op_type:
            return None
        result, nodes = names[0], []
        for i, name in enumerate(names[1:]):
            out = node.output[0] if i == len(names) - 2 else graph.fresh(node.output[0])
            nodes.append(make_node(node, pair, [result, name], [out]))
            result = out
        return nodes

    return rewrite


def softmax(node: onnx.NodeProto, graph: OnnxGraph, opset: int) -> Nodes:
    """Rewrite Softmax to the form of opset 13.

    Before that the axes from ``axis`` on (default 1) were flattened into one.

    Args:
        node: Softmax.
        graph: It gains the constants that the new nodes read.
        opset: Version of the operator set that the node is of.

    Returns:
        Nodes to put in place; None from opset 13 on.
    """
    if opset >= 13:
        return None
    shape = graph.shape(node.input[0])
    axis = attributes(node).get("axis", 1) % max(len(shape), 1)
    flat, done = graph.fresh(node.output[0]), graph.fresh(node.output[0])
    rows = int(np.prod(shape[:axis], dtype=np.int64))
    to_flat = graph.constant(np.array([rows, -1], np.int64), "shape")
    back = graph.constant(np.array(shape, np.int64), "shape")
    return [
        make_node(node, "Reshape", [node.input[0], to_flat], [flat]),
        make_node(node, "Softmax", [flat], [done], axis=1),
        make_node(node, "Reshape", [done, back], node.output),
    ]


REWRITES = {
    "Clip": clip,
    "PRelu": prelu,
    "Sum": pairwise("Sum"),
    "Max": pairwise("Max"),
    "Min": pairwise("Min"),
    "Softmax": softmax,
}
