"""The rule for what is cheap enough to be computed again wherever it is read."""

from __future__ import annotations

from typing import Any

from tvm import s_tir

from sr_tvm.targets.cpu.schedule.blocks import branches, name_of, reduces


def apply(sch: s_tir.Schedule, block: Any, vector_bytes: int) -> tuple[str, ...] | None:
    """Inline an elementwise producer, but not a padding into a reduction: it would be tested at every product.

    Args:
        sch: The schedule of a kernel, which is changed.
        block: One of its blocks.
        vector_bytes: Bytes of a vector; without effect on this rule.

    Returns:
        The name of the block that is gone; None, and nothing is changed, where the rule does not apply.
    """
    consumers = sch.get_consumers(block)
    if reduces(sch, block) or len(consumers) != 1:
        return None
    if reduces(sch, consumers[0]) and branches(sch, block):
        return None
    name = name_of(sch, block)
    try:
        sch.compute_inline(block)
    except s_tir.ScheduleError:
        return None
    return (name,)
