"""Schedules for kernels nobody tuned: a few small rules, and the order they are tried in.

Plain, and the same for every processor: only the vector's width is asked. A kernel the rules do not understand keeps
TVM's plain loops, which are right and slow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tvm
from tvm import s_tir, tirx
from tvm.s_tir.dlight import ScheduleRule

from sr_tvm.targets.cpu.schedule import inline, matrix_vector, pool, register_tile, rows

# A rule takes a schedule, one of its blocks and the bytes of a vector, and returns the names of the blocks that have
# their schedule now; None, and nothing is changed, where it does not apply.
Rule = Callable[[s_tir.Schedule, Any, int], tuple[str, ...] | None]

# Each stage goes over the blocks that are left, and a block gets the first rule that applies. Reductions come before
# the rest, for they take the blocks that read them along.
STAGES: tuple[tuple[Rule, ...], ...] = (
    (inline.apply,),
    (pool.apply, matrix_vector.apply, register_tile.apply),
    (rows.apply,),
)


class CpuRules(ScheduleRule):
    """The rules as one of dlight's, for a processor with vectors of ``vector_bytes`` bytes."""

    def __init__(self, vector_bytes: int) -> None:
        self.vector_bytes = vector_bytes

    def apply(self, func: tirx.PrimFunc, target: tvm.target.Target, tunable: bool) -> s_tir.Schedule | None:
        """Schedule one kernel by the first of the rules that applies to each of its blocks.

        Args:
            func: The kernel, in plain loops.
            target: What it is compiled for; the rules ask for nothing but the width of a vector.
            tunable: Whether decisions may be left open; without effect, for the rules have none.

        Returns:
            The schedule; None where no rule applies, as to loops whose length is known only at run time.
        """
        try:
            sch = s_tir.Schedule(tvm.IRModule({"main": func}))
            return sch if _apply_stages(sch, self.vector_bytes) else None
        except (s_tir.ScheduleError, ValueError, TypeError):  # dynamic shapes, blocks that are not a plain nest
            return None


def _apply_stages(sch: s_tir.Schedule, vector_bytes: int) -> bool:
    """Apply the rules to the blocks of a kernel.

    Returns:
        Whether one of them did anything.
    """
    blocks = sch.get_child_blocks(sch.get_sblock("root"))
    left = {str(sch.get(block).name_hint): block for block in blocks}
    for rules in STAGES:
        for name, block in list(left.items()):
            if name in left:
                applied = (rule(sch, block, vector_bytes) for rule in rules)
                for done in next((names for names in applied if names is not None), ()):
                    left.pop(done, None)
    return len(left) < len(blocks)
