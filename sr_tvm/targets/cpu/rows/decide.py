"""What a region gets that nobody tuned: the cost model's choice of cuts and strips, and tiles by rule."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from sr_tvm.codegen.kernel import Shape
from sr_tvm.regions.cut import Cutter
from sr_tvm.regions.region import Region
from sr_tvm.targets.cpu.gemm.lowering import worth
from sr_tvm.targets.cpu.rows.cost import Estimate, estimate
from sr_tvm.targets.cpu.rows.decisions import PieceDecisions, RowDecisions, Tiles
from sr_tvm.targets.cpu.rows.element import FLOAT32, Element
from sr_tvm.targets.cpu.rows.layout import RowLayout
from sr_tvm.targets.cpu.rows.machine import CpuCore

MOST_SPAN = 20  # candidates a piece may reach over: longer ones are never faster, and the search is quadratic


@dataclass(frozen=True)
class Decider:
    """Decides about regions for one processor.

    Attributes:
        processor: its core, as the cost model knows it.
        winograd: whether Winograd's products may be used.
        element: what the kernels compute with.
    """

    processor: CpuCore
    winograd: bool = True
    element: Element = FLOAT32

    def layout(self, width: int, phases: int | None = None) -> RowLayout:
        """Lay out the rows of a strip for this processor and element.

        Args:
            width: Pixels of the strip, a multiple of the column block; 0 where only the block is asked for.
            phases: 1 or 2, also the rows of a step; None for 2 with Winograd's products and 1 without.

        Returns:
            The layout, whose vectors are as many bytes as the processor's.
        """
        phases = phases or (2 if self.winograd else 1)
        lanes = self.processor.lanes * FLOAT32.bytes // self.element.bytes
        return RowLayout(lanes, phases, phases, width, self.element)

    def tiles(self) -> Tiles:
        """Choose the register tiles that every piece gets.

        They have 16 accumulators where there are 32 registers, which searches found 4 to 5 % faster than fuller ones,
        and 12 where there are 16. Winograd's products, three channels to a tile, take 24 and 12.

        Returns:
            The same tiles for all regions.
        """
        many = self.processor.registers > 16
        winograd = 3 if self.winograd else 0
        return Tiles(16 if many else 12, winograd, lines=2 if many else 1, pairs=many, chunk=96, unroll=2)

    def decide(self, region: Region, shape: Shape) -> RowDecisions:
        """Choose the cuts and strips that the cost model finds fastest, by dynamic programming over the cuts.

        Args:
            region: What is to be lowered.
            shape: N, H and W of the region, None for what is known only at run time; only W matters to the model.

        Returns:
            The cuts, and of every piece its strip and tiles.
        """
        cutter = Cutter(region)
        edges = [0, *cutter.candidates(), len(region.nodes)]
        width = shape[2]

        @cache
        def cost(a: int, b: int) -> Estimate:
            piece = cutter.piece(edges[a], edges[b]).region
            if not piece.results:
                return Estimate(0.0, self.layout(0).block)
            if worth(piece, shape, self.processor.l2_bytes):
                return Estimate(0.0, self.layout(0).block)  # its channels are too many to stream
            return estimate(piece, width, self.processor, self.layout(self.layout(0).block), self.winograd)

        best: list[tuple[float, int]] = [(0.0, 0)]
        for b in range(1, len(edges)):
            ways = [(best[a][0] + cost(a, b).cost, a) for a in range(max(0, b - MOST_SPAN), b)]
            best.append(min(ways))
        spans: list[tuple[int, int]] = []
        b = len(edges) - 1
        while b:
            spans.insert(0, (best[b][1], b))
            b = best[b][1]
        spans = [span for span in spans if cutter.piece(edges[span[0]], edges[span[1]]).region.results]
        pieces = [PieceDecisions(cost(*span).width, self.layout(0).phases, self.tiles()) for span in spans]
        return RowDecisions(tuple(edges[b] for _, b in spans[:-1]), tuple(pieces))
