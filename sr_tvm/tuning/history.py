"""tuning.json: what a tuning run did, candidate by candidate, beside MetaSchedule's own two files."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from sr_tvm import files
from sr_tvm.errors import SrTvmError

SCHEMA, VERSION, NAME = "sr-tvm/tuning", 1, "tuning.json"
SAVE_EVERY_S = 5.0
FIELDS = {"target": str, "threads": int, "clock": str, "seed": int, "settings": dict, "tasks": list, "history": list}


class History:
    """Settings, tasks and trials of the runs in one folder.

    A task is {task, workload, weight, flops, before_ms, error}: ``workload`` is the kernel's structural hash,
    ``before_ms`` its time with the default schedule.

    A trial is {task, workload, key, trial, generation, of, ms, best_ms, total_ms, error}, in the order of measurement:
    ``key`` the candidate's structural hash, ``of`` how many its generation has, ``ms`` None if it failed, ``best_ms``
    of its task so far, ``total_ms`` of the whole model so far.
    """

    def __init__(self, folder: str | Path) -> None:
        self.path = Path(folder) / NAME
        self.target = self.clock = ""
        self.threads = self.seed = 0
        self.settings: dict[str, Any] = {}
        self.tasks: dict[str, dict[str, Any]] = {}
        self.trials: list[dict[str, Any]] = []
        self._saved = 0.0

    @classmethod
    def open(cls, folder: str | Path) -> History:
        """The history in a folder, an empty one if there is none yet.

        Raises:
            SrTvmError: the file there is not one of ours.
        """
        history = cls(folder)
        if not history.path.exists():
            return history
        value = files.read_json(history.path, SCHEMA, VERSION)
        for name, kind in FIELDS.items():
            if not isinstance(value.get(name), kind):
                raise SrTvmError(f"{history.path}: field {name} is missing or not a {kind.__name__}")
        history.target, history.threads, history.clock = value["target"], value["threads"], value["clock"]
        history.seed, history.settings, history.trials = value["seed"], value["settings"], value["history"]
        try:
            history.tasks = {t["workload"]: t for t in value["tasks"]}
            for t in history.trials:
                t["ms"] = None if t["ms"] is None else float(t["ms"])
                t["generation"], t["of"] = int(t["generation"]), int(t["of"])
                t["task"], t["workload"], t["key"] = str(t["task"]), str(t["workload"]), str(t["key"])
        except (KeyError, TypeError, ValueError) as error:
            raise SrTvmError(f"{history.path}: missing or wrong field: {error}") from None
        return history

    def of(self, workload: str) -> list[dict[str, Any]]:
        """The trials of one task."""
        return [t for t in self.trials if t["workload"] == workload]

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "version": VERSION,
            "target": self.target,
            "threads": self.threads,
            "clock": self.clock,
            "seed": self.seed,
            "settings": self.settings,
            "tasks": list(self.tasks.values()),
            "history": self.trials,
        }

    def save(self, now: bool = True) -> None:
        """Write the file, atomically; with ``now`` False only if it has been a while."""
        if now or time.monotonic() - self._saved > SAVE_EVERY_S:
            files.write_json(self.path, self.to_json())
            self._saved = time.monotonic()
