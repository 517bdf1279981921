"""From a group of operators of ``main`` to the :class:`Region` that a lowering takes."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count

import numpy as np
from tvm import relax

from sr_tvm.passes.graph import RelaxGraph
from sr_tvm.passes.permute_channels import permute_channels
from sr_tvm.passes.read_region import RegionStep, with_bias
from sr_tvm.passes.shapes import static, type_dims
from sr_tvm.regions.region import Concat, Conv, Node, Pointwise, Region, Result, Source


@dataclass(frozen=True)
class Formed:
    """A region, and the variables of ``main`` behind its names.

    Attributes:
        sources: by source name, the variable that it reads.
        results: by result, the variables bound to it; more than one where ``main`` shuffles a value twice.
        operators: by node name, the operators of ``main`` that it does.
    """

    region: Region
    sources: dict[str, relax.Var]
    results: dict[tuple[str, int], list[relax.Var]]
    operators: dict[str, list[str]]


def build_region(graph: RelaxGraph, members: list[relax.Var], steps: dict[relax.Var, RegionStep]) -> Formed:
    """Build the region of a group of operators.

    A bias becomes part of its convolution, and a concat that convolutions read becomes several inputs of theirs; what
    then nobody reads is left out.

    Args:
        graph: The function that the operators are in.
        members: The variables that the operators are bound to, in the order of ``main``.
        steps: What each of them does in a region; at least those of ``members``.

    Returns:
        The region, with the variables of ``main`` behind its sources and results.
    """
    return _Builder(graph, members, steps).build()


class _Builder:
    def __init__(self, graph: RelaxGraph, members: list[relax.Var], steps: dict[relax.Var, RegionStep]) -> None:
        self.graph, self.members, self.steps = graph, members, steps
        self.inside = set(members)
        self.names: dict[relax.Var, str] = {}
        self.nodes: dict[str, Node] = {}
        self.sources: dict[str, relax.Var] = {}
        self.results: dict[tuple[str, int], list[relax.Var]] = {}
        self.operators: dict[str, list[str]] = {}

    def build(self) -> Formed:
        for var in self.members:
            step = self.steps[var]
            inputs = tuple(self._name(source) for source in step.inputs)
            if step.make is None:
                value = inputs[0] if step.order is None else self._ordered(inputs[0], step.order)
                self.results.setdefault((value, step.shuffle), []).append(var)
                self.operators[value].append(step.operator)
                continue
            node = step.make(self._fresh(var.name), inputs)
            did = [step.operator]
            if isinstance(node, Pointwise) and self.graph.only_reader(step.inputs[0], var):
                node, did = self._as_bias(node, did)
            if isinstance(node, Conv | Concat):
                node = self._flat(node)
            self.names[var] = node.name
            self.nodes[node.name] = node
            self.operators[node.name] = did
            if any(reader not in self.inside for reader in self.graph.readers[var]):
                self.results.setdefault((node.name, 1), []).append(var)
        nodes = self._live()
        kept = {node.name for node in nodes}
        region = Region(nodes, tuple(Result(value, shuffle) for value, shuffle in self.results))
        sources = {name: var for name, var in self.sources.items() if name in kept}
        return Formed(region, sources, self.results, {n: did for n, did in self.operators.items() if n in kept})

    def _as_bias(self, node: Pointwise, did: list[str]) -> tuple[Node, list[str]]:
        """Return the convolution with the shift after it in its bias, where nobody else reads it; else ``node``."""
        conv = self.nodes[node.inputs[0]]
        if node.function != "shift" or not isinstance(conv, Conv):
            return node, did
        del self.nodes[conv.name]
        return with_bias(conv, node), self.operators.pop(conv.name) + did

    def _ordered(self, value: str, order: np.ndarray) -> str:
        """Return the name of ``value`` with its channels in another order, for a shuffle in ONNX's."""
        behind = {name: var for var, name in self.names.items()}
        nodes = permute_channels(
            value, order, self.nodes, lambda name: len(self.graph.readers[behind[name]]) == 1, self._fresh
        )
        for node in nodes:
            self.nodes[node.name] = node
            self.operators[node.name] = []
        self.operators[nodes[-1].name] += self.operators[value]
        return nodes[-1].name

    def _fresh(self, like: str) -> str:
        name = next(name for i in count() if (name := f"{like}_{i}" if i else like) not in self.nodes)
        return name

    def _name(self, var: relax.Var) -> str:
        """Return the name of a value that is read; a source is made where it comes from outside."""
        if var not in self.names:
            shape = type_dims(var.ty)
            channels = static(shape[1]) if shape is not None else None
            assert var not in self.inside and channels is not None
            name = self.names[var] = self._fresh(var.name)
            self.nodes[name] = Source(name, channels)
            self.sources[name] = var
        return self.names[var]

    def _flat(self, node: Conv | Concat) -> Node:
        """Return ``node`` on the inputs of the concats that it reads."""
        inputs: list[str] = []
        for name in node.inputs:
            read = self.nodes[name]
            inputs += read.inputs if isinstance(read, Concat) else [name]
        if isinstance(node, Conv):
            return Conv(node.name, tuple(inputs), node.weight, node.bias, node.groups)
        return Concat(node.name, tuple(inputs), node.channels)

    def _live(self) -> tuple[Node, ...]:
        live = {value for value, _ in self.results}
        for name, node in reversed(self.nodes.items()):
            if name in live:
                live.update(node.inputs)
        return tuple(node for name, node in self.nodes.items() if name in live)
