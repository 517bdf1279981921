"""A speed model on disk: one JSON file that says what it was fitted to, and an MLP's weights beside it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from sr_tvm import files
from sr_tvm.artifact import sha256
from sr_tvm.errors import SrTvmError
from sr_tvm.speed import physical
from sr_tvm.speed.sample import Sample

SCHEMA, VERSION = "sr-tvm/speed-model", 1
KINDS = ("physical", "mlp")
STAND_IN = "stand-in"
MEASURED = "measured"


class Predictor(Protocol):
    def predict(self, samples: list[Sample]) -> list[float]: ...


@dataclass(frozen=True)
class SpeedModel:
    """A fitted model with where its numbers come from.

    ``source`` is "measured", or "stand-in" for latencies that another model predicted. ``fitted_to`` holds device,
    target, schedule, threads, clock and input shape as far as they are known; ``error`` the median relative error on
    networks left out, None where none were.
    """

    kind: str
    predictor: Any
    source: str
    unit: str
    fitted_to: dict[str, Any] = field(default_factory=dict)
    samples: int = 0
    error: float | None = None

    def predict(self, samples: list[Sample]) -> list[float]:
        return self.predictor.predict(samples)

    def save(self, path: str | Path) -> None:
        path = Path(path)
        value: dict[str, Any] = {
            "schema": SCHEMA,
            "version": VERSION,
            "kind": self.kind,
            "source": self.source,
            "unit": self.unit,
            "fitted_to": self.fitted_to,
            "samples": self.samples,
            "error": self.error,
        }
        if self.kind == "mlp":
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
        kind = value.get("kind")
        if kind not in KINDS:
            raise SrTvmError(f"{path}: field kind is {kind!r}; {' or '.join(KINDS)} is allowed")
        try:
            model = cls(
                kind, None, value["source"], value["unit"], value["fitted_to"], value["samples"], value["error"]
            )
            if kind == "physical":
                return replace(model, predictor=physical.Physical.from_json(value, str(path)))
            name, size = value["weights"], (int(value["height"]), int(value["width"]))
            digest = value["weights_sha256"]
            if not isinstance(name, str) or Path(name).name != name:
                raise SrTvmError(f"{path}: field weights is {name!r}; give a plain file name")
        except (KeyError, TypeError, ValueError) as error:
            raise SrTvmError(f"{path}: missing or wrong field: {error}") from None
        weights = path.with_name(name)
        if not weights.is_file() or sha256(weights) != digest:
            raise SrTvmError(f"{weights}: not there, or not the weights {path.name} was saved with; fit again")
        from sr_tvm.speed import mlp

        return replace(model, predictor=mlp.Mlp.load(weights, size))


def fitter(kind: str) -> Any:
    """The ``fit`` function of a kind of model.

    Raises:
        SrTvmError: unknown kind.
    """
    if kind == "physical":
        return physical.fit
    if kind == "mlp":
        from sr_tvm.speed import mlp

        return mlp.fit
    raise SrTvmError(f"unknown kind of speed model {kind!r}; {' or '.join(KINDS)} is allowed")
