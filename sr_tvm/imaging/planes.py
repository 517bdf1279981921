"""What happens to pixels around the network: bicubic planes, luma, rounding, colour under transparency."""

from __future__ import annotations

from functools import cache

import numpy as np

from sr_tvm.imaging.colour import FULL_RANGE, STUDIO_FOOT, STUDIO_SUMS
from sr_tvm.imaging.resize import cubic

BICUBIC_REACH = 2  # input pixels to each side
# BT.601 as MATLAB's rgb2ycbcr, which networks that see only luma are trained with: RGB 0..1 to Y 16/255..235/255.
LUMA = np.array(STUDIO_SUMS, np.float32) / 255
LUMA_OFFSET = np.float32(STUDIO_FOOT / 255)
GREY_WEIGHTS = np.array(FULL_RANGE, np.float32)
FILL_BAND = 256


@cache
def _phases(scale: int) -> tuple[tuple[int, np.ndarray], ...]:
    """Return of each of ``scale`` output phases the first of four taps, relative to the pixel, and their weights."""
    result = []
    for phase in range(scale):
        centre = (phase + 0.5) / scale - 0.5
        first = int(np.floor(centre)) - 1
        w = cubic(np.asarray(np.arange(first, first + 4) - centre, np.float64))
        result.append((first, (w / w.sum()).astype(np.float32)))
    return tuple(result)


def _enlarge_rows(x: np.ndarray, scale: int) -> np.ndarray:
    reach = BICUBIC_REACH
    padded = np.pad(x, ((reach, reach), *(((0, 0),) * (x.ndim - 1))), mode="edge")
    out = np.empty((x.shape[0] * scale, *x.shape[1:]), np.float32)
    for phase, (first, weights) in enumerate(_phases(scale)):
        taps = (padded[reach + first + k : reach + first + k + len(x)] * w for k, w in enumerate(weights))
        out[phase::scale] = sum(taps)
    return out


def bicubic(x: np.ndarray, scale: int) -> np.ndarray:
    """Enlarge by a whole factor, bicubically; edges repeated, nothing clipped. Flat areas stay exactly flat.

    A result depends only on inputs up to BICUBIC_REACH pixels away, and not on where in the picture they are.

    Args:
        x: float32 (H, W, C).
        scale: The factor, 1 or more.

    Returns:
        float32 (scale H, scale W, C).
    """
    flat = _enlarge_rows(x, scale)
    return _enlarge_rows(flat.swapaxes(0, 1), scale).swapaxes(0, 1)


def to_float(pixels: np.ndarray) -> np.ndarray:
    """Convert pixels to numbers in 0..1.

    Args:
        pixels: uint8 or uint16, of any shape.

    Returns:
        float32 of the same shape.
    """
    return pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)


def to_pixels(x: np.ndarray, dtype: np.dtype | type) -> np.ndarray:
    """Convert numbers to pixels: clipped, then rounded to nearest.

    Args:
        x: Where 0..1 is black to white, of any shape.
        dtype: uint8 or uint16.

    Returns:
        Pixels of that type and the same shape.
    """
    top = np.float32(np.iinfo(dtype).max)
    return np.floor(np.clip(x, 0, 1) * top + np.float32(0.5)).astype(dtype)


def luma(rgb: np.ndarray) -> np.ndarray:
    """Compute BT.601 luma of RGB in studio range, as networks that see only luma are trained with.

    Args:
        rgb: float32 (H, W, 3) in 0..1.

    Returns:
        float32 (H, W, 1) in 16/255..235/255.
    """
    return _weighted(rgb, LUMA) + LUMA_OFFSET


def grey(rgb: np.ndarray) -> np.ndarray:
    """Compute full-range grey of RGB: of three equal channels, that channel.

    Args:
        rgb: float32 (H, W, 3) in 0..1.

    Returns:
        float32 (H, W, 1) in 0..1.
    """
    return _weighted(rgb, GREY_WEIGHTS)


def _weighted(rgb: np.ndarray, weights: np.ndarray) -> np.ndarray:
    # Not a matrix product: a BLAS rounds by where in the array a pixel is, and tiles must not differ.
    return rgb[..., :1] * weights[0] + rgb[..., 1:2] * weights[1] + rgb[..., 2:3] * weights[2]


def grey_to_luma(x: np.ndarray) -> np.ndarray:
    """Convert full-range grey to studio-range luma; :func:`luma_to_grey` is its inverse.

    Args:
        x: float32 in 0..1, of any shape.

    Returns:
        float32 of the same shape, in 16/255..235/255.
    """
    return x * np.float32(219 / 255) + LUMA_OFFSET


def luma_to_grey(y: np.ndarray) -> np.ndarray:
    """Convert studio-range luma to full-range grey; :func:`grey_to_luma` is its inverse.

    Args:
        y: float32 in 16/255..235/255, of any shape.

    Returns:
        float32 of the same shape, in 0..1.
    """
    return (y - LUMA_OFFSET) * np.float32(255 / 219)


def with_luma(rgb: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Replace the luma of a picture and keep its chroma.

    In YCbCr to RGB, all three channels take luma with one same factor, so replacing it is adding its change.

    Args:
        rgb: float32 (H, W, 3) in 0..1.
        y: The new luma in studio range, float32 (H, W, 1).

    Returns:
        float32 (H, W, 3), not clipped.
    """
    return rgb + (y - luma(rgb)) * np.float32(255 / 219)


def fill_hidden(pixels: np.ndarray, reach: int) -> np.ndarray:
    """Let visible colour grow into fully transparent pixels, so that a network does not see what hides there.

    Each step gives hidden pixels the mean of their known neighbours; those still further from anything visible become
    black.

    Args:
        pixels: uint8 or uint16 (H, W, C), of which the last channel is alpha.
        reach: Steps, a pixel each.

    Returns:
        Pixels of the same shape and type; ``pixels`` itself if nothing is fully transparent.
    """
    alpha = pixels[..., -1]
    if alpha.all():
        return pixels
    result = pixels.copy()
    height = len(pixels)
    for top in range(0, height, FILL_BAND):
        bottom = min(height, top + FILL_BAND)
        low, high = max(0, top - reach), min(height, bottom + reach)
        if not alpha[top:bottom].all():
            result[top:bottom, :, :-1] = _grown(pixels[low:high], reach)[top - low : bottom - low]
    return result


def _grown(pixels: np.ndarray, steps: int) -> np.ndarray:
    known = pixels[..., -1:] > 0
    # Whole numbers: sums of eight 16-bit samples, the same in any order.
    colour = np.where(known, pixels[..., :-1], 0).astype(np.int32)
    for _ in range(steps):
        if known.all() or not known.any():
            break
        total, count = _neighbours(colour), _neighbours(known.astype(np.int32))
        new = ~known & (count > 0)
        colour = np.where(new, (total + count // 2) // np.maximum(count, 1), colour)
        known = known | new
    return colour.astype(pixels.dtype)


def _neighbours(x: np.ndarray) -> np.ndarray:
    """Return the sum over each 3x3 square."""
    rows = np.pad(x, ((1, 1), (0, 0), (0, 0)))
    rows = rows[:-2] + rows[1:-1] + rows[2:]
    columns = np.pad(rows, ((0, 0), (1, 1), (0, 0)))
    return columns[:, :-2] + columns[:, 1:-1] + columns[:, 2:]
