"""Allocation of generations to tasks: the next goes where a share of the model's time is likeliest to be saved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

WINDOW = 3


@dataclass
class TaskProgress:
    """How far the search of one task has come.

    Attributes:
        weight: How often the model calls the task's kernel.
        bests: Seconds of the best at the end of each generation, the untuned time first.
        exhausted: Whether nothing new is left to be tried.
    """

    weight: int
    bests: list[float] = field(default_factory=list)
    exhausted: bool = False

    @property
    def best(self) -> float:
        """The best time so far, in seconds."""
        return self.bests[-1]

    @property
    def gain(self) -> float:
        """The fraction of its time that a further generation may save.

        It is what the last few generations saved on average, or an optimism that fades with every one made, if that is
        more.
        """
        made = len(self.bests) - 1
        if made == 0:
            return 1.0
        window = min(WINDOW, made)
        before = self.bests[-1 - window]
        recent = (before - self.bests[-1]) / before / window if before > 0 else 0.0
        return max(recent, 1 / (made + 1))


def next_task(tasks: Sequence[TaskProgress]) -> int | None:
    """Choose the task to go on with: the largest product of weight, best time and expected gain.

    Args:
        tasks: In a fixed order; the first wins a tie, so the same numbers give the same answer.

    Returns:
        The index of the task; None when all are exhausted.
    """
    open_tasks = [i for i, t in enumerate(tasks) if not t.exhausted]
    return max(open_tasks, key=lambda i: (tasks[i].weight * tasks[i].best * tasks[i].gain, -i), default=None)
