"""One kernel being tuned by MetaSchedule's traces: its search, its measured candidates, its records."""

from __future__ import annotations

from typing import Any

from tvm.s_tir.meta_schedule.database import TuningRecord
from tvm.s_tir.meta_schedule.runner import RunnerResult
from typing_extensions import override

from sr_tvm.build.replay import structural_key
from sr_tvm.records.schedules import Tables
from sr_tvm.system import interrupts
from sr_tvm.tuning.bench import Timing
from sr_tvm.tuning.genetic import GeneticSettings
from sr_tvm.tuning.history import History
from sr_tvm.tuning.run import AskedCandidate, Run, in_order
from sr_tvm.tuning.strategy import GeneticStrategy, make_context
from sr_tvm.tuning.tasks import Task

ENDLESS = 2**31 - 1


class TaskRun(Run):
    """Generations of one kernel, on top of what the database and the history hold of it.

    Args:
        task: The kernel.
        settings: Of the genetic search.
        per_generation: Children of one generation.
        tables: MetaSchedule's databases: the population, and the records that compilation uses.
        history: Gets the trials.
    """

    task: Task

    def __init__(
        self, task: Task, settings: GeneticSettings, per_generation: int, tables: Tables, history: History
    ) -> None:
        super().__init__(task, history)
        self.tables, self.tvm_target = tables, task.target.tvm_target()
        rows = in_order(history.of(task.key))
        self.strategy = GeneticStrategy(settings, {t["key"]: t["generation"] for t in rows})
        self.context = make_context(task.mod, self.tvm_target, self.strategy, task.name, settings.seed)
        self.context.pre_tuning(ENDLESS, per_generation, database=tables.population)
        self.candidates: list[Any] = []
        self.results: dict[int, RunnerResult] = {}
        self._adopt({t["key"] for t in rows})

    def _adopt(self, known: set[str]) -> None:
        """Note in the history what a killed run recorded and did not come to write down there."""
        for individual in self.strategy.search.individuals.values():
            if individual.key not in known:
                asked = AskedCandidate(
                    self.task.candidate(individual.key, None), individual.order, individual.generation
                )
                self.note(asked, 0, Timing(individual.cost))

    @override
    def ask(self) -> tuple[list[AskedCandidate], int]:
        with interrupts.deferred():
            self.candidates = list(self.context.generate_measure_candidates() or ())
        self.results = {}
        search = self.strategy.search
        asked = []
        for candidate in self.candidates:
            key = structural_key(candidate.sch.mod)
            individual = search.individuals[key]
            asked.append(
                AskedCandidate(self.task.candidate(key, candidate.sch.mod), individual.order, individual.generation)
            )
        self.places = {one.place: i for i, one in enumerate(asked)}
        return asked, max(search.size, len(asked))

    @override
    def tell(self, asked: AskedCandidate, timing: Timing, row: dict[str, Any]) -> None:
        i, seconds = self.places[asked.place], timing.seconds
        with interrupts.deferred():
            if seconds is not None:
                self._record(self.tables.population, self.candidates[i], seconds)
                if seconds < self.before:
                    self._record(self.tables.records, self.candidates[i], seconds)
            self.results[i] = RunnerResult(None if seconds is None else [seconds], timing.error)

    @override
    def told_all(self) -> None:
        with interrupts.deferred():
            results = [self.results[i] for i in range(len(self.candidates))]
            self.context.notify_runner_results(self.candidates, results)

    def _record(self, database: Any, candidate: Any, seconds: float) -> None:
        workload = database.commit_workload(self.task.mod)
        record = TuningRecord(candidate.sch.trace, workload, [seconds], self.tvm_target, candidate.args_info)
        database.commit_tuning_record(record)

    @override
    def close(self) -> None:
        self.context.post_tuning()
