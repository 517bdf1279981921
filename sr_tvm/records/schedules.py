"""MetaSchedule databases on disk: opened safely after a crash, merged, and trimmed for shipping."""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout
from tvm.s_tir.meta_schedule.database import JSONDatabase

from sr_tvm import shipped
from sr_tvm.errors import SrTvmError
from sr_tvm.records.region_decisions import RegionRecords, file_in
from sr_tvm.system import files

WORKLOADS, RECORDS = "database_workload.json", "database_tuning_record.json"
POPULATION, LOCK = "population", ".lock"
log = logging.getLogger(__name__)


def open_database(folder: str | Path, create: bool = True) -> Any:
    """Open the JSONDatabase in a folder; lines that a crash left half-written are dropped, with a warning.

    Args:
        folder: Where it lies.
        create: Whether the folder and the database are made where they are missing. False opens a copy for reading, and
            nothing in the folder is touched: a search may be at work there.

    Returns:
        TVM's JSONDatabase.

    Raises:
        SrTvmError: The folder can't be written, holds no database and ``create`` is False, or TVM can't read it.
    """  # noqa: DOC501  PermissionError is caught below
    folder = Path(folder)
    if not create:
        return _read_copy(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _repair(folder)
        if not os.access(folder, os.W_OK):
            raise PermissionError(None, "permission denied")
    except OSError as error:
        raise SrTvmError(_unusable(folder, error)) from None
    return _opened(folder, folder)


def _read_copy(folder: Path) -> Any:
    # TVM reads a database whole when it opens it, so the repaired copy may go at once.
    if not (folder / WORKLOADS).is_file():
        raise SrTvmError(f"{folder}: no tuning database there ({WORKLOADS} is missing); make one with 'sr-tvm tune'")
    with tempfile.TemporaryDirectory(prefix="sr-tvm-records-") as name:
        copy = Path(name)
        try:
            # Records first: a search writes a workload before the records that name it.
            for file in (RECORDS, WORKLOADS):
                if (folder / file).exists():
                    (copy / file).write_bytes((folder / file).read_bytes())
            _repair(copy, folder)
        except OSError as error:
            raise SrTvmError(_unusable(folder, error)) from None
        return _opened(copy, folder)


def _unusable(folder: Path, error: OSError) -> str:
    reason = error.strerror or error
    return f"cannot use {folder} for tuning records: {reason}; name a folder of your own"


def _opened(folder: Path, shown: Path) -> Any:
    try:
        return JSONDatabase(work_dir=str(folder))
    except Exception as error:
        reason = str(error).splitlines()[-1][:120]
        raise SrTvmError(f"{shown}: not a MetaSchedule database of this TVM ({reason})") from None


class Tables(NamedTuple):
    """The two databases of a folder, as TVM's JSONDatabase.

    Attributes:
        records: What a build replays: only what beat the default schedule, so that a replay never makes a kernel
            slower.
        population: Every candidate that ran: the search goes on from it.
    """

    records: Any
    population: Any


@contextlib.contextmanager
def open_tables(folder: str | Path) -> Iterator[Tables]:
    """Open the records in a folder and the population beside them, and lock the folder meanwhile.

    A population that is missing starts from the records. Records name their workloads by line number, and two writers
    would mix them up.

    Args:
        folder: Where they lie; it is made where it is missing.

    Yields:
        The two databases, to be written to.

    Raises:
        SrTvmError: Another process has the lock; else as :func:`open_database`.
    """
    folder = Path(folder)
    with _locked(folder):
        records = open_database(folder)
        fresh = not (folder / POPULATION / RECORDS).exists()
        population = open_database(folder / POPULATION)
        if fresh:
            for record in records.get_all_tuning_records():
                population.commit_workload(record.workload.mod)
                population.commit_tuning_record(record)
        yield Tables(records, population)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    # The kernel lets go of the lock when its holder dies; the file stays, since removing it would race.
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK).acquire(blocking=False)
    except Timeout:
        raise SrTvmError(f"{folder}: another 'sr-tvm tune' is at work there; wait or use another folder") from None
    except OSError as error:
        raise SrTvmError(_unusable(folder, error)) from None
    with lock:
        yield


def _is_workload(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(v, str) for v in value)


def _is_record(value: Any, workloads: int) -> bool:
    if not (isinstance(value, list) and len(value) == 2 and isinstance(value[0], int) and isinstance(value[1], list)):
        return False
    return 0 <= value[0] < workloads and len(value[1]) == 4


def _repair(folder: Path, shown: Path | None = None) -> None:
    """Keep the whole lines of both files; warnings name the folder ``shown``."""
    workloads = _keep_whole(folder / WORKLOADS, _is_workload, shown or folder)
    # Records name workloads by line: past the last whole one they hang in the air.
    _keep_whole(folder / RECORDS, lambda v: _is_record(v, workloads), shown or folder)


