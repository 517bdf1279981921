"""Latency as a sum of what a network does: so much per multiply-accumulate, per byte moved, per kernel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from sr_tvm.errors import SrTvmError
from sr_tvm.speed.sample import FEATURES, MACS, Sample, features
from sr_tvm.system.validation import Amount, Record, plain, read

KIND = "physical"
# How strongly a kind of layer is held to the common price per MAC, against one sample's weight of 1.
HOLD = 1e-3
MIN_SAMPLES = 3
# The price of each feature, by its name.
Prices = msgspec.defstruct("Prices", [(name, Amount) for name in FEATURES], bases=(Record,), frozen=True)


@dataclass(frozen=True)
class Physical:
    """Prices, none below 0: ms (or packets) per unit of each feature. Any network, any input size."""

    prices: tuple[float, ...]

    def predict(self, samples: Sequence[Sample]) -> list[float]:
        """Latencies; the samples' own are not looked at."""
        return [float(np.dot(_row(sample), self.prices)) for sample in samples]

    def to_json(self) -> dict[str, Any]:
        return {"prices": plain(Prices(*self.prices))}

    @classmethod
    def from_json(cls, value: dict[str, Any], where: str) -> Physical:
        return cls(msgspec.structs.astuple(read(Prices, value.get("prices"), where, "prices")))


def _row(sample: Sample) -> list[float]:
    found = features(sample)
    return [found[name] for name in FEATURES]


def fit(samples: Sequence[Sample], hold: float = HOLD) -> Physical:
    """Non-negative least squares on relative errors.

    First one price for all MACs; then one per kind of layer, each drawn towards the common price. With few
    samples, or for kinds of layers that no sample has (block latencies have no head or tail), the common price holds.

    Raises:
        SrTvmError: fewer than MIN_SAMPLES samples.
    """
    if len(samples) < MIN_SAMPLES:
        raise SrTvmError(f"{len(samples)} different networks are too few for a speed model; {MIN_SAMPLES} at least")
    # Dividing each row by its latency makes the residual a relative error.
    rows = np.array([_row(s) for s in samples]) / np.array([[s.latency] for s in samples])
    is_macs = np.array([name in MACS for name in FEATURES])
    coarse = np.column_stack([rows[:, is_macs].sum(1), rows[:, ~is_macs]])
    found = _solve(coarse, np.ones(len(samples)))
    common = np.empty(len(FEATURES))
    common[is_macs], common[~is_macs] = found[0], found[1:]
    pull = np.sqrt(hold) * np.diag(rows.mean(0))
    prices = _solve(np.vstack([rows, pull]), np.concatenate([np.ones(len(samples)), pull @ common]))
    prices = np.where(rows.any(0), prices, common)
    return Physical(tuple(float(p) for p in prices))


def _solve(matrix: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """Non-negative least squares with columns brought to one size: MACs are 1e9, kernels 10."""
    # Only fitting needs it: a search runs where just PyTorch is installed.
    from scipy.optimize import nnls

    size = np.linalg.norm(matrix, axis=0)
    size[size == 0] = 1.0
    solution, _ = nnls(matrix / size, goal)
    return solution / size
