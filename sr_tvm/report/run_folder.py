"""A run folder: summary.json and the files it names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sr_tvm import files
from sr_tvm.errors import SrTvmError

SCHEMA, VERSION = "sr-tvm/run", 1
SUMMARY = "summary.json"


def load(folder: str | Path) -> dict[str, Any]:
    """The summary of a run.

    Raises:
        SrTvmError: the folder or its summary is missing, or is not one of ours.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise SrTvmError(f"{folder}: no such folder; name a run, such as runs/demo ('sr-tvm demo' makes one)")
    if not (folder / SUMMARY).exists():
        raise SrTvmError(f"{folder}: no {SUMMARY} in it; name a run, such as runs/demo ('sr-tvm demo' makes one)")
    return files.read_json(folder / SUMMARY, SCHEMA, VERSION)


def save(folder: str | Path, summary: dict[str, Any]) -> Path:
    """Write ``summary`` into the folder, atomically, with schema and version added."""
    path = Path(folder) / SUMMARY
    files.write_json(path, {"schema": SCHEMA, "version": VERSION, **summary})
    return path


def inside(folder: Path, name: Any, field: str) -> Path:
    """The path of a file that a summary names. A summary may come from anyone: only files below its folder are read.

    Raises:
        SrTvmError: the name leads out of the folder, or there is no such file.
    """
    if not isinstance(name, str) or not name or "\0" in name:
        raise SrTvmError(f"{folder / SUMMARY}: field {field} is {name!r}; a file name is expected")
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise SrTvmError(f"{folder / SUMMARY}: field {field} is {name!r}, which leads out of the run folder")
    if not path.is_file():
        raise SrTvmError(f"{path}: no such file, though {SUMMARY} names it in {field}; run the step again")
    return path
