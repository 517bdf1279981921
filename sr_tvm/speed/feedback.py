"""The loop back: from measurements to a refitted speed model, and how well it would have predicted each of them."""

from __future__ import annotations

import json
import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sr_tvm.errors import SrTvmError
from sr_tvm.records.architecture import Architecture
from sr_tvm.records.measurement import Measurement
from sr_tvm.speed import physical
from sr_tvm.speed.model import MEASURED, SpeedModel, fitter
from sr_tvm.speed.sample import Sample


@dataclass(frozen=True)
class Conditions:
    """What must be equal for latencies to be comparable."""

    device: str
    target: str
    schedule: str
    threads: int
    clock: str
    unit: str
    input_shape: tuple[int, ...]

    @classmethod
    def of(cls, m: Measurement) -> Conditions:
        c = m.conditions
        threads = int(c.get("threads", 1))
        schedule, clock = str(c.get("schedule", "default")), str(c.get("clock", "wall"))
        return cls(m.device, m.target, schedule, threads, clock, m.unit, m.input_shape)

    def __str__(self) -> str:
        shape = "x".join(map(str, self.input_shape))
        return (
            f"{self.device}, {self.target}, {self.schedule} schedules, {self.threads} thread(s), {self.clock}, {shape}"
        )


@dataclass(frozen=True)
class Row:
    """One line of predicted against measured; ``relative_error`` is predicted / measured - 1."""

    name: str
    measured: float
    predicted: float

    @property
    def relative_error(self) -> float:
        return self.predicted / self.measured - 1

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "relative_error": self.relative_error}


def group(measurements: Sequence[Measurement]) -> tuple[dict[Conditions, list[Sample]], int]:
    """Samples by group, and how many measurements are of no WDSR architecture and so of no use here.

    Several measurements of one architecture become one sample, the median of their medians: a network left
    out must not be known from another run.
    """
    found: dict[Conditions, dict[str, list[Measurement]]] = {}
    other = 0
    for m in measurements:
        if m.architecture is None or len(m.input_shape) != 4 or m.median <= 0:
            other += 1
            continue
        identity = json.dumps(m.architecture, sort_keys=True)
        found.setdefault(Conditions.of(m), {}).setdefault(identity, []).append(m)
    return {g: [_sample(same) for same in by.values()] for g, by in found.items()}, other


def _sample(same: list[Measurement]) -> Sample:
    first = same[0]
    assert first.architecture is not None
    architecture = Architecture.from_json(first.architecture, "a measurement's architecture")
    _, _, height, width = first.input_shape
    return Sample(architecture, height, width, statistics.median(m.median for m in same))


def leave_one_out(
    samples: Sequence[Sample], kind: str = physical.KIND, progress: Callable[[int, int], None] | None = None
) -> list[Row]:
    """Predict each sample by a model fitted to all the others.

    Raises:
        SrTvmError: too few samples for that.
    """
    fit = fitter(kind)
    rows = []
    for i, sample in enumerate(samples):
        rest = [*samples[:i], *samples[i + 1 :]]
        rows.append(Row(sample.name, sample.latency, fit(rest).predict([sample])[0]))
        if progress:
            progress(i + 1, len(samples))
    return rows


def held_out(samples: Sequence[Sample], kind: str = physical.KIND, share: float = 0.2, seed: int = 0) -> list[Row]:
    """Predict a random ``share`` of the samples by a model fitted to the others."""
    shuffled = list(samples)
    random.Random(seed).shuffle(shuffled)
    count = max(1, round(len(shuffled) * share))
    test, rest = shuffled[:count], shuffled[count:]
    predicted = fitter(kind)(rest).predict(test)
    return [Row(s.name, s.latency, p) for s, p in zip(test, predicted, strict=True)]


def error_of(rows: Sequence[Row]) -> float:
    """The median relative error of a table."""
    return statistics.median(abs(row.relative_error) for row in rows)


def refit(where: Conditions, samples: Sequence[Sample], kind: str = physical.KIND) -> tuple[SpeedModel, list[Row]]:
    """Fit a model to a group, with its table of predicted (by leave-one-out, where there are enough) and measured.

    Raises:
        SrTvmError: too few samples.
    """
    predictor = fitter(kind)(samples)
    try:
        rows = leave_one_out(samples, kind)
        error = error_of(rows)
    except SrTvmError:  # just enough to fit, too few to leave one out: the table then shows the fit itself
        rows = [Row(s.name, s.latency, p) for s, p in zip(samples, predictor.predict(samples), strict=True)]
        error = None
    fitted_to = {**asdict(where), "input_shape": list(where.input_shape)}
    return SpeedModel(kind, predictor, MEASURED, where.unit, fitted_to, len(samples), error), rows
