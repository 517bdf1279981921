"""The `Measurement` record: what a device took for one artifact, and how that was found out."""

from __future__ import annotations

import math
import reprlib
from dataclasses import asdict, dataclass, field, fields
from types import NoneType
from typing import Any

from sr_tvm.errors import SrTvmError
from sr_tvm.system.fields import expect, expect_keys

SCHEMA, VERSION = "sr-tvm/measurement", 1
ESTIMATED_MS = "estimated ms"  # nothing ran: see sr_tvm.runners.machine_code
UNITS = ("ms", "packets", ESTIMATED_MS)
_TEXTS = {"device", "target", "model", "model_sha256"}


@dataclass(frozen=True)
class Measurement:
    """Samples of one artifact on one device.

    ``samples`` are in ``unit``: milliseconds, estimated milliseconds of what was not run, or instruction packets on
    a simulated DSP, where time means nothing.
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
            raise SrTvmError(f"measurement field unit is {reprlib.repr(self.unit)}; {' or '.join(UNITS)} is allowed")
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
        """Read what :meth:`to_json` gave.

        Raises:
            SrTvmError: not an object, another schema or version, or a field is missing, unknown or of the wrong kind.
        """
        where = f"a {SCHEMA} record"
        expect(value, dict, where)
        if value.get("schema") != SCHEMA or value.get("version") != VERSION:
            raise SrTvmError(f"not a {SCHEMA} version {VERSION} record")
        derived = {"schema", "version", "median", "low", "high"}
        expect_keys(value, _TEXTS | {"input_shape", "samples"}, {f.name for f in fields(cls)} | derived, where)
        for name in sorted(_TEXTS):
            expect(value[name], str, f"{where}: field {name}")
        expect(value.get("conditions", {}), dict, f"{where}: field conditions")
        expect(value.get("architecture"), (dict, NoneType), f"{where}: field architecture")
        for name, kind in (("input_shape", int), ("samples", float)):
            for i, number in enumerate(expect(value[name], list, f"{where}: field {name}")):
                expect(number, kind, f"{where}: field {name}[{i}]")
        kept = {k: v for k, v in value.items() if k not in derived}
        kept["input_shape"] = tuple(kept["input_shape"])
        try:
            kept["samples"] = tuple(float(s) for s in kept["samples"])
        except OverflowError:  # a whole number of hundreds of digits
            raise SrTvmError(f"{where}: field samples holds a number that is too large") from None
        return cls(**kept)
