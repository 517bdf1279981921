"""One task of a tuning run: what is known of it, and what the loop over tasks asks of it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

from sr_tvm.build.builder import Candidate
from sr_tvm.tuning.allocation import TaskProgress
from sr_tvm.tuning.bench import Bench, Measurable, Timing, side_by_side
from sr_tvm.tuning.history import History

# Slower than this many times the best, a candidate gets one look and no more.
CUTOFF = 3.0


class Described(Measurable, Protocol):
    """A task: a kernel's or a region's."""

    @property
    def name(self) -> str: ...
    @property
    def weight(self) -> int: ...
    @property
    def flops(self) -> float: ...


@dataclass(frozen=True)
class AskedCandidate:
    """A candidate of a generation: its number there, and the generation's."""

    candidate: Candidate
    place: int
    generation: int


class Run(ABC):
    """Generations of one task, on top of what the history holds of it. ``before`` and ``best`` are seconds."""

    def __init__(self, task: Described, history: History) -> None:
        self.task, self.history = task, history
        self.progress = TaskProgress(task.weight)
        self.before = math.inf
        self.unfinished = False

    def begin(self, before: float) -> None:
        """Rebuild the progress of finished generations; ``before``: seconds with the default decisions."""
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
        """Seconds: of the fastest candidate, or of the default where none is faster."""
        return min([self.before, *(t["ms"] / 1e3 for t in self.history.of(self.task.key) if t["ms"] is not None)])

    @abstractmethod
    def ask(self) -> tuple[list[AskedCandidate], int]:
        """The candidates of the next generation that are not measured yet, and how many it has in all; none where
        nothing new is to be found."""

    @abstractmethod
    def tell(self, asked: AskedCandidate, timing: Timing, row: dict[str, Any]) -> None:
        """Take note of a candidate that was measured; ``row`` is what the history has of it."""

    def told_all(self) -> None:
        """The generation is complete."""
        return

    def generation(self, bench: Bench, most: int) -> Iterator[dict[str, Any]]:
        """Measure one generation, at most ``most`` of it, yielding a history row after each candidate.

        Stop taking rows to stop measuring. What counts as slow, or as the best so far, is what the generation began
        with: so the rows are the same whatever is measured side by side.
        """
        asked, of = self.ask()
        if not asked:
            self.progress.exhausted = True
            return
        best, now = self.best, asked[:most]
        measures = [partial(self._measure, bench, one.candidate, best) for one in now]

        def again(timing: Timing) -> bool:
            """What seems faster than all before may just be lucky."""
            return timing.seconds is not None and timing.seconds < best

        for i, timings in side_by_side(bench, measures, again):
            timing = _slower(timings)
            row = self.note(now[i], of, timing)
            self.tell(now[i], timing, row)
            yield row
        if len(now) == len(asked):
            self.told_all()
            self.progress.bests.append(self.best)
            self.unfinished = False

    def _measure(self, bench: Bench, candidate: Candidate, best: float) -> Timing:
        return self._relative(bench.measure(self.task, candidate, best * CUTOFF))

    def _relative(self, timing: Timing) -> Timing:
        """The time it would have taken while the default took ``before``."""
        if timing.seconds is None or not timing.reference:
            return timing
        return replace(timing, seconds=timing.seconds / timing.reference * self.before)

    @abstractmethod
    def close(self) -> None: ...

    def note(self, asked: AskedCandidate, of: int, timing: Timing) -> dict[str, Any]:
        """Put a trial into the history; its row."""
        row = {
            "task": self.task.name,
            "workload": self.task.key,
            "key": asked.candidate.key,
            "trial": len(self.history.trials) + 1,
            "generation": asked.generation,
            "place": asked.place,
            "of": of,
            "ms": None if timing.seconds is None else timing.seconds * 1e3,
            "error": timing.error,
        }
        self.history.trials.append(row)
        return row


def _slower(timings: Sequence[Timing]) -> Timing:
    """Of one candidate's timings the slowest, or one that failed."""
    return max(timings, key=lambda t: math.inf if t.seconds is None else t.seconds)


def in_order(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Trials by generation and place in it, whatever order they came in; rows of before there were places as they
    are."""
    numbered = enumerate(rows)
    return [row for i, row in sorted(numbered, key=lambda pair: (pair[1]["generation"], pair[1].get("place", pair[0])))]
