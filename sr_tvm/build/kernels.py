"""What an artifact tells of its kernels: device, calls, schedule, tuning record."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tvm
import tvm_ffi
from tvm import relax, tirx
from tvm.s_tir.stmt import SBlock

from sr_tvm.build.records import RecordFolder
from sr_tvm.codegen.kernel import ESTIMATED, RECORD_ATTR, SCHEDULE_ATTR, TUNED
from sr_tvm.passes.streamed import is_streamed


def rows(mod: tvm.IRModule, device: str) -> tuple[dict[str, Any], ...]:
    """List the kernels of a scheduled module in the order of their first call.

    Args:
        mod: The module, whose kernels carry their schedule's name.
        device: That they run on, as TVM names it.

    Returns:
        Rows of ``kernel``, ``device``, ``calls``, ``schedule`` ("tuned" or "default"), ``record`` where a tuning record
        made it, and ``reduces``: whether it sums over loops that do not stream, which is slow without a schedule.
    """
    calls: dict[str, int] = {}

    def visit(node: Any) -> None:
        if isinstance(node, relax.Call) and node.op == tvm.ir.Op.get("relax.call_tir"):
            name = node.args[0].name_hint
            calls[name] = calls.get(name, 0) + 1

    relax.analysis.post_order_visit(mod["main"], visit)
    return tuple(_row(name, mod[name], device, count) for name, count in calls.items())


def _row(name: str, function: tirx.PrimFunc, device: str, calls: int) -> dict[str, Any]:
    row: dict[str, Any] = {"kernel": name, "device": device, "calls": calls}
    row["schedule"] = str(function.attrs[SCHEDULE_ATTR])
    if RECORD_ATTR in function.attrs:
        row["record"] = str(function.attrs[RECORD_ATTR])
    row["reduces"] = not is_streamed(function) and _reduces(function)
    return row


def _reduces(function: tirx.PrimFunc) -> bool:
    found: list[bool] = []

    def visit(block: SBlock) -> None:
        found.append(any(v.iter_type == tirx.IterVar.CommReduce for v in block.iter_vars))

    tvm_ffi.structural_walk(function.body, (SBlock, visit))
    return any(found)


def computing_in(mod: tvm.IRModule, found: Sequence[dict[str, Any]], dtype: str) -> int:
    """Count the kernels that have a buffer of an element type.

    Args:
        mod: The scheduled module.
        found: Its kernels, as :func:`rows` lists them.
        dtype: The element type's name.

    Returns:
        How many there are.
    """
    return sum(any(dtype in str(p.ty.dtype) for p in mod[row["kernel"]].params) for row in found)


def notes(
    found: Sequence[dict[str, Any]], sources: Sequence[RecordFolder], database: str | Path | None
) -> tuple[str, ...]:
    """Say which records the kernels come from; that records were named and none fits, too.

    Args:
        found: The kernels, as :func:`rows` lists them.
        sources: The records that the build had.
        database: The folder of records that was named, if one was.

    Returns:
        Lines for people.
    """
    tuned = [row for row in found if row["schedule"] == TUNED]
    used = [source for source in sources if any(row.get("record", "").startswith(source.label) for row in tuned)]
    said = []
    if used:
        where = " and ".join(source.title for source in used)
        said.append(f"{len(tuned)} of {len(found)} kernels scheduled by {where}")
    guessed = sum(row.get("record", "").endswith(ESTIMATED) for row in tuned)
    if guessed:
        said.append(f"{guessed} kernels as estimated by machine code, a first guess: tune on the device to be sure")
    if database is not None and all(source.folder != Path(database) for source in used):
        named = Path(database).name
        said.append(f"0 of {len(found)} kernels scheduled by the tuning records {named}: none of them fits")
    return tuple(said)
