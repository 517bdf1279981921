"""What a work-item does for its pixels, in order: the steps of a stage. Free of TVM."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sr_tvm.regions.region import Add, Concat, Conv, Node, Pointwise, Region, Source
from sr_tvm.targets.opencl.stages import Hidden, hidden_of, spatial


@dataclass(frozen=True, eq=False)
class ConvolutionSum:
    """A step that makes a value of a bias, plus the pixels of other values, plus convolutions.

    The convolutions begin with what is there.

    Attributes:
        value: The name of what is made.
        channels: Of it.
        bias: (channels,) float64, the sum of the convolutions' biases.
        centers: Names of the values whose pixels are added.
        convs: The convolutions that are added.
    """

    value: str
    channels: int
    bias: np.ndarray
    centers: tuple[str, ...]
    convs: tuple[AddedConvolution, ...]


@dataclass(frozen=True, eq=False)
class AddedConvolution:
    """A convolution that is added to a sum.

    Attributes:
        conv: The convolution; its bias is in the sum's.
        hidden: The channels that it projects, which are made on the way; None where its input is a value.
        registers: Whether its inputs are the work-item's own pixels; else it reads them, and their neighbours, from
            memory.
    """

    conv: Conv
    hidden: Hidden | None
    registers: bool


@dataclass(frozen=True, eq=False)
class Apply:
    """A step that does arithmetic on a value in registers, channel by channel."""

    node: Pointwise

    @property
    def value(self) -> str:
        """The name of the value that is made."""
        return self.node.name


@dataclass(frozen=True, eq=False)
class Join:
    """A step that puts values in registers one after another along the channels."""

    node: Concat

    @property
    def value(self) -> str:
        """The name of the value that is made."""
        return self.node.name


@dataclass(frozen=True, eq=False)
class Load:
    """A step that reads the work-item's own pixels of a value from memory into registers.

    Attributes:
        value: The name of a source of the stage.
    """

    value: str


Step = ConvolutionSum | Apply | Join | Load


def plan_steps(region: Region, narrow: int) -> list[Step]:
    """List the steps of a stage.

    A convolution that only an addition reads is a part of that sum, so that it needs no registers of its own.

    Args:
        region: The stage; its sources lie in memory.
        narrow: Channels that a work-item keeps in registers from a convolution to a 1x1 convolution after it.

    Returns:
        The steps in the order that a work-item does them; each makes a value of the stage's pixels.
    """
    return list(_Plan(region, narrow).steps())


class _Plan:
    def __init__(self, region: Region, narrow: int) -> None:
        self.region, self.narrow = region, narrow
        self.results = {result.value for result in region.results}
        self.products: dict[str, AddedConvolution] = {}
        self.inside: set[str] = set()  # what is part of a product, or of a sum
        for conv in region.convolutions():
            hidden = hidden_of(region, conv, narrow)
            if hidden is not None:
                self.inside |= {hidden.expand.name, *(node.name for node in hidden.arithmetic)}
            self.products[conv.name] = AddedConvolution(conv, hidden, hidden is not None or self._in_registers(conv))
        for node in region.nodes:
            if isinstance(node, Conv | Add) and self._only_added(node):
                self.inside.add(node.name)

    def _in_registers(self, conv: Conv) -> bool:
        nodes = [self.region.by_name[name] for name in conv.inputs]
        wide = any(node.channels > self.narrow for node in nodes)
        return not spatial(conv) and conv.groups == 1 and not (wide and all(self._in_memory(n) for n in nodes))

    def _in_memory(self, node: Node) -> bool:
        return isinstance(node, Source) or (
            isinstance(node, Pointwise) and self._in_memory(self.region.by_name[node.inputs[0]])
        )

    def _only_added(self, node: Node) -> bool:
        readers = self.region.readers[node.name]
        return len(readers) == 1 and isinstance(readers[0], Add) and node.name not in self.results

    def steps(self) -> Iterator[Step]:
        wanted = self._wanted()
        for node in self.region.nodes:
            if node.name not in wanted:
                continue
            match node:
                case Source():
                    yield Load(node.name)
                case Pointwise():
                    yield Apply(node)
                case Concat():
                    yield Join(node)
                case _:
                    yield self._sum(node)

    def _sum(self, node: Conv | Add) -> ConvolutionSum:
        terms = list(self._terms(node.name, top=True))
        convs = tuple(self.products[name] for name in terms if name in self.products and self._part(name, node))
        parts = {product.conv.name for product in convs}
        bias = sum((product.conv.bias.astype(np.float64) for product in convs), np.zeros(node.channels))
        return ConvolutionSum(node.name, node.channels, bias, tuple(name for name in terms if name not in parts), convs)

    def _part(self, name: str, of: Node) -> bool:
        return name == of.name or name in self.inside

    def _terms(self, name: str, top: bool = False) -> Iterator[str]:
        node = self.region.by_name[name]
        if isinstance(node, Add) and (top or name in self.inside):
            for read in node.inputs:
                yield from self._terms(read)
        else:
            yield name

    def _wanted(self) -> set[str]:
        """Return the values that have registers: results, and what is read pixel by pixel."""
        wanted: set[str] = set()
        stack = [name for name in self.results]
        while stack:
            name = stack.pop()
            if name in wanted:
                continue
            wanted.add(name)
            node = self.region.by_name[name]
            if isinstance(node, Pointwise | Concat):
                stack += node.inputs
            elif isinstance(node, Conv | Add):
                made = self._sum(node)
                stack += made.centers
                for product in made.convs:
                    reads = product.hidden.expand if product.hidden else product.conv
                    stack += reads.inputs if product.registers else ()
        return wanted
