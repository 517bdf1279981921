"""Rows of the OpenCL benchmark made anew in a file that holds others: each row says when it was made."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sr_tvm.errors import SrTvmError

Row = dict[str, Any]
_KEY = ("part", "model", "variant", "gpu", "device", "input")
_OF_RUN = ("load_average_before", "load_average_after", "measured_again", "seed")


class Earlier:
    """The rows of an earlier result, and how they were made.

    Raises:
        SrTvmError: there is no such file, or it is no result of this benchmark.
    """

    def __init__(self, path: Path, name: str) -> None:
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            value = None
        if not isinstance(value, dict) or value.get("name") != name:
            raise SrTvmError(f"{path}: no result of the benchmark {name}, so nothing there can be updated")
        self.rows: list[Row] = value["rows"]
        self.method: dict[str, Any] = value["method"]
        for row in self.rows:
            row.setdefault("date", value["date"])

    def with_rows(self, rows: Sequence[Row]) -> list[Row]:
        """The earlier rows, those that were made again replaced, with the new ones at the end."""
        made = {_key(row): row for row in rows}
        kept = [made.pop(_key(row), row) for row in self.rows]
        return [*kept, *made.values()]

    def told(self, how: dict[str, Any], update: dict[str, Any]) -> dict[str, Any]:
        """How all rows were made: the earlier file's own settings, and a line for each update."""
        line = update | {key: how[key] for key in _OF_RUN if key in how}
        known = {key: self.method[key] for key in how if key in self.method}
        return how | known | {"recording": how["recording"], "updates": [*self.method.get("updates", []), line]}


def _key(row: Row) -> tuple[Any, ...]:
    return tuple(row.get(name) for name in _KEY)
