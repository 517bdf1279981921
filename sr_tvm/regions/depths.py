"""Take a region apart at a depth: what fusion that stops at layers, chains or blocks would have made of it."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from itertools import pairwise

from sr_tvm.errors import SrTvmError
from sr_tvm.regions.cut import part_of
from sr_tvm.regions.region import Add, Concat, Conv, Node, Pointwise, Region, Source

DEPTHS = ("layer", "expand-project", "block", "net")


def cut_at(region: Region, depth: str) -> list[Region]:
    """Cut a region into the parts that fusion of a given depth would make of it.

    A layer is a convolution with the arithmetic after it; arithmetic on a source is done by every reader of it.
    "expand-project" joins 1x1 convolutions that follow one another, "block" everything between a residual's two ends,
    "net" everything. What a part needs of another is a result there, and a source of the same name here.

    Args:
        region: What the parts compute together.
        depth: How far fusion reaches, one of :data:`DEPTHS`.

    Returns:
        The parts in the order in which they run.

    Raises:
        SrTvmError: The depth is unknown, or a part would need itself through another one.
    """
    if depth not in DEPTHS:
        raise SrTvmError(f"unknown depth {depth!r}; known are {', '.join(DEPTHS)}")
    if depth == "net":
        return [region]
    loads = _loads(region)
    part = _layers(region, loads, chains=depth != "layer")
    if depth == "block":
        _join_blocks(region, part)
    needs: dict[str, set[str]] = {p: set() for p in part.values()}
    for name, own in part.items():
        needs[own] |= {part[i] for i in region.by_name[name].inputs if i in part} - {own}
    try:
        order = list(TopologicalSorter(needs).static_order())
    except CycleError:
        raise SrTvmError(f"depth {depth}: the parts of this region need one another") from None
    return [part_of(region, {name for name, own in part.items() if own == which}, loads).region for which in order]


def _loads(region: Region) -> set[str]:
    """Return what a first load makes: sources, and one-to-one arithmetic on them, such as a mean shift."""
    stored, found = {result.value for result in region.results}, set()
    for node in region.nodes:
        if isinstance(node, Source) or (
            isinstance(node, Pointwise) and node.inputs[0] in found and node.name not in stored
        ):
            found.add(node.name)
    return found


def _layers(region: Region, loads: set[str], chains: bool) -> dict[str, str]:
    """Return for each node the name of its part's first node: a part is a layer, or a chain of 1x1 convolutions."""
    part: dict[str, str] = {}
    stored = {result.value for result in region.results}

    def alone(name: str, reader: Node) -> bool:
        """Return whether ``reader`` can take the value over: nobody else wants it."""
        return name in part and region.readers[name] == (reader,) and name not in stored

    for node in region.nodes:
        if node.name in loads:
            continue
        part[node.name] = node.name
        if isinstance(node, Conv):
            before = [m for m in region.nodes if part.get(m.name) == part.get(node.inputs[0]) and isinstance(m, Conv)]
            small = all(m.weight.shape[2:] == (1, 1) for m in (node, *before))
            if chains and small and before and len(node.inputs) == 1 and alone(node.inputs[0], node):
                part[node.name] = part[node.inputs[0]]
        elif not isinstance(node, Concat):
            # The latest input: of a residual's two, the end of the block and not its start.
            place = {n.name: i for i, n in enumerate(region.nodes)}
            for name in sorted(node.inputs, key=place.__getitem__, reverse=True):
                if alone(name, node):
                    part[node.name] = part[name]
                    break
    return part


def _join_blocks(region: Region, part: dict[str, str]) -> None:
    """Join the parts between the ends of each residual, innermost ones only."""
    above: dict[str, set[str]] = {}
    for node in region.nodes:
        above[node.name] = set(node.inputs).union(*(above[i] for i in node.inputs))
    for node in region.nodes:
        if not isinstance(node, Add):
            continue
        for start, end in (node.inputs, node.inputs[::-1]):
            if start in above[end]:
                inside = [m for m in region.nodes if start in above[m.name] and m.name in above[node.name]]
                if not any(isinstance(m, Add | Concat) for m in inside):
                    _join(part, [node.name, *(m.name for m in inside)])


def _join(part: dict[str, str], names: list[str]) -> None:
    for a, b in pairwise(names):
        old, new = part[b], part[a]
        for name, own in part.items():
            if own == old:
                part[name] = new
