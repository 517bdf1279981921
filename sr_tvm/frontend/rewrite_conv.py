"""Convolutions in one form: explicit pads, and the bias as an Add of a constant shaped (1, C, 1, 1)."""

from __future__ import annotations

import onnx

from sr_tvm.frontend.graph import OnnxGraph, attributes, input_name, make_node
from sr_tvm.frontend.rewrite_pad import auto_pad

Nodes = list[onnx.NodeProto] | None


def conv(node: onnx.NodeProto, graph: OnnxGraph, opset: int) -> Nodes:
    """Rewrite Conv with explicit pads first, and then with its bias as an Add.

    Args:
        node: Conv.
        graph: It gains the constants that the new nodes read.
        opset: Version of the operator set that the node is of; all versions are treated alike.

    Returns:
        Nodes to put in place; None where the node has that form already.
    """
    return auto_pad(node, graph, opset) or _bias_apart(node, graph)


def conv_transpose(node: onnx.NodeProto, graph: OnnxGraph, opset: int) -> Nodes:
    """Rewrite ConvTranspose with pads and output padding first, and then with its bias as an Add.

    ``output_shape`` and ``auto_pad`` are what the pads are computed from.

    Args:
        node: ConvTranspose.
        graph: It gains the constants that the new nodes read.
        opset: Version of the operator set that the node is of; all versions are treated alike.

    Returns:
        Nodes to put in place; None where the node has that form already.
    """
    return _explicit(node, graph) or _bias_apart(node, graph)


def _explicit(node: onnx.NodeProto, graph: OnnxGraph) -> Nodes:
    attrs = attributes(node)
    mode, wanted = attrs.pop("auto_pad", "NOTSET"), attrs.pop("output_shape", None)
    if mode == "NOTSET" and wanted is None:
        return None
    size = graph.shape(node.input[0])[2:]
    rank = len(size)
    kernel = attrs.get("kernel_shape") or list(graph.shape(node.input[1])[2:])
    strides, dilations = attrs.get("strides", [1] * rank), attrs.get("dilations", [1] * rank)
    extra = list(attrs.get("output_padding", [0] * rank))
    begins, ends = [0] * rank, [0] * rank
    for i in range(rank if mode != "VALID" or wanted else 0):
        target = list(wanted)[-rank:][i] if wanted else size[i] * strides[i]
        total = strides[i] * (size[i] - 1) + extra[i] + (kernel[i] - 1) * dilations[i] + 1 - target
        if total < 0:  # the target is larger than the kernel reaches: the rest is output padding
            extra[i], total = extra[i] - total, 0
        half = total // 2
        begins[i], ends[i] = (half, total - half) if mode == "SAME_UPPER" else (total - half, half)
    attrs |= {"pads": begins + ends, "output_padding": extra}
    return [make_node(node, "ConvTranspose", node.input, node.output, **attrs)]


def _bias_apart(node: onnx.NodeProto, graph: OnnxGraph) -> Nodes:
    bias = input_name(node, 2)
    if bias not in graph.constants:
        return None
    rank = len(graph.shape(node.input[0]))
    plain = graph.fresh(node.output[0])
    shaped = graph.constant(graph.constants[bias].reshape(1, -1, *[1] * (rank - 2)), bias)
    return [
        make_node(node, node.op_type, node.input[:2], [plain], **attributes(node)),
        make_node(node, "Add", [plain, shaped], node.output),
    ]


REWRITES = {"Conv": conv, "ConvTranspose": conv_transpose}
