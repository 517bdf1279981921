"""Blends from the numbers that they stand for, and back."""

from __future__ import annotations

import numpy as np

from sr_tvm.errors import SrTvmError
from sr_tvm.quantize.network import BLEND_BITS, MOST_FRACTION, Blend, Meaning

LARGEST_OFFSET = 32000  # of what is added: the rest of 16 bits is for rounding
NEAR = 1e-6  # of ratios that have been float32


def _fraction(ratio: float) -> int:
    """Return the bits below a byte of a blend whose largest factor from byte to byte is ``ratio``: as many as fit.

    Raises:
        SrTvmError: The factor is 64 or more, which no multiplier reaches.
    """
    reach = (1 + NEAR) * 32767 / 32768 * 2.0**BLEND_BITS / max(ratio, 1e-9)
    if reach < 1:
        raise SrTvmError(f"bytes would be multiplied by {ratio:.3g}; up to 64 is possible")
    return min(MOST_FRACTION, int(np.log2(reach)))


def blend(
    name: str, inputs: tuple[str, ...], ratios: np.ndarray, slope: np.ndarray | None, moved: np.ndarray,
    meaning: Meaning,
) -> Blend:  # fmt: skip
    """Make a blend from real numbers: what a byte of each input counts in bytes of the result, and what is added to it.

    Args:
        name: Of the node and its value.
        inputs: Names of the one or two values that are read.
        ratios: (inputs, C) bytes of the result that a byte of an input counts.
        slope: (C,) by which what is below zero is multiplied, for one input alone; None: there is no PReLU or ReLU.
        moved: (C,) bytes that are added, the zero point of the result among them.
        meaning: What the bytes of the result stand for.

    Returns:
        The blend, with as many bits below a byte as fit.

    Raises:
        SrTvmError: A factor that no multiplier reaches, or a number too large to be added; the message begins with
            ``name``.
    """
    below = None if slope is None else ratios[0] * slope
    largest = float(np.abs(ratios).max() if below is None else np.abs([ratios[0], below]).max())
    try:
        fraction = _fraction(largest)
    except SrTvmError as error:
        raise SrTvmError(f"{name}: {error}") from None
    while fraction and np.abs(moved).max() * 2.0**fraction > LARGEST_OFFSET:
        fraction -= 1
    if np.abs(moved).max() * 2.0**fraction > LARGEST_OFFSET:
        raise SrTvmError(f"{name}: adds {np.abs(moved).max():.0f} times a step of its bytes; that leaves 16 bits")
    smaller = None if slope is None or not (slope > 1).any() else slope > 1
    sign = np.ones(ratios.shape[1]) if smaller is None else np.where(smaller, -1.0, 1.0)
    scale = 2.0 ** (15 + fraction - BLEND_BITS)

    def halfwords(numbers: np.ndarray) -> np.ndarray:
        return np.clip(np.round(numbers * sign * scale), -32768, 32767).astype(np.int16)

    offset = np.round(moved * 2.0**fraction) + (0 if smaller is None else smaller)
    bent = None if below is None else halfwords(below)
    return Blend(name, inputs, halfwords(ratios), bent, offset.astype(np.int16), fraction, meaning, smaller)


def numbers_of(node: Blend) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """Recover the real numbers that a blend was made of, as precisely as it holds them.

    Args:
        node: The blend, with C channels.

    Returns:
        What :func:`blend` calls ratios, (inputs, C); the factors of what is below zero, (C,), or None without a slope,
        which are ratios times slopes; and the bytes that are added, (C,).
    """
    sign = np.ones(len(node.offset)) if node.smaller is None else np.where(node.smaller, -1.0, 1.0)
    scale = sign / 2.0 ** (15 + node.fraction - BLEND_BITS)
    moved = (node.offset - (0.0 if node.smaller is None else node.smaller)) / 2.0**node.fraction
    return node.multipliers * scale, None if node.slope is None else node.slope * scale, moved
