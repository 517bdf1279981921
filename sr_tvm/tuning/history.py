"""The file tuning.json: what a tuning run did, candidate by candidate, beside MetaSchedule's own two files.

Writing it takes longer the more it holds, so trials go into a journal beside it first, one line each: what is done when
the process is killed is on disk. The next save takes the journal in.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from sr_tvm.errors import SrTvmError
from sr_tvm.system import files

SCHEMA, VERSION, NAME, JOURNAL = "sr-tvm/tuning", 1, "tuning.json", "tuning-journal.jsonl"
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
        self.path, self.journal = Path(folder) / NAME, Path(folder) / JOURNAL
        self.target = self.clock = ""
        self.threads = self.seed = 0
        self.settings: dict[str, Any] = {}
        self.tasks: dict[str, dict[str, Any]] = {}
        self.trials: list[dict[str, Any]] = []
        self._saved = 0.0

    @classmethod
    def open(cls, folder: str | Path) -> History:
        """Read the history in a folder, an empty one if there is none yet.

        Args:
            folder: Where tuning.json lies, or will.

        Returns:
            The history, with what a killed run left in the journal.

        Raises:
            SrTvmError: The file there is not one of ours.
        """
        history = cls(folder)
        if not history.path.exists():
            return history
        value = files.read_json(history.path, SCHEMA, VERSION)
        for name, kind in FIELDS.items():
            if not isinstance(value.get(name), kind):
                raise SrTvmError(f"{history.path}: field {name} is missing or not a {kind.__name__}")
        history.target, history.threads, history.clock = value["target"], value["threads"], value["clock"]
        history.seed, history.settings = value["seed"], value["settings"]
        try:
            history.tasks = {t["workload"]: t for t in value["tasks"]}
            history.trials = [_trial(t) for t in value["history"]]
        except (KeyError, TypeError, ValueError) as error:
            raise SrTvmError(f"{history.path}: missing or wrong field: {error}") from None
        history._take_journal()
        return history

    def _take_journal(self) -> None:
        """Take in trials that were not saved any more. A last line that is cut short is ignored, and measured again.

        Raises:
            SrTvmError: Another line is not one of ours.
        """
        if not self.journal.exists():
            return
        known = {(t["workload"], t["key"]) for t in self.trials}
        for line in self.journal.read_bytes().split(b"\n")[:-1]:
            try:
                trial = _trial(json.loads(line))
            except (KeyError, TypeError, ValueError) as error:
                raise SrTvmError(f"{self.journal}: not a line of ours ({error}); remove the file") from None
            if (trial["workload"], trial["key"]) not in known:
                self.trials.append(trial)

    def of(self, workload: str) -> list[dict[str, Any]]:
        """List the trials of one task.

        Args:
            workload: The task's key, which is the structural hash of a kernel.

        Returns:
            Its trials in order of measurement.
        """
        return [t for t in self.trials if t["workload"] == workload]

    def to_json(self) -> dict[str, Any]:
        """Give the contents of tuning.json.

        Returns:
            The fields of the file, with its schema and version.
        """
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

    def log(self, trial: dict[str, Any]) -> None:
        """Write down a trial that is done; now and then this saves as well.

        Args:
            trial: The last one of :attr:`trials`, with the fields that the class lists.
        """
        with self.journal.open("a", encoding="utf-8") as handle:
            handle.write(json.dumps(trial) + "\n")
        if time.monotonic() - self._saved > SAVE_EVERY_S:
            self.save()

    def save(self) -> None:
        """Write the file, atomically. The journal is in it then, and goes.

        Raises:
            SrTvmError: The folder can't be written.
        """
        files.write_json(self.path, self.to_json())
        self.journal.unlink(missing_ok=True)
        self._saved = time.monotonic()


def _trial(t: dict[str, Any]) -> dict[str, Any]:
    """Return a trial as read, its fields of the right types."""
    found = {**t, "ms": None if t["ms"] is None else float(t["ms"])}
    found |= {name: int(t[name]) for name in ("generation", "of")}
    return found | {name: str(t[name]) for name in ("task", "workload", "key")}
