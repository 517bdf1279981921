"""Replay of tuning records: kernels found in a MetaSchedule database get the best schedule it holds."""

from __future__ import annotations

from typing import Any

import tvm
from tvm import relax

SCHEDULED = "tirx.is_scheduled"


def scheduled(function: Any) -> bool:
    """Whether a function is a kernel that already has its schedule."""
    attrs = getattr(function, "attrs", None)
    return isinstance(function, tvm.tirx.PrimFunc) and bool(attrs) and bool(attrs.get(SCHEDULED, False))


def replay(mod: tvm.IRModule, database: Any, target: tvm.target.Target) -> tuple[tvm.IRModule, set[str]]:
    """Apply the records of ``database``; returns the module and the names of the kernels that had one."""
    before = {var.name_hint for var, function in mod.functions_items() if scheduled(function)}
    with target, database, tvm.transform.PassContext(opt_level=3):
        mod = relax.transform.MetaScheduleApplyDatabase()(mod)
    return mod, {var.name_hint for var, function in mod.functions_items() if scheduled(function)} - before
