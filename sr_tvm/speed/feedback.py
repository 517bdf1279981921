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
    """What must be equal for latencies to be comparable: a group of measurements.

    Attributes:
        device: Name of the device that measured.
        target: Name of the target that was compiled for.
        schedule: "default" or "tuned": what the kernels were scheduled by.
        threads: Of the runner.
        clock: What the time was taken by: "wall", "thread-cpu" or "packets".
        unit: Of the latencies.
        input_shape: Of the low-resolution input, (N, C, H, W) where networks are measured.
    """

    device: str
    target: str
    schedule: str
    threads: int
    clock: str
    unit: str
    input_shape: tuple[int, ...]

    @classmethod
    def of(cls, m: Measurement) -> Conditions:
        """Find the group that a measurement falls into.

        Args:
            m: The measurement; conditions that it lacks are default schedules, one thread and the wall clock.

        Returns:
            The group.
        """
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
        """By how much too slow the prediction is: predicted / measured - 1."""
        return self.predicted / self.measured - 1

    def to_json(self) -> dict[str, Any]:
        """Describe the line as JSON.

        Returns:
            Its fields by their names, and "relative_error".
        """
        return {**asdict(self), "relative_error": self.relative_error}


def group(measurements: Sequence[Measurement]) -> tuple[dict[Conditions, list[Sample]], int]:
    """Sort measurements into groups, and make samples of them.

    Several measurements of one architecture become one sample, the median of their medians: a network left out must not
    be known from another run.

    Args:
        measurements: Of any groups.

    Returns:
        Samples by group; and how many measurements are of no WDSR architecture, have no input (N, C, H, W) or no median
        above 0, and so are of no use here.

    Raises:
        SrTvmError: An architecture has a wrong field.
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

    Args:
        samples: Of one group.
        kind: Of the models, one of :data:`sr_tvm.speed.model.KINDS`.
        progress: Is told how many samples are predicted, and of how many.

    Returns:
        A line of predicted against measured for each sample.

    Raises:
        SrTvmError: There are too few samples for that, or the kind is unknown.
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
    """Predict a random share of the samples by a model fitted to the others.

    Args:
        samples: Of one group.
        kind: Of the model, one of :data:`sr_tvm.speed.model.KINDS`.
        share: Of the samples that are predicted, 0 to 1; at least one sample is.
        seed: Of the choice; equal seeds choose equal samples.

    Returns:
        A line of predicted against measured for each sample that was left out.

    Raises:
        SrTvmError: There are too few samples for that, or the kind is unknown.
    """
    shuffled = list(samples)
    random.Random(seed).shuffle(shuffled)
    count = max(1, round(len(shuffled) * share))
    test, rest = shuffled[:count], shuffled[count:]
    predicted = fitter(kind)(rest).predict(test)
    return [Row(s.name, s.latency, p) for s, p in zip(test, predicted, strict=True)]


def error_of(rows: Sequence[Row]) -> float:
    """Compute the median relative error of a table, whichever way predictions err.

    Args:
        rows: One or more lines.

    Returns:
        The error, 0 or more: 0.1 is 10%.
    """
    return statistics.median(abs(row.relative_error) for row in rows)


def refit(where: Conditions, samples: Sequence[Sample], kind: str = physical.KIND) -> tuple[SpeedModel, list[Row]]:
    """Fit a model to a group, and compare its predictions with what was measured.

    Args:
        where: The group.
        samples: Those of the group.
        kind: Of the model, one of :data:`sr_tvm.speed.model.KINDS`.

    Returns:
        The model; and a line for each sample, predicted by leave-one-out where there are samples enough, else by the
        model itself, whose ``error`` is None then.

    Raises:
        SrTvmError: There are too few samples, or the kind is unknown.
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
