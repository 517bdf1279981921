"""What becomes of each operator of a float region in integers: what is bytes, what is halfwords, what is joined."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sr_tvm.errors import SrTvmError
from sr_tvm.regions.region import Add, Conv, Node, Pointwise, Region, Result, Source


@dataclass(frozen=True, eq=False)
class QuantizationStep:
    """A node of the integer network to be: ``node`` of the region makes it, ``value`` is the float value that it is.

    ``kind`` is "picture", "convolution" (u8), "halfword" (a convolution to s16), "residual", "sum", or "blend" for what
    becomes bytes from bytes; ``relu`` says that a value is that of the ReLU after it, ``slope`` (C,) that it is that of
    a PReLU; ``inputs`` are values. ``wide``: on a residual path whose sums are kept in 16 bits, and bytes are made of
    them for those that multiply: else each block would round what all blocks before it have made.
    """

    kind: str
    value: str
    inputs: tuple[str, ...]
    conv: Conv | None = None
    relu: bool = False
    slope: np.ndarray | None = None
    wide: bool = False


@dataclass(frozen=True, eq=False)
class QuantizationPlan:
    """The steps in order, and which values share their scales: those of a residual path."""

    steps: tuple[QuantizationStep, ...]
    trunks: tuple[frozenset[str], ...]
    result: Result


def plan(region: Region, halfwords: bool = True) -> QuantizationPlan:
    """Decide what each operator of a region becomes in integers.

    Args:
        region: A network with one source and one result.
        halfwords: Whether sums of a residual path stay in 16 bits where that can be done; else each is rounded to a
            byte.

    Returns:
        The steps in the order in which they run.

    Raises:
        SrTvmError: An operator has no integer form; the message names it and says which do.
    """
    if len(region.sources) != 1 or len(region.results) != 1:
        raise SrTvmError("only a network with one input and one output has an integer form")
    return _Planner(region, halfwords).plan()


class _Planner:
    def __init__(self, region: Region, halfwords: bool) -> None:
        self.region, self.halfwords = region, halfwords
        self.steps: dict[str, QuantizationStep] = {}
        self.trunk: dict[str, set[str]] = {}
        (self.result,) = region.results

    def plan(self) -> QuantizationPlan:
        for node in self.region.nodes:
            match node:
                case Source():
                    self._add("picture", node.name)
                case Pointwise(function="shift") if self._source(node.inputs[0]):
                    del self.steps[node.inputs[0]]
                    self._add("picture", node.name)
                case Conv() if node.groups == 1 and len(node.inputs) == 1:
                    self._add("convolution", node.name, node.inputs, node)
                case Pointwise(function="relu" | "prelu"):
                    self._rectified(node)
                case Add():
                    self._sum(node)
                case _:
                    raise SrTvmError(f"{node.name}: {_what(node)} has no integer form; {FORMS} have")
        trunks = {id(group): frozenset(group) for group in self.trunk.values()}
        for trunk in trunks.values():
            if self.halfwords and all(self._sums(self.steps[name]) for name in trunk):
                self.steps |= {name: replace(self.steps[name], wide=True) for name in trunk}
        if self.steps[self.result.value].kind == "picture":
            raise SrTvmError(f"{self.result.value}: the result is the picture itself, so it has no integer form")
        return QuantizationPlan(tuple(self.steps.values()), tuple(trunks.values()), self.result)

    def _source(self, name: str) -> bool:
        return isinstance(self.region.by_name[name], Source) and len(self.region.readers[name]) == 1

    def _alone(self, name: str) -> bool:
        """Return whether a value is read once, by an operator of the region."""
        return len(self.region.readers[name]) == 1 and self.result.value != name

    def _add(
        self, kind: str, value: str, inputs: tuple[str, ...] = (), conv: Conv | None = None, relu: bool = False,
        slope: np.ndarray | None = None,
    ) -> None:  # fmt: skip
        self.steps[value] = QuantizationStep(kind, value, inputs, conv, relu, slope)

    def _rectified(self, node: Pointwise) -> None:
        """Put a ReLU or PReLU at the end of the convolution before it where there is one, else make it a blend."""
        relu = node.function == "relu"
        slope = None if relu else node.parameters[0].astype(np.float64)
        if self._branch(node.inputs[0]):
            before = self.steps.pop(node.inputs[0])
            self._add("convolution", node.name, before.inputs, before.conv, relu, slope)
        else:
            self._add("blend", node.name, node.inputs, None, relu, slope)

    def _sum(self, node: Add) -> None:
        branches = [name for name in node.inputs if self._branch(name)]
        others = [name for name in node.inputs if name not in branches]
        given = self.result.value == node.name or any(self.steps[name].kind == "picture" for name in others)
        if not branches or node.inputs[0] == node.inputs[1] or others and given:  # of scales that are not to be chosen
            self._add("blend", node.name, node.inputs)
            return
        for name in branches:
            before = self.steps[name]
            self._add("halfword", name, before.inputs, before.conv)
        if not others:
            self._add("sum", node.name, (branches[0], branches[1]))
            return
        self._add("residual", node.name, (branches[0], others[0]))
        group = self.trunk.setdefault(others[0], {others[0]}) | {node.name}
        for name in group:
            self.trunk[name] = group

    def _sums(self, step: QuantizationStep) -> bool:
        """Return whether a value is a sum as it comes: a convolution's, or one of a residual path."""
        plain = step.kind == "convolution" and not step.relu and step.slope is None
        return (plain or step.kind == "residual") and step.value != self.result.value

    def _branch(self, name: str) -> bool:
        step = self.steps[name]
        return step.kind == "convolution" and not step.relu and step.slope is None and self._alone(name)


FORMS = "convolutions of one group, ReLU, PReLU and sums"


def _what(node: Node) -> str:
    if isinstance(node, Pointwise):
        return f"'{node.function}'"
    if isinstance(node, Conv):
        return f"a convolution of {node.groups} groups and {len(node.inputs)} inputs"
    return type(node).__name__.lower()


def zero_bytes(region: Region, value: str) -> np.ndarray:
    """Compute the pixels of the network's input that stand for 0 where a shift follows it, say by the mean colours.

    Args:
        region: The network, whose source is 0...1.
        value: Name of the source, or of the shift that alone reads it.

    Returns:
        (C,) float64, in pixels of 0...255, not rounded; 0 without a shift.
    """
    node = region.by_name[value]
    return -255.0 * node.parameters[0] if isinstance(node, Pointwise) else np.zeros(node.channels)
