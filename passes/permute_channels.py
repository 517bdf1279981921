"""Give a value of a region its channels in another order, by way of the weights that make it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from sr_tvm.regions.region import Add, Conv, Node, Pointwise


def permute_channels(
    name: str, order: np.ndarray, nodes: Mapping[str, Node], sole: Callable[[str], bool], fresh: Callable[[str], str]
) -> list[Node]:
    """Give a value its channels in another order, by way of the weights that make it.

    The order goes through arithmetic and sums into the weights of convolutions, as long as a value has no other reader;
    the old nodes are then dead. Else a 1x1 convolution puts the channels in order.

    Args:
        name: Of the value.
        order: (channels,), whole numbers; place k of the result holds channel ``order[k]``.
        nodes: Those of the region, by name. They stay as they are.
        sole: Whether the value of that name has one reader only.
        fresh: Makes an unused name for a node that replaces the one named.

    Returns:
        Nodes to add to the region, in order; the last of them is the value in its new order.
    """
    made: list[Node] = []

    def visit(value: str) -> str:
        node = nodes[value]
        new = fresh(value)
        if sole(value) and isinstance(node, Conv) and node.groups == 1:
            made.append(replace(node, name=new, weight=node.weight[order].copy(), bias=node.bias[order].copy()))
        elif sole(value) and isinstance(node, Pointwise):
            inputs = (visit(node.inputs[0]),)
            made.append(replace(node, name=new, inputs=inputs, parameters=tuple(p[order] for p in node.parameters)))
        elif sole(value) and isinstance(node, Add) and node.inputs[0] != node.inputs[1]:
            made.append(replace(node, name=new, inputs=(visit(node.inputs[0]), visit(node.inputs[1]))))
        else:
            weight = np.zeros((len(order), node.channels, 1, 1), np.float32)
            weight[np.arange(len(order)), order] = 1
            made.append(Conv(new, (value,), weight, np.zeros(len(order), np.float32)))
        return new

    visit(name)
    return made
