"""The run of one task: what is known of it, and what the loop over tasks asks of it."""

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
    """A task that can be told of: a kernel's or a region's."""

    @property
    def name(self) -> str:
        """The name of the kernel or the region, for people."""
    @property
    def weight(self) -> int:
        """The number of times that one inference calls it."""
    @property
    def flops(self) -> float:
        """The floating-point operations of one call, two for a multiply-accumulate."""


@dataclass(frozen=True)
class AskedCandidate:
    """A candidate of a generation.

    Attributes:
        candidate: What is to be measured.
        place: Its number in the generation, from 0.
        generation: The generation's number, from 0.
    """

    candidate: Candidate
    place: int
    generation: int


class Run(ABC):
    """Generations of one task, on top of what the history holds of it.

    Attributes:
        before: Seconds of one call with the default.
        best: Seconds of one call with the fastest candidate.
    """

    def __init__(self, task: Described, history: History) -> None:
        self.task, self.history = task, history
        self.progress = TaskProgress(task.weight)
        self.before = math.inf
        self.unfinished = False

    def begin(self, before: float) -> None:
        """Rebuild the progress of the generations that earlier runs finished.

        Args:
            before: Seconds of one call with the default decisions.
        """
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
        """The seconds of the fastest candidate, or of the default where none is faster."""
        return min([self.before, *(t["ms"] / 1e3 for t in self.history.of(self.task.key) if t["ms"] is not None)])

    @abstractmethod
    def ask(self) -> tuple[list[AskedCandidate], int]:
        """Make the next generation.

        Returns:
            Its candidates that are not measured yet, none where nothing new is to be found; and how many it has in all.
        """

    @abstractmethod
    def tell(self, asked: AskedCandidate, timing: Timing, row: dict[str, Any]) -> None:
        """Take note of a candidate that was measured.

        Args:
            asked: The candidate.
            timing: What the bench found, relative to the default.
            row: Its trial in the history, to which fields may be added.
        """

    def told_all(self) -> None:
        """Take note that the generation is complete."""
        return

    def generation(self, bench: Bench, most: int) -> Iterator[dict[str, Any]]:
        """Measure one generation.

        Stop taking rows to stop measuring. What counts as slow, or as the best so far, is what the generation began
        with: so the rows are the same whatever is measured side by side.

        Args:
            bench: Measures the candidates.
            most: Candidates to measure at most.

        Yields:
            The trial of each candidate, as the history has it, once it is measured.
        """
        asked, of = self.ask()
        if not asked:
            self.progress.exhausted = True
            return
        best, now = self.best, asked[:most]
        measures = [partial(self._measure, bench, one.candidate, best) for one in now]

        def again(timing: Timing) -> bool:
            """Return whether it seems faster than all before, which may just be luck."""
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
        """Return the time it would have taken while the default took ``before``."""
        if timing.seconds is None or not timing.reference:
            return timing
        return replace(timing, seconds=timing.seconds / timing.reference * self.before)

    @abstractmethod
    def close(self) -> None:
        """Let go of what the search holds."""

    def note(self, asked: AskedCandidate, of: int, timing: Timing) -> dict[str, Any]:
        """Put a trial into the history.

        Args:
            asked: The candidate that was measured.
            of: How many candidates its generation has.
            timing: What the bench found.

        Returns:
            The trial, as the history has it.
        """
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
    """Return the slowest of one candidate's timings, or one that failed."""
    return max(timings, key=lambda t: math.inf if t.seconds is None else t.seconds)


def in_order(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sort trials by generation and their place in it, whatever order they came in.

    Args:
        rows: Trials of one task; those of older files have no place and stay in their order.

    Returns:
        The same trials.
    """
    numbered = enumerate(rows)
    return [row for i, row in sorted(numbered, key=lambda pair: (pair[1]["generation"], pair[1].get("place", pair[0])))]
