"""Which task gets the next generation: the one where a share of the model's time is likeliest to be saved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

WINDOW = 3


@dataclass
class TaskProgress:
    """A task's best time at the end of each of its generations, the untuned time first (seconds)."""

    weight: int
    bests: list[float] = field(default_factory=list)
    exhausted: bool = False

    @property
    def best(self) -> float:
        return self.bests[-1]

    @property
    def gain(self) -> float:
        """The fraction of its time that a further generation may save: what the last few saved on average, or the
        optimism that fades with every generation made."""
        made = len(self.bests) - 1
        if made == 0:
            return 1.0
        window = min(WINDOW, made)
        before = self.bests[-1 - window]
        recent = (before - self.bests[-1]) / before / window if before > 0 else 0.0
        return max(recent, 1 / (made + 1))


def next_task(tasks: Sequence[TaskProgress]) -> int | None:
    """The index of the task to go on with; None when all are exhausted. The same numbers give the same answer."""
    open_tasks = [i for i, t in enumerate(tasks) if not t.exhausted]
    return max(open_tasks, key=lambda i: (tasks[i].weight * tasks[i].best * tasks[i].gain, -i), default=None)
