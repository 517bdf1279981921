"""What all benchmarks share: the shape of a result file, interleaved timing, quartiles.

Every engine runs in a process of its own with a fixed number of threads, says when it is ready, and then waits. Rounds
go over all engines, each time in another order: what disturbs the machine disturbs all of them alike.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from sr_tvm.errors import SrTvmError
from sr_tvm.report import host
from sr_tvm.system.files import write_json

RESULTS = Path(__file__).parent / "results"
PAUSE = 0.05  # seconds for the threads of the last engine, which spin for a while after their work, to fall asleep


class Timed(Protocol):
    """Something that can be asked for the milliseconds of one run."""

    @property
    def name(self) -> str: ...

    def time(self) -> float: ...


@dataclass(frozen=True)
class Rounds:
    """How often everything is timed: ``least`` rounds, then more within ``budget`` seconds, at most ``most``."""

    least: int
    most: int
    budget: float = math.inf

    def another(self, done: int, seconds: float) -> bool:
        """Whether to go on after ``done`` rounds in ``seconds``: one more, as long as those, must fit the budget."""
        if done < self.least or done >= self.most:
            return done < self.least
        return seconds + seconds / done <= self.budget


def timing(samples: Sequence[float]) -> dict[str, float]:
    """The columns of a row: median and quartiles, in ms to the microsecond."""
    low, middle, high = (round(float(q), 3) for q in np.quantile(samples, (0.25, 0.5, 0.75)))
    return {"ms": middle, "ms_low": low, "ms_high": high}


def interleave(
    engines: Sequence[Timed],
    rounds: int | Rounds,
    progress: Callable[[], None] = lambda: None,
    pause: float = PAUSE,
    seed: int = 0,
) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Time every engine once a round, in an order that is shuffled anew each round.

    ``progress`` is called after each run. Gives samples by name, and the error by name of those that failed on the way
    and were left out from then on.
    """
    order, rng = list(engines), random.Random(seed)
    samples: dict[str, list[float]] = {engine.name: [] for engine in engines}
    errors: dict[str, str] = {}
    plan, done, start = rounds if isinstance(rounds, Rounds) else Rounds(rounds, rounds), 0, time.monotonic()
    while plan.another(done, time.monotonic() - start):
        rng.shuffle(order)
        for engine in order:
            if engine.name not in errors:
                try:
                    samples[engine.name].append(engine.time())
                except SrTvmError as error:
                    errors[engine.name] = str(error)
                time.sleep(pause)
            progress()
        done += 1
    return samples, errors


def geomean(values: Iterable[float]) -> float | None:
    """The geometric mean; None of nothing."""
    logs = [math.log(v) for v in values]
    return math.exp(sum(logs) / len(logs)) if logs else None


def now() -> str:
    """The date and time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def result(
    name: str,
    method: dict[str, Any],
    rows: list[dict[str, Any]],
    summary: dict[str, Any],
    packages: tuple[str, ...] = (),
) -> dict[str, Any]:
    """The outer shape that all result files have. ``packages`` are named with their versions besides the usual ones."""
    return {
        "name": name,
        "date": now(),
        "machine": host.machine(),
        "versions": host.versions(tuple(dict.fromkeys(host.PACKAGES + packages))),
        "method": method,
        "rows": rows,
        "summary": summary,
    }


def write_result(value: dict[str, Any], path: Path | None = None) -> Path:
    """Write a result, whole or not at all, to ``path`` or benchmarks/results/NAME.json."""
    path = path or RESULTS / f"{value['name']}.json"
    write_json(path, value)
    return path
