"""The rule for a product whose weights are read once: a fully connected layer of a small batch, bound by memory.

The weights (k, j) are walked in the order they lie in memory. A task owns a run of columns, its sums stay in L1, and a
few rows are added at a time so that a sum is loaded and stored once for all of them. Narrower runs than 4 KB leave
every page after a few lines, before the processor's prefetcher has seen the pattern: at 64 bytes a fifth of the speed.
"""

from __future__ import annotations

import math
from typing import Any

from tvm import s_tir, tirx

from sr_tvm.targets.cpu.schedule.blocks import extents_of, name_of, tile_of, vector_of

RUN = 1024  # columns of a task at most
ROWS = 8  # added at a time
MAX_BATCH = 8
MIN_WEIGHTS = 1 << 18  # below that they stay in the cache and a register tile is as good


def apply(sch: s_tir.Schedule, block: Any, vector_bytes: int) -> tuple[str, ...] | None:
    """Schedule a large product of a small batch; the block that writes its result becomes the runs of columns.

    Args:
        sch: The schedule of a kernel, which is changed.
        block: One of its blocks.
        vector_bytes: Bytes of a vector.

    Returns:
        The names of the product and of the block that writes its result; None, and nothing is changed, where the rule
        does not apply.

    Raises:
        TypeError: The length of a loop is not known before the kernel runs.
    """
    lanes = lanes_of(sch, block, vector_of(sch, block, vector_bytes))
    if lanes is None:
        return None
    tile = tile_of(sch, block)
    names = name_of(sch, block), name_of(sch, tile)
    *batch, columns = sch.get_loops(tile)
    run = _run(int(sch.get(columns).extent), lanes)
    task, columns = sch.split(columns, [None, run])
    sch.reorder(task, *batch, columns)
    _, vector = sch.split(columns, [None, lanes])
    sch.vectorize(vector)
    sch.parallel(task)
    sch.compute_at(block, task, preserve_unit_loops=True)
    *batch, columns, products = sch.get_loops(block)[1:]
    outer, rows = sch.split(products, [None, math.gcd(ROWS, int(sch.get(products).extent))])
    columns, vector = sch.split(columns, [None, lanes])
    sch.reorder(outer, columns, *batch, rows, vector)
    sch.unroll(rows)
    sch.vectorize(vector)
    sch.decompose_reduction(block, outer)
    return names


def lanes_of(sch: s_tir.Schedule, block: Any, vector: int) -> int | None:
    """Choose the lanes of a step along the columns of a product that this rule is for.

    It is for a batch of at most :data:`MAX_BATCH` and at least :data:`MIN_WEIGHTS` weights, read in the order they lie
    in memory.

    Args:
        sch: The schedule of a kernel.
        block: One of its blocks.
        vector: Elements of a vector.

    Returns:
        Elements of a step, a divisor of the columns; None for any other block, and where that is less than a quarter of
        a vector.

    Raises:
        TypeError: The length of a loop is not known before the kernel runs.
    """
    kinds = [v.iter_type == tirx.IterVar.CommReduce for v in sch.get(block).iter_vars]
    if len(kinds) < 2 or kinds != [False] * (len(kinds) - 1) + [True]:
        return None
    *batch, columns, products = extents_of(sch, block)
    lanes = math.gcd(columns, vector)
    if math.prod(batch) > MAX_BATCH or columns * products < MIN_WEIGHTS or lanes * 4 < vector:
        return None
    stmt = sch.get(block)
    axes = [v.var for v in stmt.iter_vars[:-3:-1]]
    return lanes if sum(_is_point(region, axes) for region in stmt.reads) == 1 else None


def _run(columns: int, lanes: int) -> int:
    """Return the columns of a task: a multiple of the lanes, the longest that divides all."""
    return max(run for run in range(lanes, max(RUN, lanes) + 1, lanes) if columns % run == 0)


def _is_point(region: Any, axes: list[Any]) -> bool:
    """Return whether a read is of the element that the axes name, in their order."""
    points = [axis.min for axis in region.region]
    return len(points) == len(axes) and all(p.same_as(a) for p, a in zip(points, axes, strict=True))
