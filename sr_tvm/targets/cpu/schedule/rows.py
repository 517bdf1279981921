"""The rule for everything that is no reduction: rows of vectors."""

from __future__ import annotations

from typing import Any

from tvm import s_tir

from sr_tvm.targets.cpu.schedule.blocks import branches, lanes_of, make_tasks, name_of, reduces, vector_of


def apply(sch: s_tir.Schedule, block: Any, vector_bytes: int) -> tuple[str, ...] | None:
    """Run a block's outer loops in parallel and the innermost in vectors.

    Args:
        sch: The schedule of a kernel, which is changed.
        block: One of its blocks.
        vector_bytes: Bytes of a vector.

    Returns:
        The name of the block; None, and nothing is changed, for a block that reduces.

    Raises:
        TypeError: The length of a loop is not known before the kernel runs.
    """
    if reduces(sch, block):
        return None
    *outer, last = sch.get_loops(block)
    lanes = lanes_of(int(sch.get(last).extent), vector_of(sch, block, vector_bytes))
    if lanes is not None and not branches(sch, block):
        rest, vector = sch.split(last, [None, lanes])
        sch.vectorize(vector)
        outer.append(rest)
    if outer:
        make_tasks(sch, outer)
    return (name_of(sch, block),)
