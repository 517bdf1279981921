"""A run folder: summary.json and the files it names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sr_tvm.errors import SrTvmError
from sr_tvm.report.summary import Summary
from sr_tvm.system import files
from sr_tvm.system.validation import read_file

SCHEMA, VERSION = "sr-tvm/run", 1
SUMMARY = "summary.json"


def load(folder: str | Path) -> Summary:
    """Read the summary of a run.

    Args:
        folder: Of the run.

    Returns:
        The summary, with every field checked.

    Raises:
        SrTvmError: The folder or its summary is missing, is not one of ours, or has a field of a wrong kind.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise SrTvmError(f"{folder}: no such folder; name a run, such as runs/demo ('sr-tvm demo' makes one)")
    if not (folder / SUMMARY).exists():
        raise SrTvmError(f"{folder}: no {SUMMARY} in it; name a run, such as runs/demo ('sr-tvm demo' makes one)")
    path = folder / SUMMARY
    return read_file(Summary, files.read_json(path, SCHEMA, VERSION), str(path))


def save(folder: str | Path, summary: Summary) -> Path:
    """Write the summary of a run, atomically, with schema and version added.

    Args:
        folder: Of the run; made if it is missing.
        summary: As far as the run has come.

    Returns:
        The path of summary.json.

    Raises:
        SrTvmError: The folder cannot be written.
    """
    path = Path(folder) / SUMMARY
    files.write_json(path, {"schema": SCHEMA, "version": VERSION, **summary.to_json()})
    return path


def inside(folder: Path, name: Any, field: str) -> Path:
    """Find a file that a summary names. A summary may come from anyone: only files below its folder are read.

    Args:
        folder: Of the run.
        name: What the summary says, of any type.
        field: Where it says so, for the message.

    Returns:
        The path of a file that exists.

    Raises:
        SrTvmError: The name leads out of the folder, or there is no such file.
    """
    if not isinstance(name, str) or not name or "\0" in name:
        raise SrTvmError(f"{folder / SUMMARY}: field {field} is {name!r}; a file name is expected")
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise SrTvmError(f"{folder / SUMMARY}: field {field} is {name!r}, which leads out of the run folder")
    if not path.is_file():
        raise SrTvmError(f"{path}: no such file, though {SUMMARY} names it in {field}; run the step again")
    return path
