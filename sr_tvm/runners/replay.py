"""Recorded measurements in place of a device: for tests, and to compare search strategies in seconds."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from typing_extensions import override

from sr_tvm.errors import SrTvmError
from sr_tvm.records.module import Module
from sr_tvm.records.timer import WALL, Timer
from sr_tvm.runners.base import Runner, Session, Times


class ReplayRunner(Runner):
    """Tells the recorded seconds of a module by its key.

    With an inner runner its sessions are opened, and inputs, loading and checks are theirs: only the times are not
    measured.

    Args:
        seconds: Of one call, by the key of the module.
        inner: The runner that loads and checks; None where nothing runs at all.
        capacity: Sessions that can be open side by side.
        delay: Seconds that pass for each time that is told.

    Raises:
        SrTvmError: From a session, for a module that the recording does not have.
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
        """Take the times of the one task that a tuning.json tells of.

        Args:
            path: The tuning.json.
            default_key: The key of the task's default, whose time stands there without one.
            **options: Further arguments of the runner.

        Returns:
            A runner that knows the default and every candidate that was measured.
        """
        value = json.loads(Path(path).read_text(encoding="utf-8"))
        (task,) = value["tasks"]
        seconds = {row["key"]: row["ms"] / 1e3 for row in value["history"] if row["ms"] is not None}
        return cls({**seconds, default_key: task["before_ms"] / 1e3}, **options)

    @property
    @override
    def clock(self) -> str:
        return self.inner.clock if self.inner else WALL

    @override
    def open(self, hold: float = 0.0) -> ReplaySession:
        return ReplaySession(self, self.inner.open(hold) if self.inner else None)

    @override
    def close(self) -> None:
        if self.inner:
            self.inner.close()


class ReplaySession(Session):
    """A session that measures nothing."""

    runner: ReplayRunner

    def __init__(self, runner: ReplayRunner, inner: Session | None) -> None:
        self.runner, self.inner = runner, inner

    @override
    def ask(
        self, operation: str, arrays: Sequence[np.ndarray] = (), *, seconds: float | None = None, **request: Any
    ) -> tuple[dict[str, Any], list[np.ndarray]]:
        if self.inner is None:
            return {"problem": None, "info": {}}, []
        return self.inner.ask(operation, arrays, seconds=seconds, **request)

    @override
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

    @override
    def expires_within(self, seconds: float) -> bool:
        return self.inner is not None and self.inner.expires_within(seconds)

    @override
    def close(self) -> None:
        if self.inner is not None:
            self.inner.close()
