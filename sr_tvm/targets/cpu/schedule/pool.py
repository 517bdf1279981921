"""The rule for pooling of long rows.

The window goes outside, the row inside and is left to LLVM, which loads strided pixels by shuffles where vectors of
TVM's would be gathered one by one.
"""

from __future__ import annotations

import math
from typing import Any

from tvm import s_tir

from sr_tvm.targets.cpu.schedule.blocks import (
    MAX_UNROLLED,
    SPATIAL,
    branches,
    extents_of,
    make_tasks,
    name_of,
    reduces,
    vector_of,
)


def apply(sch: s_tir.Schedule, block: Any, vector_bytes: int) -> tuple[str, ...] | None:
    """Schedule a reduction of one input over a small window, the kernel's last block.

    Args:
        sch: The schedule of a kernel, which is changed.
        block: One of its blocks.
        vector_bytes: Bytes of a vector; a row has at least two vectors.

    Returns:
        The name of the block; None, and nothing is changed, where the rule does not apply.

    Raises:
        TypeError: The length of a loop is not known before the kernel runs.
    """
    stmt = sch.get(block)
    if not reduces(sch, block) or len(stmt.reads) != 1 or sch.get_consumers(block) or branches(sch, block):
        return None
    kinds = [v.iter_type for v in stmt.iter_vars]
    space = kinds.index(next(kind for kind in kinds if kind != SPATIAL))
    loops, extents = sch.get_loops(block), extents_of(sch, block)
    window = loops[space:]
    if SPATIAL in kinds[space:] or space < 2 or math.prod(extents[space:]) > MAX_UNROLLED:
        return None
    if extents[space - 1] < 2 * vector_of(sch, block, vector_bytes):  # what is left of a row goes one by one
        return None
    name = name_of(sch, block)
    outer, row = loops[: space - 1], loops[space - 1]
    sch.reorder(*outer, *window, row)
    for loop in window:
        sch.unroll(loop)
    make_tasks(sch, outer)
    sch.decompose_reduction(block, window[0])
    return (name,)
