"""What there is to tune in a module: its unique kernels, how often each is called, how much each computes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tvm
from tvm.s_tir.analysis import estimate_tir_flops
from tvm.s_tir.meta_schedule.relax_integration import extract_tasks

from sr_tvm.errors import SrTvmError
from sr_tvm.tuning.trace_genome import structural_key

SCHEDULED = "tirx.is_scheduled"


@dataclass(frozen=True)
class Task:
    """One kernel: ``key`` is its structural hash, ``weight`` how often the model calls it, ``flops`` of one call."""

    name: str
    key: str
    mod: Any
    weight: int
    flops: float


def find_tasks(mod: tvm.IRModule, target: tvm.target.Target, none_is_fine: bool = False) -> list[Task]:
    """The kernels of a fused Relax module that have no schedule yet, in order of name.

    Raises:
        SrTvmError: there is nothing to tune, which is not fine.
    """
    found: dict[str, Task] = {}
    for task in extract_tasks(mod, target):
        kernel = task.dispatched[0]
        attrs = kernel["main"].attrs
        if attrs is not None and bool(attrs.get(SCHEDULED, False)):
            continue
        key = structural_key(kernel)
        found[key] = Task(str(task.task_name), key, kernel, int(task.weight), _flops(kernel))
    if not found and not none_is_fine:
        raise SrTvmError("nothing to tune: the module holds no unscheduled kernels; pass the optimized Relax module")
    return sorted(found.values(), key=lambda t: (t.name, t.key))


def _flops(kernel: tvm.IRModule) -> float:
    try:
        return float(estimate_tir_flops(kernel))
    except (ValueError, RuntimeError):  # loops it can't count; only shown, never needed
        return 0.0
