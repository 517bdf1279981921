"""One kernel being tuned by MetaSchedule's traces: its search, its measured candidates, its records."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import tvm
from tvm.s_tir.meta_schedule.database import TuningRecord
from tvm.s_tir.meta_schedule.runner import RunnerResult

from sr_tvm.tuning.database import Tables
from sr_tvm.tuning.genetic import GeneticSettings
from sr_tvm.tuning.history import History
from sr_tvm.tuning.run import CUTOFF, Run, interrupts_deferred
from sr_tvm.tuning.runner import Measurer, Timing
from sr_tvm.tuning.strategy import GeneticStrategy, make_context
from sr_tvm.tuning.tasks import Task
from sr_tvm.tuning.trace_genome import structural_key

ENDLESS = 2**31 - 1


class TaskRun(Run):
    """Generations of one kernel, on top of what the database and the history hold of it.

    ``default_schedule`` gives a module's kernel the schedule that a build gives it without a record.
    """

    task: Task

    def __init__(
        self,
        task: Task,
        target: Any,
        settings: GeneticSettings,
        per_generation: int,
        tables: Tables,
        history: History,
        default_schedule: Callable[[Any], Any],
    ) -> None:
        super().__init__(task, history)
        self.target, self.tables, self.default_schedule = target, tables, default_schedule
        rows = history.of(task.key)
        self.strategy = GeneticStrategy(settings, {t["key"]: t["generation"] for t in rows})
        self.context = make_context(task.mod, target, self.strategy, task.name, settings.seed)
        self.context.pre_tuning(ENDLESS, per_generation, database=tables.population)
        self._adopt({t["key"] for t in rows})

    def _adopt(self, known: set[str]) -> None:
        """Records that a killed run did not come to write down in the history."""
        for individual in self.strategy.search.individuals.values():
            if individual.key not in known:
                self.note(individual.key, individual.generation, 0, Timing(individual.cost))

    def open(self, measurer: Measurer) -> Timing:
        # Default schedules are put into the module they are given: a copy.
        copy = tvm.IRModule(dict(self.task.mod.functions_items()))
        return measurer.open_task(self.task.mod, self.default_schedule(copy))

    def generation(self, measurer: Measurer) -> Iterator[dict[str, Any]]:
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
                row = self.note(key, search.individuals[key].generation, of, timing)
            yield row
        with interrupts_deferred():
            self.context.notify_runner_results(candidates, results)
            self.progress.bests.append(best)
            self.unfinished = False

    def _record(self, database: Any, candidate: Any, seconds: float) -> None:
        workload = database.commit_workload(self.task.mod)
        record = TuningRecord(candidate.sch.trace, workload, [seconds], self.target, candidate.args_info)
        database.commit_tuning_record(record)

    def close(self) -> None:
        self.context.post_tuning()
