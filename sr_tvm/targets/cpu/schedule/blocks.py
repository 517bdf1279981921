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
    """Read the name of a block.

    Args:
        sch: The schedule of a kernel.
        block: One of its blocks.

    Returns:
        Its name hint, by which the rules tell the kernel's blocks apart.
    """
    return str(sch.get(block).name_hint)


def extents_of(sch: s_tir.Schedule, block: Any) -> list[int]:
    """Give the lengths of a block's loops.

    Args:
        sch: The schedule of a kernel.
        block: One of its blocks.

    Returns:
        Turns of each loop around the block, the outermost first.

    Raises:
        TypeError: A length is not known before the kernel runs.
    """
    return [int(sch.get(loop).extent) for loop in sch.get_loops(block)]


def vector_of(sch: s_tir.Schedule, block: Any, vector_bytes: int) -> int:
    """Count the elements of a block's result that a vector holds.

    Args:
        sch: The schedule of a kernel.
        block: One of its blocks.
        vector_bytes: Bytes of a vector.

    Returns:
        Elements of the type of the block's first output, 1 or more.
    """
    bits = tvm.DataType(str(sch.get(block).writes[0].source.dtype)).bits
    return max(1, vector_bytes * 8 // bits)


def reduces(sch: s_tir.Schedule, block: Any) -> bool:
    """Tell whether a block makes each element of its result from many, as a sum or a maximum does.

    Args:
        sch: The schedule of a kernel.
        block: One of its blocks.

    Returns:
        True where one of its axes is no axis of the result.
    """
    return any(v.iter_type != SPATIAL for v in sch.get(block).iter_vars)


def branches(sch: s_tir.Schedule, block: Any) -> bool:
    """Tell whether a block asks where it is, as a padding does.

    Args:
        sch: The schedule of a kernel.
        block: One of its blocks.

    Returns:
        True where its code has a condition.
    """
    return bool(tvm.get_global_func("s_tir.schedule.HasIfThenElse")(sch.get(block)))


def lanes_of(extent: int, vector: int) -> int | None:
    """Choose the lanes of one step along an axis, such that they divide it.

    A remainder would be tested lane by lane, which LLVM takes minutes to compile and does slowly.

    Args:
        extent: Length of the axis.
        vector: Elements of a vector.

    Returns:
        Elements of a step, at most two vectors of them; None where no divisor fills half a vector, as for a prime.
    """
    if extent <= 2 * vector:
        return extent
    best = max((d for d in range(1, 2 * vector + 1) if extent % d == 0), key=lambda d: d / math.ceil(d / vector))
    return best if best * 2 >= vector else None


def make_tasks(sch: s_tir.Schedule, loops: list[Any]) -> None:
    """Run the outermost of some loops in parallel.

    Only as many as make :data:`PARALLEL` tasks are taken, so that a task stays long.

    Args:
        sch: The schedule of a kernel.
        loops: Loops that lie directly in one another, the outermost first; those taken are fused to one.
    """
    tasks, outer = 1, []
    for loop in loops:
        outer.append(loop)
        tasks *= int(sch.get(loop).extent)
        if tasks >= PARALLEL:
            break
    sch.parallel(sch.fuse(*outer))


def tile_of(sch: s_tir.Schedule, block: Any) -> Any:
    """Find the block that a reduction is to be computed in, tile by tile: the one that reads its result point by point.

    Where there is none, a copy of the result is added to the kernel.

    Args:
        sch: The schedule of a kernel.
        block: A block that reduces.

    Returns:
        The only block that reads the result, over the same axes; else the added one.
    """
    consumers = sch.get_consumers(block)
    if len(consumers) == 1 and _same_domain(sch, block, consumers[0]):
        return consumers[0]
    return sch.cache_write(block, 0, "global")


def _same_domain(sch: s_tir.Schedule, block: Any, consumer: Any) -> bool:
    """Return whether the consumer walks the block's result point by point, with the same loops."""
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
    """Find which of the block's axes a read depends on.

    Args:
        region: What the block reads of one buffer, as its TIR has it.
        iter_vars: The block's axes that are asked about.

    Returns:
        Positions in ``iter_vars``.
    """
    found = {v for axis in region.region for v in collect_vars_used_in_prim_expr(axis.min)}
    return {i for i, v in enumerate(iter_vars) if v.var in found}


def register_axis(reads: list[set[int]], dims: int) -> int | None:
    """Find an axis that the operand walked along the last axis does not depend on: its value serves many results.

    Args:
        reads: Of each operand, the positions of the axes that it depends on, as :func:`axes_of` gives them.
        dims: Axes of the result.

    Returns:
        Position of the first such axis (the output channels of a convolution); None where there is none.
    """
    pixels = [used for used in reads if dims - 1 in used]
    for axis in range(dims - 1):
        if any(axis in used for used in reads) and not any(axis in used for used in pixels):
            return axis
    return None
