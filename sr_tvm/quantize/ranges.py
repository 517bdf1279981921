"""The range of a value that bytes stand for: narrower than what occurs, where that costs less than it wins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sr_tvm.quantize.network import Meaning

SHRINKS = np.linspace(1.0, 0.3, 29)
LEVELS = 255
LEAST = 1e-6


@dataclass(frozen=True, eq=False)
class Range:
    """By channel, the least and the largest number; 0 is between them."""

    low: np.ndarray
    high: np.ndarray

    def meaning(self) -> Meaning:
        scale = np.maximum(self.high - self.low, LEAST) / LEVELS
        return Meaning(scale, np.clip(np.round(-self.low / scale), 0, LEVELS).astype(np.int64))


def best_range(samples: np.ndarray, positive: bool = False) -> Range:
    """Find the range (C,) of ``samples`` (pixels, C) whose clipping and rounding make the least mean square error.

    Args:
        positive: what is below 0 is 0: the range begins there.
    """
    low = np.zeros(samples.shape[1]) if positive else np.minimum(samples.min(0), 0).astype(np.float64)
    high = np.maximum(samples.max(0), 0).astype(np.float64)
    best = np.full(samples.shape[1], np.inf)
    chosen = Range(low.copy(), high.copy())
    for shrink in SHRINKS:
        a, b = low * shrink, high * shrink
        clipped = samples - np.clip(samples, a, b)
        error = np.mean(np.square(clipped), 0) + ((b - a) / LEVELS) ** 2 / 12
        better = error < best
        best[better] = error[better]
        chosen.low[better], chosen.high[better] = a[better], b[better]
    return chosen


def joined(ranges: Sequence[Range]) -> Range:
    """The range that holds all of ``ranges``."""
    return Range(np.min([r.low for r in ranges], 0), np.max([r.high for r in ranges], 0))
