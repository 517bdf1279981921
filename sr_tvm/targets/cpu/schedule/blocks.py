"""What the rules ask about a kernel's blocks, and the choices that several of them make alike."""

from __future__ import annotations

import math
from typing import Any

import tvm
from tvm import s_tir, tirx
from tvm.s_tir.dlight.analysis import collect_vars_used_in_prim_expr

SPATIAL = tirx.IterVar.DataPar
PARALLEL = 256  # tasks: enough for any phone's cores
MAX_UNROLLED = 128  # products written out; more only makes code that takes long to compile


def name_of(sch: s_tir.Schedule, block: Any) -> str:
    return str(sch.get(block).name_hint)


def extents_of(sch: s_tir.Schedule, block: Any) -> list[int]:
    """Give the lengths of a block's loops.

    Raises:
        TypeError: one is not known before the kernel runs.
    """
    return [int(sch.get(loop).extent) for loop in sch.get_loops(block)]


def vector_of(sch: s_tir.Schedule, block: Any, vector_bytes: int) -> int:
    """Count the elements of a block's result that a vector holds."""
    bits = tvm.DataType(str(sch.get(block).writes[0].source.dtype)).bits
    return max(1, vector_bytes * 8 // bits)


def reduces(sch: s_tir.Schedule, block: Any) -> bool:
    """Tell whether a block sums, or finds the largest of, many elements for one of its result."""
    return any(v.iter_type != SPATIAL for v in sch.get(block).iter_vars)


def branches(sch: s_tir.Schedule, block: Any) -> bool:
    """Tell whether a block asks where it is, as a padding does."""
    return bool(tvm.get_global_func("s_tir.schedule.HasIfThenElse")(sch.get(block)))


def lanes_of(extent: int, vector: int) -> int | None:
    """Choose the lanes of one step along an axis, dividing it; None where no good number does, as for a prime.

    A remainder would be tested lane by lane, which LLVM takes minutes to compile and does slowly.
    """
    if extent <= 2 * vector:
        return extent
    best = max((d for d in range(1, 2 * vector + 1) if extent % d == 0), key=lambda d: d / math.ceil(d / vector))
    return best if best * 2 >= vector else None


def make_tasks(sch: s_tir.Schedule, loops: list[Any]) -> None:
    """Run the outermost of these loops in parallel: only as many as make tasks enough, so that a task stays long."""
    tasks, outer = 1, []
    for loop in loops:
        outer.append(loop)
        tasks *= int(sch.get(loop).extent)
        if tasks >= PARALLEL:
            break
    sch.parallel(sch.fuse(*outer))


def tile_of(sch: s_tir.Schedule, block: Any) -> Any:
    """Find the block that a reduction is to be computed in, tile by tile: the one that reads its result point by point.

    Where there is none, a copy of the result is added.
    """
    consumers = sch.get_consumers(block)
    if len(consumers) == 1 and _same_domain(sch, block, consumers[0]):
        return consumers[0]
    return sch.cache_write(block, 0, "global")


def _same_domain(sch: s_tir.Schedule, block: Any, consumer: Any) -> bool:
    """Tell whether the consumer walks the block's result point by point, with the same loops."""
    dims = sum(v.iter_type == SPATIAL for v in sch.get(block).iter_vars)
    if reduces(sch, consumer) or extents_of(sch, consumer) != extents_of(sch, block)[:dims]:
        return False
    stmt = sch.get(consumer)
    result = sch.get(block).writes[0].source
    for region in stmt.reads:
        if region.source.same_as(result):
            points = [r.min for r in region.region]
            return len(points) == dims and all(p.same_as(v.var) for p, v in zip(points, stmt.iter_vars, strict=True))
    return False


def axes_of(region: Any, iter_vars: list[Any]) -> set[int]:
    """Find which of the block's axes a read depends on, by position."""
    found = {v for axis in region.region for v in collect_vars_used_in_prim_expr(axis.min)}
    return {i for i, v in enumerate(iter_vars) if v.var in found}


def register_axis(reads: list[set[int]], dims: int) -> int | None:
    """Find an axis that the operand walked along the last axis does not depend on: its value serves many results."""
    pixels = [used for used in reads if dims - 1 in used]
    for axis in range(dims - 1):
        if any(axis in used for used in reads) and not any(axis in used for used in pixels):
            return axis
    return None
