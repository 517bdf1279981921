"""Decisions of the row lowering drawn at random: cuts, strips, phases and register tiles."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from sr_tvm.codegen.kernel import Kernel, Shape
from sr_tvm.regions.cut import Cutter
from sr_tvm.regions.region import Region
from sr_tvm.targets.cpu.rows.decisions import PieceDecisions, RowDecisions, Tiles
from sr_tvm.targets.cpu.rows.kernel import stream_kernel
from sr_tvm.targets.cpu.rows.layout import RowLayout
from sr_tvm.targets.cpu.rows.lowering import RowLowering
from sr_tvm.targets.cpu.rows.machine import CpuCore
from sr_tvm.targets.cpu.rows.plan import plan_stages
from sr_tvm.targets.cpu.rows.stages import build_stages

PROCESSORS = (CpuCore(4, 32), CpuCore(4, 16), CpuCore(8, 16), CpuCore(16, 32))


@dataclass(frozen=True)
class Decided:
    """A lowering whose decisions are made beforehand."""

    rows: RowLowering
    decisions: RowDecisions
    name = "decided"

    def lower(self, region: Region, shape: Shape, name: str) -> list[Kernel]:
        return self.rows.lower(region, shape, name, self.decisions)


@dataclass(frozen=True)
class Banded:
    """The whole region as one kernel, its rows in ``bands``."""

    layout: RowLayout
    tiles: Tiles
    bands: int | None
    name = "banded"

    def lower(self, region: Region, shape: Shape, name: str) -> list[Kernel]:
        return [stream_kernel(region, shape, name, self.layout, self.tiles, self.bands)]


def narrowest(region: Region, lanes: int, phases: int) -> int:
    """The least width of a strip that still gets anywhere."""
    layout = RowLayout(lanes, phases, phases, 2 * lanes)
    halo = plan_stages(build_stages(region), layout).halo
    return (2 * halo // layout.block + 1) * layout.block


def tiles() -> st.SearchStrategy[Tiles]:
    return st.builds(
        Tiles,
        registers=st.sampled_from((2, 4, 12, 28)),
        winograd=st.sampled_from((0, 1, 3, 6)),
        lines=st.sampled_from((1, 2)),
        pairs=st.booleans(),
        chunk=st.sampled_from((1, 5, 16, 48)),
    )


@st.composite
def decided(draw: st.DrawFn, region: Region) -> Decided:
    """Any cuts, and for each piece a strip of the least width or a little more."""
    processor = draw(st.sampled_from(PROCESSORS))
    cutter = Cutter(region)
    cuts = sorted(draw(st.sets(st.integers(1, len(region.nodes) - 1), max_size=3))) if draw(st.booleans()) else []
    cuts = [p for p in cuts if cutter.piece(0, p).region.results and cutter.piece(p, len(region.nodes)).region.results]
    pieces = []
    for piece in cutter.pieces(cuts):
        phases = draw(st.sampled_from((2, 2, 1)))
        least, more = narrowest(piece.region, processor.lanes, phases), draw(st.sampled_from((0, 0, 1, 3)))
        pieces.append(PieceDecisions(least + more * 2 * processor.lanes, phases, draw(tiles())))
    return Decided(RowLowering(processor), RowDecisions(tuple(cuts), tuple(pieces)))
