"""Weights rounded such that the error of one makes up for that of others, on the inputs that occur."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

PIXELS = 4096  # of a picture that say how inputs go together
DAMPING = 0.01  # of the mean of the diagonal: keeps what hardly occurs from being rounded far off


def rounded(weight: np.ndarray, inputs: Sequence[np.ndarray], zero_point: np.ndarray, largest: int) -> np.ndarray:
    """Round weights to int8, one input after another, such that errors make up for one another.

    What rounding one leaves over is moved to those that are not yet rounded, by how they occur together: the optimal
    brain surgeon's step, as GPTQ does it (Frantar et al. 2023).

    Args:
        weight: (O, C, kh, kw) real numbers, in units of the integers.
        inputs: The values (C, H, W) uint8 that the convolution reads, of several pictures.
        zero_point: (C,) which of their bytes stands for 0.
        largest: The largest magnitude of a rounded weight, up to 127.

    Returns:
        (O, C, kh, kw) int8.
    """
    outputs, channels, tall, wide = weight.shape
    second = _second_moments(inputs, zero_point, tall, wide)
    size = len(second)
    second[np.diag_indices(size)] += DAMPING * np.trace(second) / size + 1e-6
    upper = np.linalg.cholesky(np.linalg.inv(second)).T
    left = weight.reshape(outputs, size).astype(np.float64).copy()
    found = np.empty((outputs, size), np.int8)
    for i in range(size):
        found[:, i] = np.clip(np.round(left[:, i]), -largest, largest)
        error = (left[:, i] - found[:, i]) / upper[i, i]
        left[:, i + 1 :] -= error[:, None] * upper[i, i + 1 :]
    return found.reshape(weight.shape)


def _second_moments(inputs: Sequence[np.ndarray], zero_point: np.ndarray, tall: int, wide: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    channels = len(zero_point)
    total = np.zeros((channels * tall * wide,) * 2)
    for value in inputs:
        height, width = value.shape[1] - tall + 1, value.shape[2] - wide + 1
        if height <= 0 or width <= 0:
            continue
        at = rng.integers(0, height * width, min(PIXELS, height * width))
        y, x = at // width, at % width
        columns = np.stack([value[:, y + dy, x + dx] for dy in range(tall) for dx in range(wide)], 1)
        rows = (columns - zero_point[:, None, None]).reshape(channels * tall * wide, -1).astype(np.float64)
        total += rows @ rows.T / rows.shape[1]
    return total
