"""The speed dataset: measurements, one JSON line each. Appending survives a crash at any moment."""

from __future__ import annotations

import fcntl
import json
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from sr_tvm.errors import SrTvmError
from sr_tvm.measurement import Measurement


@contextmanager
def _locked(path: Path, mode: str, lock: int) -> Iterator[IO[bytes]]:
    try:
        if "a" in mode:
            path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, mode) as handle:
            fcntl.flock(handle, lock)  # let go when the file is closed
            yield handle
    except FileNotFoundError:
        raise SrTvmError(f"{path}: no such file; 'sr-tvm speed collect -o {path}' makes one") from None
    except OSError as error:
        verb = "written" if "a" in mode else "read"
        raise SrTvmError(f"{path}: cannot be {verb}: {error.strerror or error}") from error


def _whole(line: bytes) -> bool:
    """Whether a last line without its newline is a record all the same."""
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def append(path: str | Path, measurement: Measurement) -> None:
    """Add one measurement; when this returns it is on the disk. Several processes may append at once.

    A half line at the end, left by a crash, is cut off first, with a warning.

    Raises:
        SrTvmError: the file cannot be written.
    """
    path = Path(path)
    record = json.dumps(measurement.to_json(), allow_nan=False).encode() + b"\n"
    fresh = not path.exists()
    with _locked(path, "a+b", fcntl.LOCK_EX) as handle:
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
    with _locked(path, "rb", fcntl.LOCK_SH) as handle:
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
            found.append(Measurement.from_json(value))
        except (ValueError, RecursionError, SrTvmError) as error:
            raise SrTvmError(f"{path}, line {number}: not a measurement ({str(error)[:150]})") from None
    return found
