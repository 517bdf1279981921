"""Padding in one form: explicit pads on convolutions and pools, Pad with constant inputs for every axis."""

from __future__ import annotations

import numpy as np
import onnx

from sr_tvm.errors import SrTvmError
from sr_tvm.frontend.graph import OnnxGraph, attributes, describe, input_name, make_node

Nodes = list[onnx.NodeProto] | None


def same_pads(
    size: tuple[int, ...], kernel: list[int], strides: list[int], dilations: list[int], upper: bool
) -> list[int]:
    """Compute the pads for which the output size is ceil(size / stride), as ONNX's SAME_UPPER and SAME_LOWER want it.

    Args:
        size: Of the input along each axis, in pixels.
        kernel: Along each axis, in taps.
        strides: Along each axis.
        dilations: Along each axis.
        upper: Put the odd pixel at the end; else at the beginning.

    Returns:
        Pixels to add: at the beginning of each axis, then at the end of each.
    """
    begins, ends = [], []
    for n, k, s, d in zip(size, kernel, strides, dilations, strict=True):
        total = max(0, (-(-n // s) - 1) * s + (k - 1) * d + 1 - n)
        small, large = total // 2, total - total // 2
        begins.append(small if upper else large)
        ends.append(large if upper else small)
    return begins + ends


def auto_pad(node: onnx.NodeProto, graph: OnnxGraph, opset: int) -> Nodes:
    """Rewrite a Conv, MaxPool or AveragePool with explicit ``pads`` in place of ``auto_pad``.

    Args:
        node: Of one of the three operators.
        graph: It gains the constants that the new nodes read.
        opset: Version of the operator set that the node is of; all versions are treated alike.

    Returns:
        Nodes to put in place; None where the node has that form already.
    """
    attrs = attributes(node)
    mode = attrs.pop("auto_pad", "NOTSET")
    if mode == "NOTSET":
        return None
    shape = graph.shape(node.input[0])
    rank = len(shape) - 2
    kernel = attrs.get("kernel_shape") or list(graph.shape(node.input[1])[2:])
    strides, dilations = attrs.get("strides", [1] * rank), attrs.get("dilations", [1] * rank)
    attrs["pads"] = (
        [0] * 2 * rank if mode == "VALID" else same_pads(shape[2:], kernel, strides, dilations, mode == "SAME_UPPER")
    )
    return [make_node(node, node.op_type, node.input, node.output, **attrs)]


def pad(node: onnx.NodeProto, graph: OnnxGraph, opset: int) -> Nodes:
    """Rewrite Pad so that constant inputs say the pads of every axis, the value and the mode.

    Before opset 11 pads and value were attributes; from 18 on a subset of the axes may be named. A negative pad crops,
    which a Slice in front says.

    Args:
        node: Pad.
        graph: It gains the constants that the new nodes read.
        opset: Version of the operator set that the node is of.

    Returns:
        Nodes to put in place; None where the node has that form already.

    Raises:
        SrTvmError: There are not two pads for each axis, or they are not constant.
    """
    attrs = attributes(node)
    rank = len(graph.shape(node.input[0]))
    pads: np.ndarray | None
    if opset < 11:
        pads, value, axes = np.array(attrs["pads"], np.int64), attrs.get("value", 0.0), None
    else:
        pads, given, axes = graph.value(node, 1), graph.value(node, 2), graph.value(node, 3)
        assert pads is not None
        value = 0.0 if given is None else float(given.reshape(-1)[0])
        if input_name(node, 2) and axes is None and "mode" in attrs and (pads >= 0).all():
            return None
    assert pads is not None
    full = np.zeros((2, rank), np.int64)
    chosen = np.arange(rank) if axes is None else axes.reshape(-1) % rank
    if pads.size != 2 * chosen.size:
        raise SrTvmError(f"{describe(node)} has {pads.size} pads for {chosen.size} axes; it needs two for each")
    full[:, chosen] = pads.reshape(2, -1)
    source, nodes = node.input[0], []
    if (full < 0).any():  # a negative pad crops, and crops first: Slice says so
        source = graph.fresh(source)
        begins, ends = np.maximum(-full[0], 0), graph.shape(node.input[0]) - np.maximum(-full[1], 0)
        names = [graph.constant(v.astype(np.int64)) for v in (begins, ends, np.arange(rank), np.ones(rank))]
        nodes.append(make_node(node, "Slice", [node.input[0], *names], [source]))
    inputs = [
        source,
        graph.constant(np.maximum(full, 0).reshape(-1), "pads"),
        graph.constant(np.array(value, np.float32)),
    ]
    return [*nodes, make_node(node, "Pad", inputs, node.output, mode=attrs.get("mode", "constant"))]


REWRITES = {"MaxPool": auto_pad, "AveragePool": auto_pad, "Pad": pad}
