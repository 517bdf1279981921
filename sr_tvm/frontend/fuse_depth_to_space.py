"""Reshape, Transpose, Reshape as older exporters write pixel shuffle: one DepthToSpace again."""

from __future__ import annotations

from collections import Counter

import onnx

from sr_tvm.frontend.graph import OnnxGraph, attributes, make_node

# order of the six axes -> (mode, where the channels are, where the block's rows are) in the first Reshape
ORDERS = {(0, 1, 4, 2, 5, 3): ("CRD", 1, 2), (0, 3, 4, 1, 5, 2): ("DCR", 3, 1)}


def merge_reshapes(graph: OnnxGraph) -> None:
    """Let a Reshape of a Reshape read what that one reads; a node that is read no more stays in the graph.

    Args:
        graph: Normalised; changed in place.
    """
    sources: dict[str, str] = {}
    for node in graph.nodes:
        if node.op_type == "Reshape":
            node.input[0] = sources[node.output[0]] = sources.get(node.input[0], node.input[0])


def fuse_depth_to_space(graph: OnnxGraph) -> None:
    """Replace each Reshape, Transpose, Reshape that is a pixel shuffle, and whose parts nobody else reads.

    Args:
        graph: Normalised; changed in place.
    """
    makers = {n: node for node in graph.nodes for n in node.output}
    uses = Counter(n for node in graph.nodes for n in node.input)
    uses.update(graph.outputs)
    gone: set[str] = set()
    nodes = []
    for last in graph.nodes:
        middle = makers.get(last.input[0]) if last.op_type == "Reshape" else None
        first = makers.get(middle.input[0]) if middle is not None and middle.op_type == "Transpose" else None
        fused = None
        if first is not None and middle is not None and first.op_type == "Reshape":
            parts = {first.output[0], middle.output[0]}
            fused = _match(graph, first, middle, last) if all(uses[n] == 1 for n in parts) else None
            gone |= parts if fused is not None else set()
        nodes.append(fused or last)
    graph.nodes = [n for n in nodes if n.output[0] not in gone]


def _match(
    graph: OnnxGraph, first: onnx.NodeProto, middle: onnx.NodeProto, last: onnx.NodeProto
) -> onnx.NodeProto | None:
    order = tuple(attributes(middle).get("perm", ()))
    given, six, made = (graph.shape(n) for n in (first.input[0], first.output[0], last.output[0]))
    if order not in ORDERS or len(given) != 4:
        return None
    mode, channels, rows = ORDERS[order]
    block, (n, c, h, w) = six[rows], given
    if six[rows + 1] != block or six[channels] * block**2 != c or (six[0], *six[4:]) != (n, h, w):
        return None
    if made != (n, six[channels], h * block, w * block):
        return None
    return make_node(last, "DepthToSpace", [first.input[0]], last.output, blocksize=block, mode=mode)
