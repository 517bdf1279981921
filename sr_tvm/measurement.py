"""The `Measurement` record: what a device took for one artifact, and how that was found out."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from sr_tvm.errors import SrTvmError

SCHEMA, VERSION = "sr-tvm/measurement", 1
UNITS = ("ms", "packets")


@dataclass(frozen=True)
class Measurement:
    """Samples of one artifact on one device.

    ``samples`` are in ``unit``: milliseconds, or instruction packets on a simulated DSP, where time means nothing.
    ``conditions`` says how: threads, clock ("thread-cpu", "wall", "packets"), repeats, schedule ("default" or
    "tuned"), and whatever the device knows of itself (governor, simulated or not).
    """

    device: str
    target: str
    model: str
    model_sha256: str
    input_shape: tuple[int, ...]
    samples: tuple[float, ...]
    unit: str = "ms"
    conditions: dict[str, Any] = field(default_factory=dict)
    architecture: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise SrTvmError(f"measurement field unit is {self.unit!r}; {' or '.join(UNITS)} is allowed")
        if not self.samples or not all(math.isfinite(s) and s >= 0 for s in self.samples):
            raise SrTvmError("measurement field samples must hold at least one finite number, none below 0")

    def quantile(self, q: float) -> float:
        ordered = sorted(self.samples)
        position = q * (len(ordered) - 1)
        low = int(position)
        high = min(low + 1, len(ordered) - 1)
        return ordered[low] + (ordered[high] - ordered[low]) * (position - low)

    @property
    def median(self) -> float:
        return self.quantile(0.5)

    @property
    def interval(self) -> tuple[float, float]:
        """The middle half of the samples: first and third quartile."""
        return self.quantile(0.25), self.quantile(0.75)

    def to_json(self) -> dict[str, Any]:
        low, high = self.interval
        return {"schema": SCHEMA, "version": VERSION, **asdict(self), "median": self.median, "low": low, "high": high}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Measurement:
        if value.get("schema") != SCHEMA or value.get("version") != VERSION:
            raise SrTvmError(f"not a {SCHEMA} version {VERSION} record")
        derived = {"schema", "version", "median", "low", "high"}
        try:
            fields = {k: v for k, v in value.items() if k not in derived}
            fields["input_shape"] = tuple(int(n) for n in fields["input_shape"])
            fields["samples"] = tuple(float(s) for s in fields["samples"])
            return cls(**fields)
        except (KeyError, TypeError, ValueError) as error:
            raise SrTvmError(f"a {SCHEMA} record is missing or has a wrong field: {error}") from None