def _keep_whole(path: Path, whole: Callable[[Any], bool], shown: Path) -> int:
    """Keep a file's whole lines; of workloads only those before the first broken one may stay.

    Returns:
        How many stay.
    """
    if not path.exists():
        return 0
    lines = path.read_bytes().split(b"\n")
    good = []
    for line in lines:
        try:
            fine = bool(line.strip()) and whole(json.loads(line))
        except (ValueError, RecursionError):
            fine = False
        if fine:
            good.append(line)
        elif line.strip() and path.name == WORKLOADS:
            break
    text = b"".join(line + b"\n" for line in good)
    if text != b"\n".join(lines):
        dropped = sum(bool(line.strip()) for line in lines) - len(good)
        if dropped:
            log.warning("%s: dropped %d half-written line(s), left by an interrupted run", shown / path.name, dropped)
        with files.atomic_file(path) as partial:
            partial.write_bytes(text)
    return len(good)


def drop_slower(folder: str | Path, limits: dict[str, float]) -> int:
    """Remove the records of kernels that are not faster than a limit.

    Args:
        folder: Where the database lies.
        limits: Seconds by a kernel's structural hash, 16 hexadecimal digits as in :mod:`trace_genome`; kernels that are
            not among them stay.

    Returns:
        How many records were removed.
    """
    path = Path(folder) / RECORDS
    workloads = (Path(folder) / WORKLOADS).read_text(encoding="utf-8").splitlines()
    keys = [f"{int(json.loads(line)[0]):016x}" for line in workloads]
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)

    def fast(line: str) -> bool:
        index, (_, seconds, *_) = json.loads(line)
        return min(seconds) < limits.get(keys[index], float("inf"))

    kept = [line for line in lines if fast(line)]
    if len(kept) < len(lines):
        with files.atomic_file(path) as partial:
            partial.write_text("".join(kept), encoding="utf-8")
    return len(lines) - len(kept)


def shipped_folders(target_name: str, root: str | Path | None = None) -> tuple[Path, ...]:
    """List the folders with records that are shipped for a target.

    Args:
        target_name: Of the target.
        root: Where folders lie by target; None for what is shipped with the package.

    Returns:
        The folders, in order of name.
    """
    root = shipped.tuning_logs() if root is None else Path(root)
    return tuple(sorted(p for p in (root / target_name).glob("*/") if has_schedules(p) or file_in(p)))


def has_schedules(folder: str | Path) -> bool:
    """Tell whether a folder holds records of MetaSchedule.

    Args:
        folder: The folder, which need not be there.

    Returns:
        True where its file of workloads is there.
    """
    return (Path(folder) / WORKLOADS).is_file()


def export_best(database_dir: str | Path, out_dir: str | Path, top: int = 1, meta: dict[str, Any] | None = None) -> int:
    """Write the fastest records of each kernel and the decisions of streaming regions into a folder, for shipping.

    The JSON of its database is without white space.

    Args:
        database_dir: Where the records of a search lie; nothing there is touched.
        out_dir: The folder that is made.
        top: Records of each kernel.
        meta: Device, command, date and versions, which go to meta.json beside the records.

    Returns:
        How many records there are, those of regions among them.

    Raises:
        SrTvmError: There are no finished records, or a folder can't be read or written.
    """
    source = open_database(database_dir, create=False)
    rows = RegionRecords.open([database_dir])
    with files.atomic_folder(out_dir) as partial:
        rows.save(partial)
        count = len(rows.records) + _export_kernels(source, partial, top)
        if not count:
            raise SrTvmError(f"{database_dir}: no finished records to export; run 'sr-tvm tune' first")
        files.write_json(partial / "meta.json", {"schema": "sr-tvm/tuning-log", "version": 1, **(meta or {})})
    return count


def _export_kernels(source: Any, folder: Path, top: int) -> int:
    records = source.get_all_tuning_records()
    if not records:
        return 0
    target = JSONDatabase(work_dir=str(folder))
    seen: list[Any] = []
    count = 0
    for record in records:
        if any(record.workload.same_as(w) for w in seen):
            continue
        seen.append(record.workload)
        for best in source.get_top_k(record.workload, top):
            target.commit_workload(best.workload.mod)
            target.commit_tuning_record(best)
            count += 1
    workloads = folder / WORKLOADS
    packed = [_pack(line) for line in workloads.read_text(encoding="utf-8").splitlines()]
    workloads.write_text("".join(packed), encoding="utf-8")
    return count


def _pack(line: str) -> str:
    """Return the line of a workload with its JSON without indentation, a third of the size.

    A workload is base64 of a length and the JSON.
    """
    key, text = json.loads(line)
    raw = base64.b64decode(text)
    body = json.dumps(json.loads(raw[8:]), separators=(",", ":")).encode()
    packed = base64.b64encode(len(body).to_bytes(8, "little") + body).decode()
    return json.dumps([key, packed], separators=(",", ":")) + "\n"
