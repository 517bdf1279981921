"""Run folders as a stranger may write them: whatever is in the summary."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sr_tvm.report import run_folder
from sr_tvm.system import files


def write_summary(folder: Path, summary: dict[str, Any]) -> None:
    value = {"schema": run_folder.SCHEMA, "version": run_folder.VERSION, **summary}
    files.write_json(folder / run_folder.SUMMARY, value)
