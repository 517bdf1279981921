"""Schedules for kernels nobody tuned: register tiles for reductions, rows of vectors for the rest.

Plain, and the same for every processor: only the vector's width is asked. A kernel it does not understand keeps TVM's
plain loops, which are right and slow.
"""

from __future__ import annotations

import math
from typing import Any

import tvm
from tvm import s_tir, tirx
from tvm.s_tir.dlight.analysis import collect_vars_used_in_prim_expr

from sr_tvm.build.replay import SCHEDULED, scheduled
from sr_tvm.targets.cpu.schedule import matrix_vector

PARALLEL = 256  # tasks: enough for any phone's cores
MAX_ROWS, ODD_ROWS = 12, 4  # channels of a register tile; of a tile that is a whole row, which LLVM vectorises
MAX_UNROLLED = 128  # products written out; more only makes code that takes long to compile
STACK_BYTES = 1024  # TVM puts local buffers below this on the stack, and LLVM then keeps them in registers
SPATIAL = tirx.IterVar.DataPar


def default_schedules(mod: tvm.IRModule, vector_bytes: int) -> tvm.IRModule:
    """Schedule every kernel of ``mod`` that has no schedule, for vectors of ``vector_bytes``."""
    for var, function in mod.functions_items():
        if isinstance(function, tirx.PrimFunc) and not scheduled(function):
            mod[var] = schedule_kernel(function, vector_bytes).with_attr(SCHEDULED, True)
    return mod


def schedule_kernel(function: tirx.PrimFunc, vector_bytes: int) -> tirx.PrimFunc:
    """A schedule of one kernel; the kernel as it was where the rules do not apply."""
    try:
        sch = s_tir.Schedule(tvm.IRModule({"main": function}))
        _Kernel(sch, vector_bytes).run()
        return sch.mod["main"]
    except (s_tir.ScheduleError, ValueError, TypeError):  # dynamic shapes, blocks that are not a plain nest
        return function


