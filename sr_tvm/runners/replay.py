"""Recorded measurements in place of a device: for tests, and to compare search strategies in seconds."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sr_tvm.errors import SrTvmError
from sr_tvm.records.module import Module
from sr_tvm.records.timer import WALL, Timer
from sr_tvm.runners.base import Runner, Session, Times


class ReplayRunner(Runner):
    """Tells the recorded seconds of a module by its key.

    With an ``inner`` runner its sessions are opened, and inputs, loading and checks are theirs: only the times are not
    measured. ``delay`` seconds pass for each that is told.

    Raises:
        SrTvmError: from a session, for a module that the recording does not have.
    """

    deadline, threads = float("inf"), 1

    def __init__(
        self, seconds: Mapping[str, float], inner: Runner | None = None, capacity: int = 1, delay: float = 0.0
    ) -> None:
        self.seconds, self.inner, self.delay = dict(seconds), inner, delay
        self.capacity = inner.capacity if inner else capacity
        self.name = f"recording of {inner.name}" if inner else "recording"

    @classmethod
    def of_history(cls, path: str | Path, default_key: str, **options: Any) -> ReplayRunner:
        """Take the times of the one task in a tuning.json; ``default_key`` is its default's."""
        value = json.loads(Path(path).read_text(encoding="utf-8"))
        (task,) = value["tasks"]
        seconds = {row["key"]: row["ms"] / 1e3 for row in value["history"] if row["ms"] is not None}
        return cls({**seconds, default_key: task["before_ms"] / 1e3}, **options)

    @property
    def clock(self) -> str:
        return self.inner.clock if self.inner else WALL

    def open(self, hold: float = 0.0) -> ReplaySession:
        return ReplaySession(self, self.inner.open(hold) if self.inner else None)

    def close(self) -> None:
        if self.inner:
            self.inner.close()


class ReplaySession(Session):
    """A session that measures nothing."""

    runner: ReplayRunner

    def __init__(self, runner: ReplayRunner, inner: Session | None) -> None:
        self.runner, self.inner = runner, inner

    def ask(
        self, operation: str, arrays: Sequence[np.ndarray] = (), *, seconds: float | None = None, **request: Any
    ) -> tuple[dict[str, Any], list[np.ndarray]]:
        if self.inner is None:
            return {"problem": None, "info": {}}, []
        return self.inner.ask(operation, arrays, seconds=seconds, **request)

    def time(
        self, module: Module, timer: Timer, arrays: Sequence[np.ndarray] = (), reference: Module | None = None,
        cutoff: float | None = None, seconds: float | None = None,
    ) -> Times:  # fmt: skip
        time.sleep(self.runner.delay)
        told = tuple(self._recorded(m) for m in (module, reference) if m is not None)
        return Times(told[:1], told[1:])

    def _recorded(self, module: Module) -> float:
        if module.key not in self.runner.seconds:
            raise SrTvmError(f"the recording has no time of {module.key}")
        return self.runner.seconds[module.key]

    def expires_within(self, seconds: float) -> bool:
        return self.inner is not None and self.inner.expires_within(seconds)

    def close(self) -> None:
        if self.inner is not None:
            self.inner.close()
