"""Cut a region into pieces that run one after another, each a region of its own. Free of targets and of TVM."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sr_tvm.regions.region import Conv, Node, Pointwise, Region, Result, Source


@dataclass(frozen=True, eq=False)
class Piece:
    """A part of a region: its own region, and which of its results are values of the whole that later pieces read."""

    region: Region
    crossing: tuple[str, ...]


def part_of(region: Region, own: Collection[str], cheap: Collection[str]) -> Piece:
    """The nodes named in ``own`` as a region: sources for what it reads of others, results for what others read of it.

    What is ``cheap`` is made again wherever it is read.
    """
    nodes: dict[str, Node] = {}

    def need(name: str) -> None:
        if name in nodes:
            return
        node = region.by_name[name]
        if name in own or name in cheap:
            for read in node.inputs:
                need(read)
            nodes[name] = node
        else:
            nodes[name] = Source(name, node.channels)

    made = [node.name for node in region.nodes if node.name in own and node.name not in cheap]
    crossing = tuple(name for name in made if any(reader.name not in own for reader in region.readers[name]))
    results = [result for result in region.results if result.value in own]
    plain = {result.value for result in results if result.shuffle == 1}
    results += [Result(name) for name in crossing if name not in plain]
    for result in results:
        need(result.value)
    ordered = tuple(nodes[node.name] for node in region.nodes if node.name in nodes)
    return Piece(Region(ordered, tuple(results)), crossing)


class Cutter:
    """Cuts of one region. A cut at p lies between nodes p - 1 and p of its topological order.

    What is nothing but arithmetic on a source (the mean shift) is done again in each piece that reads it, for that
    costs less than a tensor in memory.
    """

    def __init__(self, region: Region) -> None:
        self.region = region
        self.order = {node.name: i for i, node in enumerate(region.nodes)}
        self.cheap: set[str] = set()
        for node in region.nodes:
            if isinstance(node, Source) or (isinstance(node, Pointwise) and node.inputs[0] in self.cheap):
                self.cheap.add(node.name)
        self.last_read = dict(self.order)
        for node in region.nodes:
            for name in node.inputs:
                self.last_read[name] = max(self.last_read[name], self.order[node.name])

    def crossing(self, cut: int) -> tuple[str, ...]:
        """The values that are made before the cut and read after it, cheap ones left out."""
        return tuple(
            node.name
            for node in self.region.nodes[:cut]
            if node.name not in self.cheap and self.last_read[node.name] >= cut
        )

    def candidates(self) -> list[int]:
        """Where a cut is worth a thought: a convolution on both sides, not before an activation, and no narrower place
        next to it."""
        nodes = self.region.nodes
        convs = [i for i, node in enumerate(nodes) if isinstance(node, Conv)]
        if len(convs) < 2:
            return []
        places = [
            p
            for p in range(convs[0] + 1, convs[-1] + 1)
            if not (isinstance(nodes[p], Pointwise) and nodes[p].inputs[0] == nodes[p - 1].name)
        ]
        width = [self._channels(p) for p in places]
        padded = [width[0], *width, width[-1]] if width else []
        return [
            p
            for p, near in zip(places, zip(padded, width, padded[2:], strict=False), strict=True)
            if near[1] == min(near)
        ]

    def _channels(self, cut: int) -> int:
        return sum(self.region.by_name[name].channels for name in self.crossing(cut))

    def piece(self, begin: int, end: int) -> Piece:
        """The nodes from ``begin`` up to ``end`` as a region."""
        return part_of(self.region, {node.name for node in self.region.nodes[begin:end]}, self.cheap)

    def pieces(self, cuts: Sequence[int]) -> list[Piece]:
        """The pieces between the cuts, those left out that make nothing."""
        edges = [0, *sorted(set(cuts)), len(self.region.nodes)]
        found = [self.piece(a, b) for a, b in zip(edges, edges[1:], strict=False)]
        return [piece for piece in found if piece.region.results]
