"""One task of a tuning run: what is known of it, and what the loop over tasks asks of it."""

from __future__ import annotations

import contextlib
import math
import signal
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, Protocol

from sr_tvm.tuning.allocation import Progress
from sr_tvm.tuning.history import History
from sr_tvm.tuning.runner import Measurer, Timing

# Slower than this many times the best, a candidate gets one look and no more.
CUTOFF = 3.0


class Described(Protocol):
    """A task: a kernel's or a region's."""

    @property
    def name(self) -> str: ...
    @property
    def key(self) -> str: ...
    @property
    def weight(self) -> int: ...
    @property
    def flops(self) -> float: ...


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


class Run(ABC):
    """Generations of one task, on top of what the history holds of it. ``before`` and ``best`` are seconds."""

    task: Described

    def __init__(self, task: Described, history: History) -> None:
        self.task, self.history = task, history
        self.progress = Progress(task.weight)
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
    def open(self, measurer: Measurer) -> Timing:
        """Make the task the measurer's; the time of its default."""

    @abstractmethod
    def generation(self, measurer: Measurer) -> Iterator[dict[str, Any]]:
        """Measure one generation, yielding a history row after each candidate. Stop taking rows to stop measuring."""

    def settle(self) -> None:
        """``before`` fell: records that do not beat it any more go."""
        return

    @abstractmethod
    def close(self) -> None: ...

    def note(self, key: str, generation: int, of: int, timing: Timing, **more: Any) -> dict[str, Any]:
        """Put a trial into the history; its row."""
        row = {
            "task": self.task.name,
            "workload": self.task.key,
            "key": key,
            "trial": len(self.history.trials) + 1,
            "generation": generation,
            "of": of,
            "ms": None if timing.seconds is None else timing.seconds * 1e3,
            "error": timing.error,
            **more,
        }
        self.history.trials.append(row)
        return row
