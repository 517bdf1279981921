"""Give every kernel of a fused Relax module its schedule: a tuning record's, or the target's default."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import tvm

from sr_tvm.build.records import RecordFolder
from sr_tvm.build.replay import keep_records, replay
from sr_tvm.codegen.kernel import DEFAULT, RECORD_ATTR, SCHEDULE_ATTR, TUNED
from sr_tvm.records.schedules import RECORDS
from sr_tvm.targets.target import Target


def schedule(
    mod: tvm.IRModule, target: Target, sources: Sequence[RecordFolder] = (), keep: Path | None = None
) -> tvm.IRModule:
    """Schedule the kernels of a module that have no schedule yet; the first source with a record of a kernel decides.

    Each kernel then carries :data:`SCHEDULE_ATTR` and, if a record made it, :data:`RECORD_ATTR`.

    Args:
        mod: The fused module.
        target: Whose default schedule the other kernels get.
        sources: Folders of tuning records.
        keep: A folder that the used records are copied into, made only if there are any; None to copy none.

    Returns:
        The scheduled module.
    """
    tvm_target = target.tvm_target()
    for source in sources:
        if source.schedules is None:
            continue
        if keep is not None:
            keep_records(mod, source.schedules, tvm_target, keep)
        mod, replayed = replay(mod, source.schedules, tvm_target)
        for name, workload in replayed.items():
            told = {SCHEDULE_ATTR: TUNED, RECORD_ATTR: f"{source.label}{RECORDS}: workload {workload}"}
            mod[name] = mod[name].with_attr(told)
    mod = target.default_schedule(mod)
    for var, function in mod.functions_items():
        if isinstance(function, tvm.tirx.PrimFunc) and SCHEDULE_ATTR not in (function.attrs or {}):
            mod[var] = function.with_attr(SCHEDULE_ATTR, DEFAULT)
    return mod
