"""Local functions of an ONNX file: counted before they are expanded, since each level of calls multiplies the nodes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import onnx
import onnx.inliner

from sr_tvm.errors import SrTvmError

MAX_DEPTH = 100  # the inliner calls itself for each level; exporters nest modules, a few levels deep
Key = tuple[str, str, str]


@dataclass(frozen=True)
class _Cost:
    """Of some nodes when every call in them is expanded."""

    nodes: int
    bytes: int
    depth: int


def inline(model: onnx.ModelProto, path: Path, max_nodes: int, max_bytes: int) -> onnx.ModelProto:
    """Put the bodies of local functions in place of their calls.

    What would come out is counted before anything is expanded.

    Args:
        model: From anyone.
        path: Of its file, for messages.
        max_nodes: Most nodes that the expanded model may have.
        max_bytes: Most bytes that its expanded nodes may take.

    Returns:
        The expanded model; ``model`` itself where it has no local functions.

    Raises:
        SrTvmError: A function calls itself or is there twice, calls are nested over 100 deep, or what is expanded
            would be over the limits.
    """
    if not model.functions:
        return model
    cost = _cost_of_graph(model, path, max_nodes, max_bytes)
    if cost.nodes > max_nodes:
        raise SrTvmError(f"{path}: with its local functions expanded it has over {max_nodes} nodes; they are too many")
    if cost.bytes > max_bytes:
        raise SrTvmError(f"{path}: with its local functions expanded it is over {max_bytes / 1e9:.1f} GB")
    if cost.depth > MAX_DEPTH:
        raise SrTvmError(f"{path}: calls of local functions are nested over {MAX_DEPTH} deep")
    try:
        return onnx.inliner.inline_local_functions(model)
    except Exception as error:
        reason = " ".join(str(error).split())[:240]
        raise SrTvmError(f"{path}: its local functions cannot be inlined: {reason}") from error


def _cost_of_graph(model: onnx.ModelProto, path: Path, max_nodes: int, max_bytes: int) -> _Cost:
    bodies = {_key(f.domain, f.name, f.overload): f.node for f in model.functions}
    if len(bodies) != len(model.functions):
        raise SrTvmError(f"{path}: a local function is defined twice")
    called = {key: {_called(node) for node in _all_nodes(body)} & bodies.keys() for key, body in bodies.items()}
    try:
        order = list(TopologicalSorter(called).static_order())  # what is called, before what calls it
    except CycleError as error:
        raise SrTvmError(f"{path}: local function {error.args[1][0][1]!r} calls itself") from None
    costs: dict[Key, _Cost] = {}
    for key in order:
        costs[key] = _cost(bodies[key], costs, max_nodes, max_bytes)
    return _cost(model.graph.node, costs, max_nodes, max_bytes)


def _cost(body: Iterable[onnx.NodeProto], costs: dict[Key, _Cost], max_nodes: int, max_bytes: int) -> _Cost:
    """Return the cost of a body, counted to just above a limit: numbers that double with each level become long."""
    body = list(body)
    nodes, size, depth = 0, sum(node.ByteSize() for node in body), 0
    for node in _all_nodes(body):
        inner = costs.get(_called(node))
        if inner is None:
            nodes += 1
        else:
            nodes, size, depth = nodes + inner.nodes, size + inner.bytes, max(depth, inner.depth + 1)
    return _Cost(min(nodes, max_nodes + 1), min(size, max_bytes + 1), depth)


def _all_nodes(body: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Yield the nodes, and those in the graphs that are attributes of nodes (If, Loop)."""
    stack = list(body)
    while stack:
        node = stack.pop()
        yield node
        for attribute in node.attribute:
            stack += attribute.g.node
            for graph in attribute.graphs:
                stack += graph.node


def _called(node: onnx.NodeProto) -> Key:
    return _key(node.domain, node.op_type, node.overload)


def _key(domain: str, name: str, overload: str) -> Key:
    return ("" if domain == "ai.onnx" else domain, name, overload)