class _Kernel:
    def __init__(self, sch: s_tir.Schedule, vector_bytes: int) -> None:
        self.sch, self.vector_bytes = sch, vector_bytes
        self.root = sch.get_sblock("root")

    def run(self) -> None:
        self._inline()
        plain = {self._name(b): b for b in self._blocks() if not self._is_reduction(b)}
        for block in self._blocks():
            if self._is_reduction(block) and not self._pool(block):
                plain.pop(self._reduction(block), None)
        for block in plain.values():
            self._rows(block)

    def _blocks(self) -> list[Any]:
        return list(self.sch.get_child_blocks(self.root))

    def _name(self, block: Any) -> str:
        return str(self.sch.get(block).name_hint)

    def _is_reduction(self, block: Any) -> bool:
        return any(v.iter_type != SPATIAL for v in self.sch.get(block).iter_vars)

    def _extents(self, block: Any) -> list[int]:
        return [int(self.sch.get(loop).extent) for loop in self.sch.get_loops(block)]

    def _inline(self) -> None:
        """Inline elementwise producers, but not a padding into a reduction: it would be tested at every product."""
        for block in self._blocks():
            consumers = self.sch.get_consumers(block)
            if self._is_reduction(block) or len(consumers) != 1:
                continue
            if self._is_reduction(consumers[0]) and _branches(self.sch.get(block)):
                continue
            try:
                self.sch.compute_inline(block)
            except s_tir.ScheduleError:
                continue

    def _rows(self, block: Any) -> None:
        """Outer loops in parallel, the innermost in vectors."""
        loops = self.sch.get_loops(block)
        *outer, last = loops
        extent = int(self.sch.get(last).extent)
        lanes = _lanes(extent, self._vector(block))
        if lanes is not None and not _branches(self.sch.get(block)):
            rest, vector = self.sch.split(last, [None, lanes])
            self.sch.vectorize(vector)
            outer.append(rest)
        if outer:
            self.sch.parallel(self.sch.fuse(*self._enough(outer)))

    def _enough(self, loops: list[Any]) -> list[Any]:
        """The outermost loops that make tasks enough for all cores, so that a task stays long."""
        tasks = 1
        for count, loop in enumerate(loops, 1):
            tasks *= int(self.sch.get(loop).extent)
            if tasks >= PARALLEL:
                return loops[:count]
        return loops

    def _vector(self, block: Any) -> int:
        bits = tvm.DataType(str(self.sch.get(block).writes[0].source.dtype)).bits
        return max(1, self.vector_bytes * 8 // bits)

    def _pool(self, block: Any) -> bool:
        """Pooling of long rows: the window outside, the row inside and left to LLVM, which loads strided pixels by
        shuffles where vectors of TVM's would be gathered one by one. False where the block is anything else."""
        sch, stmt = self.sch, self.sch.get(block)
        if len(stmt.reads) != 1 or sch.get_consumers(block) or _branches(stmt):
            return False
        kinds = [v.iter_type for v in stmt.iter_vars]
        space = kinds.index(next(kind for kind in kinds if kind != SPATIAL))
        loops, extents = sch.get_loops(block), self._extents(block)
        window = loops[space:]
        if SPATIAL in kinds[space:] or space < 2 or math.prod(extents[space:]) > MAX_UNROLLED:
            return False
        if extents[space - 1] < 2 * self._vector(block):  # what is left of a row goes one by one
            return False
        outer, row = loops[: space - 1], loops[space - 1]
        sch.reorder(*outer, *window, row)
        for loop in window:
            sch.unroll(loop)
        sch.parallel(sch.fuse(*self._enough(outer)))
        sch.decompose_reduction(block, window[0])
        return True

    def _reduction(self, block: Any) -> str:
        """Tile the one consumer by channels and pixels, reduce in registers inside it; returns the tile's name."""
        sch = self.sch
        spatial = [v for v in sch.get(block).iter_vars if v.iter_type == SPATIAL]
        reads = [_used(region, spatial) for region in sch.get(block).reads]
        consumers = sch.get_consumers(block)
        if len(consumers) == 1 and self._same_domain(block, consumers[0], len(spatial)):
            tile = consumers[0]
        else:
            tile = sch.cache_write(block, 0, "global")
        steps = matrix_vector.lanes_of(sch, block, self._vector(block))
        if steps is not None:
            matrix_vector.schedule(sch, block, tile, steps)
            return self._name(tile)
        loops = sch.get_loops(tile)
        if len(loops) != len(spatial) or not loops:
            return self._name(tile)
        width = int(sch.get(loops[-1]).extent)
        vector = self._vector(block)
        register = _register_axis(reads, len(spatial))
        lanes = _lanes(width, 2 * vector if register is None else vector)
        most = ODD_ROWS if lanes is None else min(MAX_ROWS, (STACK_BYTES - 1) * vector // self.vector_bytes // lanes)
        rows = 1 if register is None else _rows_of(int(sch.get(loops[register]).extent), most)
        outer, inner = loops[:-1], []
        if register is not None:
            outer[register], fine = sch.split(loops[register], [None, rows])
            inner.append(fine)
        coarse, fine = sch.split(loops[-1], [None, width if lanes is None else lanes])
        outer.append(coarse)
        inner.append(fine)
        sch.reorder(*outer, *inner)
        window = self._reduce_in(block, outer[-1], rows, lanes is not None)
        for loop in inner[:-1]:
            sch.unroll(loop)
        if lanes is not None:
            sch.vectorize(inner[-1])
        sch.parallel(sch.fuse(*self._enough(outer)))
        if window is not None:  # last: no loop of a decomposed reduction can be vectorised
            sch.decompose_reduction(block, window)
        return self._name(tile)

    def _reduce_in(self, block: Any, loop: Any, rows: int, vectors: bool) -> Any:
        """Compute the block inside a tile's loop, products outside and pixels inside; returns the first of those."""
        sch = self.sch
        sch.compute_at(block, loop, preserve_unit_loops=True)
        kinds = [v.iter_type for v in sch.get(block).iter_vars]
        loops = sch.get_loops(block)[-len(kinds) :]
        space = [lp for lp, kind in zip(loops, kinds, strict=True) if kind == SPATIAL]
        window = [lp for lp, kind in zip(loops, kinds, strict=True) if kind != SPATIAL]
        *fixed, last = space
        # A row that is left to LLVM goes outside the channels: one loop for it to look at, not one for each channel.
        sch.reorder(*window, *((*fixed, last) if vectors else (last, *fixed)))
        if vectors:
            sch.vectorize(last)
        for lp in fixed:
            sch.unroll(lp)
        products = rows if vectors else MAX_UNROLLED + 1
        for lp in reversed(window[1:]):
            products *= int(sch.get(lp).extent)
            if products > MAX_UNROLLED:
                break
            sch.unroll(lp)
        return window[0] if window else None

    def _same_domain(self, block: Any, consumer: Any, dims: int) -> bool:
        """Whether the consumer walks the block's result point by point, with the same loops."""
        if self._is_reduction(consumer) or self._extents(consumer) != self._extents(block)[:dims]:
            return False
        stmt = self.sch.get(consumer)
        result = self.sch.get(block).writes[0].source
        for region in stmt.reads:
            if region.source.same_as(result):
                points = [r.min for r in region.region]
                return len(points) == dims and all(
                    p.same_as(v.var) for p, v in zip(points, stmt.iter_vars, strict=True)
                )
        return False


def _branches(block: Any) -> bool:
    return bool(tvm.get_global_func("s_tir.schedule.HasIfThenElse")(block))


def _used(region: Any, iter_vars: list[Any]) -> set[int]:
    """Which of the block's axes a read depends on, by position."""
    found = {v for axis in region.region for v in collect_vars_used_in_prim_expr(axis.min)}
    return {i for i, v in enumerate(iter_vars) if v.var in found}


def _register_axis(reads: list[set[int]], dims: int) -> int | None:
    """An axis that the operand walked along the last axis does not depend on: its value is used for many results."""
    pixels = [used for used in reads if dims - 1 in used]
    for axis in range(dims - 1):
        if any(axis in used for used in reads) and not any(axis in used for used in pixels):
            return axis
    return None


def _lanes(extent: int, vector: int) -> int | None:
    """Lanes of one step along an axis, dividing it; None where no good number does, as for a prime.

    A remainder would be tested lane by lane, which LLVM takes minutes to compile and does slowly.
    """
    if extent <= 2 * vector:
        return extent
    best = max((d for d in range(1, 2 * vector + 1) if extent % d == 0), key=lambda d: d / math.ceil(d / vector))
    return best if best * 2 >= vector else None


def _rows_of(extent: int, most: int) -> int:
    """Rows of a register tile: fewest tiles, then the least waste."""
    if extent <= most:
        return extent
    exact = [d for d in range(max(1, most // 2), most + 1) if extent % d == 0]
    return max(exact) if exact else most
