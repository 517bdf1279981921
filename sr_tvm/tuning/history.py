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
from sr_tvm.system.validation import Count, Record, read, read_file

SCHEMA, VERSION, NAME, JOURNAL = "sr-tvm/tuning", 1, "tuning.json", "tuning-journal.jsonl"
SAVE_EVERY_S = 5.0


class TaskRow(Record, frozen=True, forbid_unknown_fields=False):
    """A task: ``workload`` is the kernel's structural hash, ``before_ms`` its time with the default schedule."""

    workload: str
    task: str = ""
    weight: Count = 1
    flops: float | None = None
    before_ms: float | None = None
    error: str | None = None


class TrialRow(Record, frozen=True, forbid_unknown_fields=False):
    """A trial: ``key`` is the candidate's structural hash, ``of`` the size of its generation, ``ms`` None if it failed.

    Told besides are ``trial``, ``best_ms`` of its task so far, ``total_ms`` of the whole model so far and ``error``; of
    a region its decisions.
    """

    task: str
    workload: str
    key: str
    generation: int
    of: int
    ms: float | None


class HistoryFile(Record, frozen=True, forbid_unknown_fields=False):
    """What tuning.json tells; tasks and trials are in the order of measurement."""

    target: str
    threads: Count
    clock: str
    seed: int
    settings: dict[str, Any]
    tasks: list[TaskRow]
    history: list[TrialRow]


class History:
    """Settings, tasks and trials of the runs in one folder; these are JSON, see :class:`TaskRow`, :class:`TrialRow`."""

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
        read_file(HistoryFile, value, str(history.path))
        history.target, history.threads, history.clock = value["target"], value["threads"], value["clock"]
        history.seed, history.settings = value["seed"], value["settings"]
        history.tasks = {t["workload"]: t for t in value["tasks"]}
        history.trials = value["history"]
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
                trial = json.loads(line)
                read(TrialRow, trial, "it")
            except (ValueError, RecursionError, SrTvmError) as error:
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
