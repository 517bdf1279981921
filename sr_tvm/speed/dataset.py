"""The speed dataset: measurements, one JSON line each. Appending survives a crash at any moment."""

from __future__ import annotations

import contextlib
import json
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from filelock import FileLock

from sr_tvm.errors import SrTvmError
from sr_tvm.records.architecture import Architecture
from sr_tvm.records.measurement import Measurement
from sr_tvm.system import files
from sr_tvm.system.validation import Positive, Record, plain, read


def _lock(path: Path) -> FileLock:
    """The lock of a file, in a file of its own beside it, by whatever name it is opened."""
    real = Path(os.path.realpath(path))
    return FileLock(real.with_name(f".{real.name}.lock"))


@contextlib.contextmanager
def _opened(path: Path, mode: str) -> Iterator[IO[bytes]]:
    try:
        if "a" in mode:
            path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, mode) as handle:
            yield handle
    except OSError as error:
        reason = error.strerror or error
        if "a" in mode:
            raise SrTvmError(f"{path}: cannot be written: {reason}; name a place that can be") from error
        if isinstance(error, FileNotFoundError):
            raise SrTvmError(f"{path}: no such file; 'sr-tvm speed collect -o {path}' makes one") from None
        raise SrTvmError(f"{path}: cannot be read: {reason}") from error


def _whole(line: bytes) -> bool:
    """Whether a last line without its newline is a record all the same."""
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


class GroupConditions(Record, frozen=True, forbid_unknown_fields=False):
    """Those of a measurement's that a group is made of."""

    threads: Positive = 1
    schedule: str = ""
    clock: str = ""


def _checked(m: Measurement) -> Measurement:
    """The measurement, if its conditions and architecture are what a group and a sample are made of.

    Raises:
        SrTvmError: one is not; the message names it.
    """
    read(GroupConditions, plain(m.conditions), "a measurement", "conditions")
    if m.architecture is not None:
        Architecture.from_json(m.architecture, "field architecture")
    return m


def append(path: str | Path, measurement: Measurement) -> None:
    """Add one measurement; when this returns it is on the disk. Several processes may append at once.

    A half line at the end, left by a crash, is cut off first, with a warning.

    Raises:
        SrTvmError: the file cannot be written, or a field has a wrong type: no line that :func:`load` would refuse.
    """
    path = Path(path)
    record = json.dumps(_checked(measurement).to_json(), allow_nan=False).encode() + b"\n"
    fresh = not path.exists()
    with _opened(path, "a+b") as handle, _lock(path):
        tail = _last_line(handle)
        if tail and _whole(tail):
            record = b"\n" + record
        elif tail:
            warnings.warn(f"{path}: half a line at its end, left by a crash, was cut off", stacklevel=2)
            handle.truncate(handle.seek(0, os.SEEK_END) - len(tail))
        handle.write(record)
        handle.flush()
        os.fsync(handle.fileno())
    if fresh:
        # The file's name in its folder must reach the disk too.
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def check_writable(path: str | Path) -> None:
    """Refuse, before the work, a file that :func:`append` could not write. Changes nothing.

    Raises:
        SrTvmError: what is in the way.
    """
    path = Path(path)
    if not path.exists():
        files.check_writable(path)
        return
    with _opened(path, "ab"):
        pass


def _last_line(handle: IO[bytes], step: int = 1 << 16) -> bytes:
    """What follows the last newline."""
    end = handle.seek(0, os.SEEK_END)
    tail = b""
    while end > 0 and b"\n" not in tail:
        begin = max(0, end - step)
        handle.seek(begin)
        tail = handle.read(end - begin) + tail
        end = begin
    return tail.rpartition(b"\n")[2]


def load(path: str | Path) -> list[Measurement]:
    """All measurements, in the order they were added.

    Half a line at the end, left by a crash, is dropped with a warning. Nothing else is passed over.

    Raises:
        SrTvmError: no such file, or a line is not a measurement; the message names the line.
    """
    path = Path(path)
    with _opened(path, "rb") as handle, contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # in a folder that can only be read nobody appends
            stack.enter_context(_lock(path))
        lines = handle.read().split(b"\n")
    last = lines.pop()
    if last and _whole(last):
        lines.append(last)
    elif last:
        warnings.warn(f"{path}: half a line at its end, left by a crash, is left out", stacklevel=2)
    found = []
    for number, line in enumerate(lines, 1):
        try:
            value = json.loads(line)
            if not isinstance(value, dict):
                raise SrTvmError("not a JSON object")
            found.append(_checked(Measurement.from_json(value)))
        except (ValueError, RecursionError, SrTvmError) as error:
            raise SrTvmError(f"{path}, line {number}: not a measurement ({str(error)[:150]})") from None
    return found
