"""A speed model on disk: one JSON file that says what it was fitted to, and an MLP's weights beside it."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Protocol

from msgspec import structs

from sr_tvm.errors import SrTvmError
from sr_tvm.records.measurement import UNITS
from sr_tvm.speed import physical
from sr_tvm.speed.sample import Sample
from sr_tvm.system import files
from sr_tvm.system.files import sha256
from sr_tvm.system.validation import Amount, Count, PlainName, Positive, Record, one_of, plain, read_file

SCHEMA, VERSION = "sr-tvm/speed-model", 1
KINDS = ("physical", "mlp", "mlp-monotone")
SURROGATE = "stand-in"  # the word of the files
MEASURED = "measured"


class Head(Record, frozen=True, forbid_unknown_fields=False):
    """What the file tells of every kind of model; see :class:`SpeedModel`."""

    kind: Annotated[str, one_of(KINDS)]
    source: Annotated[str, one_of((MEASURED, SURROGATE))]
    unit: Annotated[str, one_of(UNITS)]
    fitted_to: dict[str, Any]
    samples: Count
    error: Amount | None
    ends: bool = True


class Weights(Record, frozen=True, forbid_unknown_fields=False):
    """What it tells of an MLP: the file beside it, and the size of the input."""

    weights: PlainName
    weights_sha256: str
    height: Positive
    width: Positive


class Predictor(Protocol):
    def predict(self, samples: list[Sample]) -> list[float]: ...


@dataclass(frozen=True)
class SpeedModel:
    """A fitted model with where its numbers come from.

    ``source`` is "measured", or "stand-in" for a surrogate: fitted to what another model predicted. ``fitted_to`` holds
    device, target, schedule, threads, clock and input shape as far as they are known; ``error`` the median relative
    error on networks left out, None where none were. Without ``ends`` a network's latency is that of its blocks, and
    head, tail and skip count nothing: so the paper's search adds up its budgets.
    """

    kind: str
    predictor: Any
    source: str
    unit: str
    fitted_to: dict[str, Any] = field(default_factory=dict)
    samples: int = 0
    error: float | None = None
    ends: bool = True

    def predict(self, samples: list[Sample]) -> list[float]:
        """Latencies in ``unit``, one a sample; the samples' own are not looked at."""
        if not self.ends:
            samples = [replace(sample, whole=False) for sample in samples]
        return self.predictor.predict(samples)

    def save(self, path: str | Path) -> None:
        path = Path(path)
        told = Head(self.kind, self.source, self.unit, self.fitted_to, self.samples, self.error, self.ends)
        value: dict[str, Any] = {"schema": SCHEMA, "version": VERSION, **plain(told)}
        if self.kind != physical.KIND:
            from sr_tvm.speed import mlp

            weights = path.with_name(path.stem + ".safetensors")
            if weights == path:
                raise SrTvmError(f"{path}: name a .json file; the weights go into .safetensors beside it")
            self.predictor.save(weights)
            value |= mlp.describe(self.predictor)
            value |= {"weights": weights.name, "weights_sha256": sha256(weights)}
        else:
            value |= self.predictor.to_json()
        files.write_json(path, value)

    @classmethod
    def load(cls, path: str | Path) -> SpeedModel:
        """Read a model.

        Raises:
            SrTvmError: no such file, another schema, a wrong field, or weights other than those it was saved with.
        """
        path = Path(path)
        value = files.read_json(path, SCHEMA, VERSION)
        head = read_file(Head, value, str(path))
        model = cls(predictor=None, **structs.asdict(head))
        if head.kind == physical.KIND:
            return replace(model, predictor=physical.Physical.from_json(value, str(path)))
        told = read_file(Weights, value, str(path))
        weights = path.with_name(told.weights)
        if not weights.is_file() or sha256(weights) != told.weights_sha256:
            raise SrTvmError(f"{weights}: not there, or not the weights {path.name} was saved with; fit again")
        from sr_tvm.speed import mlp

        return replace(model, predictor=mlp.Mlp.load(weights, (told.height, told.width), head.kind == mlp.MONOTONE))


def fitter(kind: str) -> Any:
    """The ``fit`` function of a kind of model.

    Raises:
        SrTvmError: unknown kind.
    """
    if kind == "physical":
        return physical.fit
    if kind in KINDS:
        from sr_tvm.speed import mlp

        return functools.partial(mlp.fit, monotone=kind == mlp.MONOTONE)
    raise SrTvmError(f"unknown kind of speed model {kind!r}; {' or '.join(KINDS)} is allowed")
