"""Design spaces of our own: reductions in register tiles, with the tile's shape and the loops around it to be sampled.

MetaSchedule's own spaces keep sums in caches of any size; TVM leaves those above 1 KB in memory, and a convolution then
runs at a third of the speed. Here the sums of a tile of channels x rows x pixels stay in vector registers, pixels in
the lanes, weights broadcast (the register tiles of GotoBLAS, and of every convolution library since).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from tvm import tirx
from tvm.s_tir import Schedule, ScheduleError
from tvm.s_tir.dlight.analysis import collect_vars_used_in_prim_expr

MARK = "sr_tvm.register_tile"  # on the reduction block: how many of the first tile decisions make up its tile
# TVM keeps local buffers below 1 KB on the stack, where LLVM finds registers for them; with a quarter of that the
# loads outweigh the products.
REGISTER_BYTES = range(256, 1024)
ELEMENT_BYTES = 4  # sums are float32
MAX_LANES, MAX_CHANNELS, MAX_ROWS, MAX_UNROLL, MAX_WINDOW = 64, 16, 4, 16, 16
SPATIAL = tirx.IterVar.DataPar


@dataclass(frozen=True)
class RegisterTilePlan:
    """One design space of register tiles.

    Attributes:
        order: Of the loops around the tile: channels "c", rows "h" and pixels "w", outermost first.
        pad_inside: Whether each row of tiles pads for itself.
        guess: Channels and vectors of the tile that the search starts from.
    """

    order: str
    pad_inside: bool
    guess: tuple[int, int]  # channels and vectors of the tile that the search starts from


PLANS = (
    RegisterTilePlan("hwc", False, (12, 1)),
    RegisterTilePlan("hwc", True, (12, 1)),
    RegisterTilePlan("hcw", False, (12, 1)),
    RegisterTilePlan("hcw", True, (6, 2)),
    RegisterTilePlan("chw", False, (6, 2)),
)


def register_tile_spaces(sch: Schedule, vector: int = 16) -> list[Schedule]:
    """Make the design spaces that apply to a kernel; this is a ScheduleFn of MetaSchedule.

    Args:
        sch: The kernel, unscheduled.
        vector: Floats in a vector register; the first decisions fill the registers of such a processor.

    Returns:
        A schedule for each space, perhaps none.
    """
    spaces = []
    for plan in PLANS:
        copy = sch.copy()
        try:
            if _Kernel(copy, vector).apply(plan):
                spaces.append(copy)
        except (ScheduleError, ValueError, TypeError):  # not a plain nest: the general spaces have it to themselves
            continue
    return spaces


def is_register_tile(trace: Any) -> bool:
    """Tell whether a trace is of one of these spaces.

    Args:
        trace: A trace of MetaSchedule.

    Returns:
        True where it has a register tile.
    """
    return _tile_decisions(trace) > 0


def fits_registers(trace: Any) -> bool:
    """Tell whether the sums of a trace's tile just fill the registers.

    Args:
        trace: A trace of MetaSchedule, its decisions made.

    Returns:
        True where they do, and for traces of other spaces.
    """
    count = _tile_decisions(trace)
    if not count:
        return True
    tiles = [i for i in trace.insts if str(i.kind.name) == "SamplePerfectTile"][:count]
    elements = math.prod(int(trace.get_decision(inst)[-1]) for inst in tiles)
    return elements * ELEMENT_BYTES in REGISTER_BYTES


def _tile_decisions(trace: Any) -> int:
    marks = (i for i in trace.insts if str(i.kind.name) == "Annotate" and str(i.attrs[0]) == MARK)
    return next((int(i.inputs[1]) for i in marks), 0)


class _Kernel:
    def __init__(self, sch: Schedule, vector: int) -> None:
        self.sch, self.vector = sch, vector
        self.root = sch.get_sblock("root")

    def apply(self, plan: RegisterTilePlan) -> bool:
        """Schedule in place. The plan may be another plan's twin here, or there may be no single reduction.

        Returns:
            Whether it was scheduled.
        """
        sch = self.sch
        pads = self._inline()
        blocks = sch.get_child_blocks(self.root)
        reductions = [b for b in blocks if self._reduces(b)]
        if len(reductions) != 1 or (plan.pad_inside and not pads):
            return False
        block = reductions[0]
        consumers = sch.get_consumers(block)
        tile = consumers[0] if len(consumers) == 1 else sch.cache_write(block, 0, "global")
        axes = self._axes(block)
        loops = sch.get_loops(tile)
        if axes is None or len(loops) != axes.dims:
            return False
        outer, inner = self._tile(loops, axes, plan)
        self._reduce(block, outer[-1], len(inner))
        for loop in inner[:-1]:
            sch.unroll(loop)
        sch.vectorize(inner[-1])
        for pad in pads:
            if plan.pad_inside:
                sch.compute_at(pad, outer[0], preserve_unit_loops=True)
            else:
                self._rows(pad)
        sch.parallel(outer[0])
        others = [tile, block, *pads]
        for rest in sch.get_child_blocks(self.root):
            if not any(sch.get(rest).same_as(sch.get(o)) for o in others):
                self._rows(rest)
        sch.annotate(block, MARK, len(inner))
        return True

    def _inline(self) -> list[Any]:
        """Return the paddings, not to be tested at every product; other elementwise producers are inlined."""
        sch, pads = self.sch, []
        for block in sch.get_child_blocks(self.root):
            consumers = sch.get_consumers(block)
            if self._reduces(block) or not consumers:
                continue
            if self._reduces(consumers[0]):
                pads.append(block)
            else:
                sch.compute_inline(block)
        return pads

    def _reduces(self, block: Any) -> bool:
        return any(v.iter_type != SPATIAL for v in self.sch.get(block).iter_vars)

    def _axes(self, block: Any) -> _Axes | None:
        """Return the axes: lanes are the last, channels one that the operand read along the lanes doesn't have."""
        stmt = self.sch.get(block)
        spatial = [v.var for v in stmt.iter_vars if v.iter_type == SPATIAL]
        reads = [{i for i, v in enumerate(spatial) if any(v.same_as(u) for u in _used(r))} for r in stmt.reads]
        last = len(spatial) - 1
        pixels = [used for used in reads if last in used]
        for axis in range(last):
            if any(axis in used for used in reads) and not any(axis in used for used in pixels):
                return _Axes(len(spatial), axis)
        return None

    def _tile(self, loops: list[Any], axes: _Axes, plan: RegisterTilePlan) -> tuple[list[Any], list[Any]]:
        sch = self.sch
        most = {axes.channels: MAX_CHANNELS, axes.dims - 1: MAX_LANES}
        channels, vectors = plan.guess
        guess = {axes.channels: channels, axes.dims - 1: vectors * self.vector}
        coarse: dict[int, Any] = {}
        fine: dict[int, Any] = {}
        for axis, loop in enumerate(loops):
            if axis == 0 and axes.channels != 0:  # the batch is no part of a tile
                coarse[axis] = loop
                continue
            extent = int(sch.get(loop).extent)
            fit = max(d for d in range(1, guess.get(axis, 1) + 1) if extent % d == 0)
            factors = sch.sample_perfect_tile(loop, 2, most.get(axis, MAX_ROWS), decision=[extent // fit, fit])
            coarse[axis], fine[axis] = sch.split(loop, factors)
        blocks = coarse.pop(axes.channels)
        outer = list(coarse.values())
        place = {"hwc": len(outer), "hcw": len(outer) - 1, "chw": min(1, len(outer))}[plan.order]
        outer.insert(place, blocks)
        lanes = fine.pop(axes.dims - 1)
        inner = [*fine.values(), lanes]
        sch.reorder(*outer, *inner)
        if axes.channels != 0 and len(outer) > 1:
            outer[:2] = [sch.fuse(*outer[:2])]
        return outer, inner

    def _reduce(self, block: Any, at: Any, tile: int) -> None:
        """Schedule the block inside the tile: products outside, the tile inside, a small window unrolled."""
        sch = self.sch
        sch.compute_at(block, at, preserve_unit_loops=True)
        kinds = [v.iter_type for v in sch.get(block).iter_vars]
        loops = sch.get_loops(block)[-len(kinds) :]
        window = [lp for lp, kind in zip(loops, kinds, strict=True) if kind != SPATIAL]
        space = [lp for lp, kind in zip(loops, kinds, strict=True) if kind == SPATIAL]
        first, *small = window
        extent = int(sch.get(first).extent)
        factors = sch.sample_perfect_tile(first, 2, MAX_UNROLL, decision=[extent, 1])
        first, unrolled = sch.split(first, factors)
        sch.reorder(first, *small, unrolled, *space)
        for loop in [lp for lp in small if int(sch.get(lp).extent) <= MAX_WINDOW] + [unrolled, *space[:-1]]:
            sch.unroll(loop)
        sch.vectorize(space[-1])

    def _rows(self, block: Any) -> None:
        """Schedule a block of its own: rows in parallel; LLVM vectorizes what is innermost."""
        loops = self.sch.get_loops(block)
        self.sch.parallel(self.sch.fuse(*loops[:-1]) if len(loops) > 1 else loops[0])


@dataclass(frozen=True)
class _Axes:
    dims: int
    channels: int


def _used(region: Any) -> set[Any]:
    return {v for axis in region.region for v in collect_vars_used_in_prim_expr(axis.min)}
