"""What all benchmarks share: the shape of a result file, interleaved timing, quartiles.

Every engine runs in a process of its own with a fixed number of threads, says when it is ready, and then waits. Rounds
go over all engines, each time in another order: what disturbs the machine disturbs all of them alike.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from sr_tvm.errors import SrTvmError
from sr_tvm.files import write_json
from sr_tvm.report import host

RESULTS = Path(__file__).parent / "results"
PAUSE = 0.05  # seconds for the threads of the last engine, which spin for a while after their work, to fall asleep


class Timed(Protocol):
    """Something that can be asked for the milliseconds of one run."""

    @property
    def name(self) -> str: ...

    def time(self) -> float: ...


def timing(samples: Sequence[float]) -> dict[str, float]:
    """The columns of a row: median and quartiles, in ms to the microsecond."""
    low, middle, high = (round(float(q), 3) for q in np.quantile(samples, (0.25, 0.5, 0.75)))
    return {"ms": middle, "ms_low": low, "ms_high": high}


def interleave(
    engines: Sequence[Timed],
    rounds: int,
    progress: Callable[[], None] = lambda: None,
    pause: float = PAUSE,
    seed: int = 0,
) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Time every engine once a round, in an order that is shuffled anew each round.

    Gives samples by name, and the error by name of those that failed on the way and were left out from then on.
    """
    order, rng = list(engines), random.Random(seed)
    samples: dict[str, list[float]] = {engine.name: [] for engine in engines}
    errors: dict[str, str] = {}
    for _ in range(rounds):
        rng.shuffle(order)
        for engine in order:
            if engine.name not in errors:
                try:
                    samples[engine.name].append(engine.time())
                except SrTvmError as error:
                    errors[engine.name] = str(error)
                time.sleep(pause)
            progress()
    return samples, errors


def geomean(values: Iterable[float]) -> float | None:
    """The geometric mean; None of nothing."""
    logs = [math.log(v) for v in values]
    return math.exp(sum(logs) / len(logs)) if logs else None


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
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
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
