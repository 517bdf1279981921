"""Cut a region into pieces that run one after another, each a region of its own. Free of targets and of TVM."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sr_tvm.regions.region import Conv, Node, Pointwise, Region, Result, Source


@dataclass(frozen=True, eq=False)
class Piece:
    """A part of a region that runs by itself, in one kernel or several.

    Attributes:
        region: The part as a region of its own: its sources are what it reads of memory or of earlier pieces.
        crossing: Names of its values that later pieces of the whole region read.
    """

    region: Region
    crossing: tuple[str, ...]


def part_of(region: Region, own: Collection[str], cheap: Collection[str]) -> Piece:
    """Make a region of some nodes of a region.

    What the part reads of other nodes becomes a source, what other nodes read of it a result without a pixel shuffle,
    beside the results that are the whole region's.

    Args:
        region: The whole.
        own: Names of the nodes that the part computes.
        cheap: Names of nodes that every part computes for itself rather than reads from memory.

    Returns:
        The part. It has no results where nobody reads what it makes.
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
        """List the values that are in memory between the two sides of a cut.

        Args:
            cut: A position in the region's order of nodes; the cut is before the node that stands there.

        Returns:
            Names of the values that are made before the cut and read after it, in the region's order, without cheap
            ones.
        """
        return tuple(
            node.name
            for node in self.region.nodes[:cut]
            if node.name not in self.cheap and self.last_read[node.name] >= cut
        )

    def candidates(self) -> list[int]:
        """List the positions where a cut may be worth its traffic.

        Such a cut has a convolution on both sides, is not between a node and the activation that follows it, and no
        position next to it is crossed by fewer channels.

        Returns:
            Positions in the region's order of nodes, ascending; none where the region has fewer than two convolutions.
        """
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
        """Make a region of consecutive nodes.

        Args:
            begin: Position of the first node in the region's order.
            end: The position after the last.

        Returns:
            The part that these nodes are.
        """
        return part_of(self.region, {node.name for node in self.region.nodes[begin:end]}, self.cheap)

    def pieces(self, cuts: Sequence[int]) -> list[Piece]:
        """Cut the region into the pieces between the given positions.

        Args:
            cuts: Positions in the region's order of nodes, in any order, repeated ones counting once.

        Returns:
            The pieces in the order they run, without those that make nothing that anybody reads.
        """
        edges = [0, *sorted(set(cuts)), len(self.region.nodes)]
        found = [self.piece(a, b) for a, b in zip(edges, edges[1:], strict=False)]
        return [piece for piece in found if piece.region.results]
