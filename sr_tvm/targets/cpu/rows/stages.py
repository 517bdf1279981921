"""From a region's operators to stages: what one pass over a row makes, from line buffers into a line buffer.

A stage is a sum of convolutions with everything one-to-one that follows, and then the 1x1 convolutions that follow
that, whose inputs exist only as a tile (expand, activation, project).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sr_tvm.regions.region import Add, Concat, Conv, Node, Pointwise, Region, Result, Source


@dataclass(frozen=True)
class Addend:
    """Another value, read from its line buffer and added at the same pixel."""

    value: str


Step = Pointwise | Addend


@dataclass(frozen=True, eq=False)
class RowLayer:
    """The sum of ``terms`` (with one bias each) and then ``steps``. Without terms the first step is an Addend."""

    terms: tuple[Conv, ...]
    steps: tuple[Step, ...]
    channels: int


@dataclass(frozen=True, eq=False)
class RowStage:
    """What makes ``value``: from memory (``source``), or from line buffers by ``layers``, or by joining ``parts``.

    ``result`` says that it goes to memory; otherwise it goes into its own line buffer.
    """

    value: str
    channels: int
    source: Source | None = None
    layers: tuple[RowLayer, ...] = ()
    parts: tuple[str, ...] = ()
    result: Result | None = None

    @property
    def reads(self) -> dict[str, int]:
        """The line buffers that the stage reads, by value, each with the rows of halo above and below."""
        found: dict[str, int] = dict.fromkeys(self.parts, 0)
        for index, layer in enumerate(self.layers):
            for term in layer.terms if index == 0 else ():
                for name in term.inputs:
                    found[name] = max(found.get(name, 0), term.weight.shape[2] // 2)
            for step in layer.steps:
                if isinstance(step, Addend):
                    found.setdefault(step.value, 0)
        return found


class _Builder:
    def __init__(self, region: Region, chain: bool) -> None:
        self.region, self.chain = region, chain
        self.results = {result.value for result in region.results}
        self.pending: dict[str, RowStage] = {}
        self.stages: list[RowStage] = []
        self.parts: dict[str, tuple[str, ...]] = {}

    def line_buffer(self, name: str) -> str:
        """Return the value's name, after making sure that it is in a line buffer."""
        if name in self.pending:
            self.stages.append(self.pending.pop(name))
        return name

    def take(self, name: str) -> RowStage | None:
        """Return the stage that makes a value, if nobody else needs the value: it goes on into its reader's stage."""
        if name in self.pending and len(self.region.readers[name]) == 1 and name not in self.results:
            return self.pending.pop(name)
        return None

    def visit(self, node: Node) -> None:
        stage = getattr(self, type(node).__name__.lower())(node)
        if stage is not None:
            self.pending[node.name] = stage

    def source(self, node: Source) -> RowStage:
        return RowStage(node.name, node.channels, source=node)

    def conv(self, node: Conv) -> RowStage:
        before = self.take(node.inputs[0]) if self._chains(node) else None
        layer = RowLayer((node,), (), node.channels)
        if before is not None:
            return replace(before, value=node.name, channels=node.channels, layers=(*before.layers, layer))
        inputs = tuple(self.line_buffer(part) for name in node.inputs for part in self.parts.get(name, (name,)))
        if node.groups > 1 and len(inputs) > 1:  # a group may take channels of two inputs
            joined = f"{node.name}'s inputs"
            channels = node.weight.shape[1] * node.groups
            self.stages.append(RowStage(joined, channels, parts=inputs))
            inputs = (joined,)
        term = replace(node, inputs=inputs)
        return RowStage(node.name, node.channels, layers=(replace(layer, terms=(term,)),))

    def _chains(self, node: Conv) -> bool:
        """Return whether a convolution goes on in its producer's stage: a 1x1 needs no neighbour of what it reads."""
        if not self.chain or node.groups != 1 or node.weight.shape[2:] != (1, 1) or len(node.inputs) != 1:
            return False
        before = self.pending.get(node.inputs[0])
        return before is not None and before.source is None and bool(before.layers)

    def pointwise(self, node: Pointwise) -> RowStage:
        before = self.take(node.inputs[0])
        if before is None or before.parts:
            self.line_buffer(node.inputs[0]) if before is None else self.stages.append(before)
            return RowStage(
                node.name, node.channels, layers=(RowLayer((), (Addend(node.inputs[0]), node), node.channels),)
            )
        return _then(before, node)

    def add(self, node: Add) -> RowStage:
        left, right = node.inputs
        if left != right:
            for first, second in ((left, right), (right, left)):
                merged = self._sum(node, first, second)
                if merged is not None:
                    return merged
        steps = (Addend(self.line_buffer(left)), Addend(self.line_buffer(right)))
        return RowStage(node.name, node.channels, layers=(RowLayer((), steps, node.channels),))

    def _sum(self, node: Add, first: str, second: str) -> RowStage | None:
        """Return the stage of ``first`` that goes on to add ``second``: by its convolutions if it is nothing else."""
        pending = self.pending.get(first)
        if pending is None or pending.source or not pending.layers or (stage := self.take(first)) is None:
            return None
        other = self.take(second) if _plain_sum(stage) and _plain_sum(self.pending.get(second)) else None
        if other is not None:
            layer = replace(stage.layers[0], terms=(*stage.layers[0].terms, *other.layers[0].terms))
            return replace(stage, value=node.name, layers=(layer,))
        return replace(_then(stage, Addend(self.line_buffer(second))), value=node.name)

    def concat(self, node: Concat) -> RowStage | None:
        parts = tuple(self.line_buffer(part) for name in node.inputs for part in self.parts.get(name, (name,)))
        readers = self.region.readers[node.name]
        if node.name not in self.results and all(isinstance(r, Conv) and r.groups == 1 for r in readers):
            self.parts[node.name] = parts
            return None
        return RowStage(node.name, node.channels, parts=parts)


def _plain_sum(stage: RowStage | None) -> bool:
    """Return whether a stage is nothing but a sum of ungrouped convolutions."""
    if stage is None or len(stage.layers) != 1 or stage.layers[0].steps:
        return False
    terms = stage.layers[0].terms
    return bool(terms) and all(term.groups == 1 for term in terms)


def _then(stage: RowStage, step: Step) -> RowStage:
    """Return ``stage`` with one more step at its end."""
    value = step.name if isinstance(step, Pointwise) else stage.value
    if stage.source is not None and not stage.layers:
        return replace(stage, value=value, layers=(RowLayer((), (step,), stage.channels),))
    last = stage.layers[-1]
    return replace(stage, value=value, layers=(*stage.layers[:-1], replace(last, steps=(*last.steps, step))))


def build_stages(region: Region, chain: bool = True) -> tuple[RowStage, ...]:
    """Group a region's operators into stages.

    Args:
        region: What is to be computed.
        chain: Whether a 1x1 convolution joins the stage that makes its input; if not, every convolution is a stage of
            its own.

    Returns:
        The stages, producers first, with one that writes to memory for each result.
    """
    builder = _Builder(region, chain)
    for node in region.nodes:
        builder.visit(node)
    for result in region.results:
        stage = builder.pending.pop(result.value, None)
        shared = bool(region.readers[result.value]) or sum(r.value == result.value for r in region.results) > 1
        if stage is None or shared or stage.source is not None or stage.parts:
            if stage is not None:
                builder.stages.append(stage)
            steps = (Addend(result.value),)
            channels = region.by_name[result.value].channels
            stage = RowStage(result.value, channels, layers=(RowLayer((), steps, channels),))
        builder.stages.append(replace(stage, result=result))
    return tuple(builder.stages)
