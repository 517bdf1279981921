"""How long the parts of a small search took, kept in its work folder: a run that goes on there adds to it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sr_tvm.system import files

SCHEMA, VERSION = "sr-tvm/search-small-time", 1


class Spent:
    """Seconds by the clock and on the CPU, of each part, over all runs in a work folder.

    ``all_known`` is False for good once a part was killed, which leaves no note of its time, and in a folder whose
    checkpoints are older than such notes.
    """

    def __init__(self, work: Path) -> None:
        self.path = work / "seconds.json"
        self.parts: dict[str, list[float]] = {}
        self.all_known = not any(work.glob("*/checkpoint*"))
        if self.path.exists():
            told = files.read_json(self.path, SCHEMA, VERSION)
            self.parts = told["parts"]
            self.all_known = told["all_known"] and told["begun"] is None

    @contextmanager
    def on(self, part: str) -> Iterator[None]:
        """Count what is done within it, also if that is interrupted."""
        clock, busy = time.monotonic(), time.process_time()
        self._write(part)
        try:
            yield
        finally:
            before = self.parts.get(part, [0.0, 0.0])
            self.parts[part] = [before[0] + time.monotonic() - clock, before[1] + time.process_time() - busy]
            self._write(None)

    def seconds(self, part: str) -> float:
        return round(self.parts[part][0], 1)

    @property
    def minutes(self) -> tuple[float, float]:
        """By the clock and on the CPU, of all parts."""
        clock, busy = (sum(part[i] for part in self.parts.values()) for i in (0, 1))
        return round(clock / 60, 1), round(busy / 60, 1)

    def _write(self, begun: str | None) -> None:
        told = {"parts": self.parts, "begun": begun, "all_known": self.all_known}
        files.write_json(self.path, {"schema": SCHEMA, "version": VERSION, **told})
