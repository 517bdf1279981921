"""One streaming region being tuned: its search, its measured decisions, its record."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from sr_tvm.errors import SrTvmError
from sr_tvm.regions.data import region_hash
from sr_tvm.targets.cpu.rows.decisions import Decisions
from sr_tvm.targets.cpu.rows.space import RowSpace, key_of
from sr_tvm.tuning.genetic import GeneticSearch, GeneticSettings, Individual
from sr_tvm.tuning.history import History
from sr_tvm.tuning.region_task import RegionTask
from sr_tvm.tuning.row_records import RowRecord, RowRecords
from sr_tvm.tuning.run import CUTOFF, Run
from sr_tvm.tuning.runner import Measurer, Timing


class RegionRun(Run):
    """Generations of one region. The history's trials hold the decisions, so they are the population; ``records``, in
    ``folder``, gets the best."""

    task: RegionTask

    def __init__(
        self,
        task: RegionTask,
        settings: GeneticSettings,
        per_generation: int,
        records: RowRecords,
        folder: Path,
        history: History,
    ) -> None:
        super().__init__(task, history)
        self.per_generation, self.records, self.folder = per_generation, records, folder
        machine, rows = task.lowering.processor, history.of(task.key)
        self.key = (region_hash(task.region), task.shape, machine.lanes, machine.registers)
        # A record of an earlier search, which began with other defaults, is a candidate here.
        self.stranger = records.records.get(self.key)
        if self.stranger and key_of(self.stranger.decisions) in {row["key"] for row in rows}:
            self.stranger = None
        known = [self.stranger.decisions] if self.stranger else []
        self.space = RowSpace(task.lowering, task.region, task.shape, known)
        self.search = GeneticSearch(self.space, settings, task.key)
        self.search.restore(self._measured(row, place) for place, row in enumerate(rows))

    def _measured(self, row: dict[str, Any], place: int) -> Individual[Decisions]:
        where = f"{self.history.path}, trial {row.get('trial')}"
        if "decisions" not in row:
            raise SrTvmError(f"{where}: the decisions are missing")
        genome = self.space.repair(Decisions.from_json(row["decisions"], where))
        cost = math.inf if row["ms"] is None else row["ms"] / 1e3
        return Individual(row["key"], genome, row["generation"], place, cost)

    def begin(self, before: float) -> None:
        super().begin(before)
        self.settle()  # a killed run may have come to note a trial, but not its record

    def open(self, measurer: Measurer) -> Timing:
        """After the first time the default's time stands: candidates are measured against it, in turns."""
        timing = measurer.open_region(self.task, self.space.default)
        return timing if math.isinf(self.before) or timing.seconds is None else Timing(self.before)

    def _measure(self, measurer: Measurer, decisions: Decisions, best: float) -> Timing:
        """One candidate's time. What seems faster than all before is measured twice: it may just be lucky."""
        timing = self._relative(measurer.measure_region(decisions, best * CUTOFF))
        if timing.seconds is None or timing.seconds >= best:
            return timing
        again = self._relative(measurer.measure_region(decisions, best * CUTOFF))
        if again.seconds is None:
            return again
        return replace(timing, seconds=max(timing.seconds, again.seconds))

    def _relative(self, timing: Timing) -> Timing:
        """The time it would have taken while the default took ``before``."""
        if timing.seconds is None or not timing.reference:
            return timing
        return replace(timing, seconds=timing.seconds / timing.reference * self.before)

    def generation(self, measurer: Measurer) -> Iterator[dict[str, Any]]:
        candidates: list[Individual[Decisions]] = []
        while not candidates:  # a restored generation that was complete gives nothing: the one after it does
            candidates = self.search.ask(self.per_generation)
            if self.search.exhausted:
                self.progress.exhausted = True
                return
        best = self.best
        for individual in candidates:
            assert individual.genome is not None  # asked for just now
            timing = self._measure(measurer, individual.genome, best)
            best = best if timing.seconds is None else min(best, timing.seconds)
            self.search.tell(individual.key, timing.seconds)
            decisions = individual.genome.to_json()
            row = self.note(individual.key, individual.generation, self.search.size, timing, decisions=decisions)
            self.settle()
            yield row
        self.progress.bests.append(best)
        self.unfinished = False

    def settle(self) -> None:
        """Write the record of the fastest decisions, where they are faster than the default's; else there is none."""
        best, before, now = self.search.best, self.records.records.get(self.key), None
        if self.stranger:
            if not any(i.genome in self.space.known and i.cost is not None for i in self.search.individuals.values()):
                return  # it stays until it has been measured
            self.stranger = None
        if best is not None and best.genome is not None and best.key != key_of(self.space.default):
            cost = math.inf if best.cost is None else best.cost
            if cost < self.before:
                now = RowRecord(*self.key, cost * 1e3, self.before * 1e3, best.genome)
        if now == before:
            return
        if now is None:
            del self.records.records[self.key]
        else:
            self.records.put(now)
        self.records.save(self.folder)

    def close(self) -> None:
        pass
