"""One streaming region being tuned: its search, its measured decisions, its record."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from typing_extensions import override

from sr_tvm.errors import SrTvmError
from sr_tvm.records.region_decisions import RegionRecord, RegionRecords, key_of
from sr_tvm.tuning.bench import Timing
from sr_tvm.tuning.genetic import GeneticSearch, GeneticSettings, Individual
from sr_tvm.tuning.history import History
from sr_tvm.tuning.region_task import RegionTask
from sr_tvm.tuning.run import AskedCandidate, Run, in_order


class RegionRun(Run):
    """Generations of one streaming region.

    The history's trials hold the decisions, so they are the population.

    Args:
        task: The region.
        settings: Of the genetic search.
        per_generation: Children of one generation.
        records: Gets the record of the best decisions.
        folder: Where the records lie.
        history: Gets the trials.
        hints: Records of other regions, whose decisions are among the first candidates.
        pin: Whether a default that nothing beats is recorded.
    """

    task: RegionTask

    def __init__(
        self,
        task: RegionTask,
        settings: GeneticSettings,
        per_generation: int,
        records: RegionRecords,
        folder: Path,
        history: History,
        hints: RegionRecords | None = None,
        pin: bool = False,
    ) -> None:
        super().__init__(task, history)
        self.per_generation, self.records, self.folder, self.pin = per_generation, records, folder, pin
        self.lowering, rows = task.lowering, in_order(history.of(task.key))
        self.key = key_of(task.region, task.shape, self.lowering)
        # A record of an earlier search, which began with other defaults, is a candidate here.
        self.stranger = records.records.get(self.key)
        known = self._hinted(hints)
        if self.stranger:
            decisions = self.lowering.from_json(self.stranger.decisions, str(self.stranger))
            if self.lowering.space(task.region, task.shape).key(decisions) in {row["key"] for row in rows}:
                self.stranger = None
            else:
                known = [decisions, *known]
        self.space = self.lowering.space(task.region, task.shape, known)
        self.search = GeneticSearch(self.space, settings, task.key)
        self.search.restore(self._measured(row, place) for place, row in enumerate(rows))

    def _hinted(self, hints: RegionRecords | None) -> list[Any]:
        """Return the decisions that were found for other regions by the same lowering for the same hardware."""
        apart = (r for r in (hints.records.values() if hints else ()) if r.key != self.key)
        same = [r for r in apart if r.lowering == self.lowering.name and r.hardware == self.lowering.hardware]
        return [self.lowering.from_json(record.decisions, str(record)) for record in same]

    def _measured(self, row: dict[str, Any], place: int) -> Individual[Any]:
        where = f"{self.history.path}, trial {row.get('trial')}"
        if "decisions" not in row:
            raise SrTvmError(f"{where}: the decisions are missing")
        genome = self.space.repair(self.lowering.from_json(row["decisions"], where))
        cost = math.inf if row["ms"] is None else row["ms"] / 1e3
        return Individual(row["key"], genome, row["generation"], place, cost)

    @override
    def begin(self, before: float) -> None:
        super().begin(before)
        self._settle()  # a killed run may have come to note a trial, but not its record

    @override
    def ask(self) -> tuple[list[AskedCandidate], int]:
        found: list[Individual[Any]] = []
        while not found and not self.search.exhausted:
            # A restored generation that was complete gives nothing: the one after it does.
            found = self.search.ask(self.per_generation)
        asked = [AskedCandidate(self.task.candidate(i.key, i.genome), i.order, i.generation) for i in found]
        return asked, self.search.size

    @override
    def tell(self, asked: AskedCandidate, timing: Timing, row: dict[str, Any]) -> None:
        self.search.tell(asked.candidate.key, timing.seconds)
        row["decisions"] = asked.candidate.request["decisions"]
        self._settle()

    def _settle(self) -> None:
        """Write the record of the fastest decisions, where they are faster than the default's.

        Else there is none; or, to pin what is built, the default's own, with the default's time.
        """
        best, before, now = self.search.best, self.records.records.get(self.key), None
        if self.stranger:
            old = self.space.known[0]
            if not any(i.genome == old and i.cost is not None for i in self.search.individuals.values()):
                return  # it stays until it has been measured
            self.stranger = None
        if best is not None and best.genome is not None and best.key != self.space.key(self.space.default):
            cost = math.inf if best.cost is None else best.cost
            if cost < self.before:
                now = self._record(cost, best.genome)
        if now is None and self.pin and self.before:
            now = self._record(self.before, self.space.default)
        if now == before:
            return
        if now is None:
            del self.records.records[self.key]
        else:
            self.records.put(now)
        self.records.save(self.folder)

    def _record(self, seconds: float, decisions: Any) -> RegionRecord:
        region, shape, name, _ = self.key
        times, form = (seconds * 1e3, self.before * 1e3), self.lowering.to_json(decisions)
        return RegionRecord(region, shape, name, self.lowering.hardware, *times, form, self.history.clock)

    @override
    def close(self) -> None:
        pass
