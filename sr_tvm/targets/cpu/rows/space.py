"""The decisions of a streaming region as a genome: where it is cut, and how each piece is lowered."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache, partial
from random import Random
from typing import Any

from typing_extensions import override

from sr_tvm.codegen.kernel import Shape
from sr_tvm.regions.cut import Cutter
from sr_tvm.regions.region import Region
from sr_tvm.targets.cpu.gemm.lowering import worth
from sr_tvm.targets.cpu.rows.choices import Choices, fields_of, piece_of
from sr_tvm.targets.cpu.rows.decide import Decider
from sr_tvm.targets.cpu.rows.decisions import RowDecisions
from sr_tvm.targets.lowering import DecisionSpace

P_CUTS, P_EVERYWHERE = 0.35, 0.5  # a mutation of the cuts; else, of a decision in all pieces rather than in one
MOST_CHANGE = 2.5  # how far a random machine's cache and memory are from this one's

Span = tuple[int, int]
Fields = dict[str, Any]


def key_of(decisions: RowDecisions) -> str:
    """Name decisions by what they are.

    Args:
        decisions: Of one region.

    Returns:
        16 hexadecimal digits, equal for equal decisions in every process.
    """
    text = json.dumps(decisions.to_json(), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class RowSpace(DecisionSpace[RowDecisions]):
    """The :class:`RowDecisions` of one region as genomes."""

    def __init__(self, decider: Decider, region: Region, shape: Shape, known: Iterable[RowDecisions] = ()) -> None:
        self.decider, self.region, self.shape = decider, region, shape
        self.cutter = Cutter(region)
        self.candidates = self.cutter.candidates()
        self.choices = cache(self._choices)
        self.default = self.repair(decider.decide(region, shape))
        self.known = [self.repair(decisions) for decisions in known]

    def _choices(self, begin: int, end: int) -> Choices | None:
        """Return what may be decided about the nodes from ``begin`` to ``end``; None where they make no result."""
        piece, machine = self.cutter.piece(begin, end).region, self.decider.processor
        if not piece.results:
            return None
        layer = worth(piece, self.shape, machine.l2_bytes)
        return Choices.of(piece, self.shape, machine.lanes, machine.registers, self.decider.winograd, layer)

    def spans(self, cuts: Iterable[int]) -> list[Span]:
        """Find the pieces between cuts; a cut that would leave a piece without a result is left out.

        Args:
            cuts: Positions in the region's order of nodes, in any order; those that are no candidates are left out.

        Returns:
            Begin and end of each piece, which together cover all nodes.
        """
        edges = [0]
        for cut in (*sorted(set(cuts) & set(self.candidates)), len(self.region.nodes)):
            if self.choices(edges[-1], cut) is not None:
                edges.append(cut)
        edges[-1] = len(self.region.nodes)  # a last piece of nothing joins the one before
        return list(zip(edges, edges[1:], strict=False))

    def build(self, cuts: Iterable[int], decide: Callable[[Span], Fields]) -> RowDecisions:
        """Make valid decisions of any cuts and any values.

        Args:
            cuts: As :meth:`spans` takes them.
            decide: Gives the values, by name, that are wanted for a piece; the nearest allowed ones are taken.

        Returns:
            Decisions that the lowering can carry out.
        """
        spans = self.spans(cuts)
        pieces = []
        for span in spans:
            choices = self.choices(*span)
            assert choices is not None  # spans left those out
            pieces.append(piece_of(choices.fit(decide(span))))
        return RowDecisions(tuple(end for _, end in spans[:-1]), tuple(pieces))

    @override
    def repair(self, decisions: RowDecisions) -> RowDecisions:
        return self.build(decisions.cuts, partial(self.nearest, decisions))

    def nearest(self, decisions: RowDecisions, span: Span) -> Fields:
        """Look up what decisions with other cuts say about a piece.

        Args:
            decisions: Of the same region.
            span: Begin and end of the piece.

        Returns:
            The values, by name, of the piece of ``decisions`` whose middle is next to that of ``span``.
        """
        spans = self.spans(decisions.cuts)
        distance = [abs(a + b - sum(span)) for a, b in spans]
        return fields_of(decisions.pieces[distance.index(min(distance))])

    @override
    def seeds(self) -> list[RowDecisions]:
        """Return the cost model's choice, the known ones, and the first with one decision changed that often pays."""
        small = {"winograd": 3, "lines": 1, "unroll": 4, "chunk": 1 << 16}  # few sums at a time, and no chain in parts
        changes: list[Fields] = [{}, {"unroll": 4}, small, {"registers": 16, "unroll": 2}]
        first, *others = (self.build(self.default.cuts, self._changed(change)) for change in changes)
        return list(dict.fromkeys([first, *self.known, *others]))

    def _changed(self, change: Fields) -> Callable[[Span], Fields]:
        return lambda span: self.nearest(self.default, span) | change

    @override
    def random(self, rng: Random) -> RowDecisions:
        """Return what the cost model would choose for another machine, with cuts moved and other tiles."""
        machine = self.decider.processor
        scales = [MOST_CHANGE ** rng.uniform(-1, 1) for _ in range(3)]
        other = replace(
            machine,
            l2_bytes=int(machine.l2_bytes * scales[0]),
            l3_bytes_per_fma=machine.l3_bytes_per_fma * scales[1],
            memory_bytes_per_fma=machine.memory_bytes_per_fma * scales[2],
        )
        decided = replace(self.decider, processor=other).decide(self.region, self.shape)
        for _ in range(rng.randrange(4) if self.candidates else 0):
            decided = self.build(self._other_cuts(decided, rng), partial(self.nearest, decided))
        drawn: Fields = {}
        for choices in filter(None, (self.choices(*span) for span in self.spans(decided.cuts))):
            drawn |= {n: choices.draw(n, rng) for n in choices.open_fields() if n not in drawn and n != "width"}
        if rng.random() < 0.75:  # one phase is seldom of use
            drawn["phases"] = 2
        return self.build(decided.cuts, lambda span: self.nearest(decided, span) | drawn)

    @override
    def crossover(self, a: RowDecisions, b: RowDecisions, rng: Random) -> RowDecisions | None:
        """Return a child with the cuts of one parent, or of each to a side of a point.

        Of each of its pieces, the strip and the tiles are those of the nearest piece of either parent.
        """
        point = rng.choice([0, *self.candidates, len(self.region.nodes)])
        cuts = [c for c in a.cuts if c <= point] + [c for c in b.cuts if c > point]

        def decide(span: Span) -> Fields:
            strip, tiles = (self.nearest(a if rng.random() < 0.5 else b, span) for _ in range(2))
            return tiles | {"width": strip["width"]}

        return self.build(cuts, decide)

    @override
    def mutate(self, genome: RowDecisions, rng: Random) -> RowDecisions | None:
        """Return decisions with a cut that moves, comes or goes, or with one value anew, for one piece or for all."""
        if self.candidates and rng.random() < P_CUTS:
            changed = self.build(self._other_cuts(genome, rng), partial(self.nearest, genome))
            return None if changed == genome else changed
        spans = [s for s in self.spans(genome.cuts) if (c := self.choices(*s)) is not None and c.open_fields()]
        if not spans:
            return None
        span = rng.choice(spans)
        choices = self.choices(*span)
        assert choices is not None
        name = rng.choice(choices.open_fields())
        value, everywhere = choices.draw(name, rng), rng.random() < P_EVERYWHERE

        def decide(at: Span) -> Fields:
            return self.nearest(genome, at) | ({name: value} if everywhere or at == span else {})

        changed = self.build(genome.cuts, decide)
        return None if changed == genome else changed

    def _other_cuts(self, genome: RowDecisions, rng: Random) -> list[int]:
        cuts, free = list(genome.cuts), [c for c in self.candidates if c not in genome.cuts]
        how = rng.choice(("move", "move", "come", "go"))
        if cuts and how != "come":
            gone = cuts.pop(rng.randrange(len(cuts)))
            free.sort(key=lambda c: (abs(c - gone), c))
            del free[3:]  # a cut moves to a place nearby
        if free and how != "go":
            cuts.append(rng.choice(free))
        return cuts

    @override
    def key(self, genome: RowDecisions) -> str:
        return key_of(genome)
