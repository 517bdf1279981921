"""The `Measurement` record: what a device took for one artifact, and how that was found out."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from sr_tvm.errors import SrTvmError
from sr_tvm.system.validation import Amount, CheckedRecord, one_of, plain, read, without

SCHEMA, VERSION = "sr-tvm/measurement", 1
ESTIMATED_MS = "estimated ms"  # nothing ran: see sr_tvm.runners.machine_code
UNITS = ("ms", "packets", ESTIMATED_MS)


class Measurement(CheckedRecord, frozen=True):
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
    samples: Annotated[tuple[Amount, ...], Meta(min_length=1)]
    unit: Annotated[str, one_of(UNITS)] = "ms"
    conditions: dict[str, Any] = {}
    architecture: dict[str, Any] | None = None

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
        return {"schema": SCHEMA, "version": VERSION, **plain(self), "median": self.median, "low": low, "high": high}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Measurement:
        """Read what :meth:`to_json` gave.

        Raises:
            SrTvmError: not an object, another schema or version, or a field is missing, unknown or of the wrong kind.
        """
        where = f"a {SCHEMA} record"
        told: dict[str, Any] = read(dict[str, Any], value, where)
        if told.get("schema") != SCHEMA or told.get("version") != VERSION:
            raise SrTvmError(f"not a {SCHEMA} version {VERSION} record")
        return read(cls, without(told, "schema", "version", "median", "low", "high"), where)
