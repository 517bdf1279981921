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
        """Choose a scale by channel, and one zero point for all, as engines want it: where it costs the channels least.

        Returns:
            Scales (C,) such that 0...255 reaches from ``low`` to ``high``, and zero points (C,), equal.
        """
        ideal = np.maximum(self.high - self.low, LEAST) / LEVELS
        zeros = np.arange(LEVELS + 1) if (self.low < 0).any() else np.zeros(1, int)
        below, above = np.maximum(zeros, 0.5)[:, None], np.maximum(LEVELS - zeros, 0.5)[:, None]
        scales = np.maximum(np.maximum(-self.low / below, self.high / above), LEAST / LEVELS)
        best = int(np.square(scales / ideal).sum(1).argmin())
        return Meaning(scales[best], np.full(len(ideal), int(zeros[best])))


def best_range(samples: np.ndarray, positive: bool = False) -> Range:
    """Find the range of each channel whose clipping and rounding make the least mean square error.

    Args:
        samples: (pixels, C) real numbers.
        positive: Whether what is below 0 becomes 0, so that the range begins there.

    Returns:
        The range, (C,) each; it holds 0.
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
    """Find the range that holds several.

    Args:
        ranges: One or more of the same C channels.

    Returns:
        The least of all ``low``, and the largest of all ``high``, (C,) each.
    """
    return Range(np.min([r.low for r in ranges], 0), np.max([r.high for r in ranges], 0))
