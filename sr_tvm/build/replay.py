"""Replay of tuning records: kernels found in a MetaSchedule database get the best schedule it holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tvm
import tvm_ffi
from tvm import relax
from tvm.s_tir.meta_schedule.database import JSONDatabase

SCHEDULED = "tirx.is_scheduled"


def scheduled(function: Any) -> bool:
    """Tell whether a function is a kernel that already has its schedule.

    Args:
        function: Any function of a Relax module.

    Returns:
        True for a kernel that is marked so.
    """
    attrs = getattr(function, "attrs", None)
    return isinstance(function, tvm.tirx.PrimFunc) and attrs is not None and bool(attrs.get(SCHEDULED, False))


def replay(mod: tvm.IRModule, database: Any, target: tvm.target.Target) -> tuple[tvm.IRModule, dict[str, str]]:
    """Apply the records of a MetaSchedule database to kernels without a schedule.

    Args:
        mod: The fused module.
        database: Of MetaSchedule.
        target: TVM's, that the records are for.

    Returns:
        The module, and the structural hash of each kernel that a record was found for, by the kernel's name.
    """
    before = {var.name_hint: function for var, function in mod.functions_items() if not scheduled(function)}
    with target, database, tvm.transform.PassContext(opt_level=3):
        mod = relax.transform.MetaScheduleApplyDatabase()(mod)
    now = {var.name_hint for var, function in mod.functions_items() if scheduled(function)}
    return mod, {name: structural_key(function) for name, function in before.items() if name in now}


def structural_key(node: Any) -> str:
    """Hash the structure of a function or module: names and addresses don't count, everything else does.

    Args:
        node: The function or module.

    Returns:
        16 hexadecimal digits.
    """
    return f"{tvm_ffi.structural_hash(node) & (2**64 - 1):016x}"


def keep_records(mod: tvm.IRModule, database: Any, target: tvm.target.Target, folder: Path) -> int:
    """Copy the records that :func:`replay` would use into a database of their own; without any, no folder is made.

    Args:
        mod: The fused module.
        database: Of MetaSchedule.
        target: TVM's, that the records are for.
        folder: Of the copy.

    Returns:
        How many records there were.
    """
    normalize = tvm.get_global_func("tvm.s_tir.meta_schedule.normalize_mod")
    found = []
    for var, function in mod.functions_items():
        if isinstance(function, tvm.tirx.PrimFunc) and not scheduled(function):
            record = database.query_tuning_record(normalize(function), target, var.name_hint)
            if record is not None:
                found.append(record)
    if found:
        folder.mkdir(exist_ok=True)
        kept = JSONDatabase(work_dir=str(folder))
        for record in found:
            kept.commit_workload(record.workload.mod)
            kept.commit_tuning_record(record)
    return len(found)
