"""One task being tuned: its search, its measured candidates, its best."""

from __future__ import annotations

import contextlib
import math
import signal
import threading
from collections.abc import Iterator
from typing import Any

from tvm.s_tir.meta_schedule.database import TuningRecord
from tvm.s_tir.meta_schedule.runner import RunnerResult

from sr_tvm.tuning.allocation import Progress
from sr_tvm.tuning.database import Tables
from sr_tvm.tuning.genetic import GeneticSettings
from sr_tvm.tuning.history import History
from sr_tvm.tuning.runner import Measurer, Timing
from sr_tvm.tuning.strategy import GeneticStrategy, make_context
from sr_tvm.tuning.tasks import Task
from sr_tvm.tuning.trace_genome import structural_key

# Slower than this many times the best, a candidate gets one look and no more.
CUTOFF = 3.0
ENDLESS = 2**31 - 1


@contextlib.contextmanager
def interrupts_deferred() -> Iterator[None]:
    """Ctrl-C waits for the end of the block: inside TVM it would be taken for a failed callback, or lost."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        raise KeyboardInterrupt


class TaskRun:
    """Generations of one task, on top of what the database and the history hold of it."""

    def __init__(
        self, task: Task, target: Any, settings: GeneticSettings, per_generation: int, tables: Tables, history: History
    ) -> None:
        self.task, self.target, self.tables, self.history = task, target, tables, history
        rows = history.of(task.key)
        self.strategy = GeneticStrategy(settings, {t["key"]: t["generation"] for t in rows})
        self.context = make_context(task.mod, target, self.strategy, task.name, settings.seed)
        self.context.pre_tuning(ENDLESS, per_generation, database=tables.population)
        self._adopt({t["key"] for t in rows})
        self.progress = Progress(task.weight)
        self.before = math.inf
        self.unfinished = False

    def _adopt(self, known: set[str]) -> None:
        """Records that a killed run did not come to write down in the history."""
        for individual in self.strategy.search.individuals.values():
            if individual.key not in known:
                self._note(individual.key, individual.generation, 0, Timing(individual.cost))

    def begin(self, before: float) -> None:
        """Rebuild the progress of finished generations; ``before``: seconds with the default schedule."""
        rows = self.history.of(self.task.key)
        self.before = before
        last = max((t["generation"] for t in rows), default=-1)
        of_last = [t for t in rows if t["generation"] == last]
        self.unfinished = bool(of_last) and len(of_last) < max(t["of"] for t in of_last)
        self.progress.bests = [before]
        for generation in range(last if self.unfinished else last + 1):
            times = [t["ms"] / 1e3 for t in rows if t["generation"] <= generation and t["ms"] is not None]
            self.progress.bests.append(min([before, *times]))

    @property
    def best(self) -> float:
        """Seconds: of the fastest candidate, or of the default schedule where none is faster."""
        return min([self.before, *(t["ms"] / 1e3 for t in self.history.of(self.task.key) if t["ms"] is not None)])

    def generation(self, measurer: Measurer) -> Iterator[dict[str, Any]]:
        """Measure one generation, yielding a history row after each candidate. Stop taking rows to stop measuring."""
        with interrupts_deferred():
            candidates = self.context.generate_measure_candidates()
        if not candidates:
            self.progress.exhausted = True
            return
        search = self.strategy.search
        keys = [structural_key(c.sch.mod) for c in candidates]
        of = max(search.size, len(keys))
        best, results = self.best, []
        for key, candidate in zip(keys, candidates, strict=True):
            timing = measurer.measure(candidate.sch.mod, best * CUTOFF)
            seconds = timing.seconds
            with interrupts_deferred():
                if seconds is not None:
                    self._record(self.tables.population, candidate, seconds)
                    if seconds < self.before:
                        self._record(self.tables.records, candidate, seconds)
                    best = min(best, seconds)
                results.append(RunnerResult(None if seconds is None else [seconds], timing.error))
                row = self._note(key, search.individuals[key].generation, of, timing)
            yield row
        with interrupts_deferred():
            self.context.notify_runner_results(candidates, results)
            self.progress.bests.append(best)
            self.unfinished = False

    def _record(self, database: Any, candidate: Any, seconds: float) -> None:
        workload = database.commit_workload(self.task.mod)
        record = TuningRecord(candidate.sch.trace, workload, [seconds], self.target, candidate.args_info)
        database.commit_tuning_record(record)

    def _note(self, key: str, generation: int, of: int, timing: Timing) -> dict[str, Any]:
        row = {
            "task": self.task.name,
            "workload": self.task.key,
            "key": key,
            "trial": len(self.history.trials) + 1,
            "generation": generation,
            "of": of,
            "ms": None if timing.seconds is None else timing.seconds * 1e3,
            "error": timing.error,
        }
        self.history.trials.append(row)
        return row

    def close(self) -> None:
        self.context.post_tuning()
