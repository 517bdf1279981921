"""Inside each fused kernel, make each run of elementwise blocks one block: a first load, a reduction, a last store."""

from __future__ import annotations

import contextlib

import tvm
from tvm.s_tir import Schedule, ScheduleError
from tvm.s_tir.schedule import SBlockRV
from tvm.s_tir.stmt import SBlockRealize

from sr_tvm.passes.streamed import is_streamed

ROOT = "root"


@tvm.transform.module_pass(opt_level=0, name="InlineBlocks")
class InlineBlocks:
    """Inline elementwise blocks into the elementwise block that follows, so that their intermediate buffers are gone.

    Arithmetic before a convolution goes into its padding block, which loads the input; bias, activation, residual and
    the shuffled store after it become one block. Reductions are never touched, so every target can still schedule them.
    """

    def transform_module(self, mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
        """Inline in every TIR function that is made of schedulable blocks and not streamed.

        Args:
            mod: A module after FuseTIR.

        Returns:
            A new module.
        """
        mod = mod.clone()
        for gvar, func in mod.functions_items():
            if isinstance(func, tvm.tirx.PrimFunc) and _has_blocks(func) and not is_streamed(func):
                mod.update_func(gvar, inline(func))
        return mod


def inline(func: tvm.tirx.PrimFunc) -> tvm.tirx.PrimFunc:
    """Inline each elementwise block of a function into the elementwise blocks that read it.

    What TIR's own checks do not allow to inline stays as it is.

    Args:
        func: A function of blocks under one root block, unscheduled.

    Returns:
        The function with as many blocks or fewer.
    """
    schedule = Schedule(tvm.IRModule({"main": func}))
    for block in _blocks(schedule):
        consumers = schedule.get_consumers(block)
        if _spatial(schedule, block) and consumers and all(_spatial(schedule, c) for c in consumers):
            with contextlib.suppress(ScheduleError):
                schedule.compute_inline(block)
    return schedule.mod["main"]


def _blocks(schedule: Schedule) -> list[SBlockRV]:
    return list(schedule.get_child_blocks(schedule.get_sblock(ROOT)))


def _has_blocks(func: tvm.tirx.PrimFunc) -> bool:
    """Return whether this is a TIR function made of schedulable blocks, as LegalizeOps makes them."""
    return isinstance(func.body, SBlockRealize) and func.body.block.name_hint == ROOT


def _spatial(schedule: Schedule, block: SBlockRV) -> bool:
    """Return whether every axis of the block is data parallel: it computes each element once, without accumulating."""
    return all(axis.iter_type == tvm.tirx.IterVar.DataPar for axis in schedule.get(block).iter_vars)
