"""What ONNX's Resize computes along one axis, as a matrix of shape (output size, input size).

Computed as ONNX Runtime does, coordinates in float32: where a coordinate falls exactly between two pixels, the rounding
of the arithmetic decides which one "nearest" takes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

F = np.float32


@dataclass(frozen=True)
class Mode:
    """The attributes of a Resize, with ONNX's defaults.

    Attributes:
        mode: ``nearest``, ``linear`` or ``cubic``.
        coordinates: How output pixels are placed among input pixels, one of ``COORDINATES``.
        nearest: How a position is rounded to a pixel; ``simple`` is what operator sets 7 to 10 did.
        cubic_a: The a of Keys' cubic.
        exclude_outside: Whether pixels outside the picture weigh nothing, in place of its border pixels.
        antialias: Whether the kernel is widened by as much as the axis shrinks.
    """

    mode: str = "nearest"
    coordinates: str = "half_pixel"
    nearest: str = "round_prefer_floor"
    cubic_a: float = -0.75
    exclude_outside: bool = False
    antialias: bool = False


COORDINATES = (
    "half_pixel",
    "pytorch_half_pixel",
    "half_pixel_symmetric",
    "align_corners",
    "asymmetric",
    "tf_half_pixel_for_nn",
)


def positions(how: str, size: int, out: int, scale: float) -> np.ndarray:
    """Compute where each output pixel lies among the input pixels.

    Args:
        how: One of ``COORDINATES``.
        size: Of the input, in pixels.
        out: Of the output, in pixels.
        scale: Of the resize as the file says it, which need not be ``out / size``.

    Returns:
        (out,), float32, in input pixels; the first has its centre at 0.
    """
    i, s = np.arange(out, dtype=F), F(scale)
    if how == "asymmetric":
        return i / s
    if how == "align_corners":
        return i * F(size - 1) / F(out - 1) if out > 1 else i * F(0)
    if how == "tf_half_pixel_for_nn":
        return (i + F(0.5)) / s
    if how == "pytorch_half_pixel" and out == 1:
        return i * F(0)
    middle = (i + F(0.5)) / s - F(0.5)
    if how == "half_pixel_symmetric":
        # The output's centre stays on the input's, however the output size was rounded.
        return F(size / 2) * (F(1) - F(out) / (s * F(size))) + middle
    return middle


def nearest_indices(x: np.ndarray, size: int, how: str, shrinks: bool) -> np.ndarray:
    """Choose the input pixel that "nearest" takes for each position.

    Args:
        x: (out,), float32, from :func:`positions`.
        size: Of the input, in pixels.
        how: ``floor``, ``ceil``, ``round_prefer_ceil``, ``round_prefer_floor``, or ``simple``, which is what operator
            sets 7 to 10 did.
        shrinks: Whether the scale is below 1; only ``simple`` asks.

    Returns:
        (out,), int64, from 0 to size - 1.
    """
    if how == "simple":
        index = np.ceil(x) if shrinks else np.floor(x)
    elif how == "floor":
        index = np.floor(x)
    elif how == "ceil":
        index = np.ceil(x)
    elif how == "round_prefer_ceil":
        index = np.floor(x + F(0.5))
    else:
        index = np.ceil(x - F(0.5))
    return np.clip(index, 0, size - 1).astype(np.int64)


def kernel(mode: Mode, distance: np.ndarray) -> np.ndarray:
    """Compute the weights of pixels by their distance: a triangle, or Keys' cubic.

    Args:
        mode: ``linear`` or ``cubic``, with its ``cubic_a``.
        distance: In input pixels, of any shape.

    Returns:
        The weights, in that shape; not yet normalised.
    """
    d = np.abs(distance)
    if mode.mode == "linear":
        return np.maximum(0.0, 1.0 - d)
    a = mode.cubic_a
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))


def weights(mode: Mode, size: int, out: int, scale: float) -> np.ndarray:
    """Compute the matrix of a linear or cubic resize of one axis.

    Args:
        mode: ``linear`` or ``cubic``.
        size: Of the input, in pixels.
        out: Of the output, in pixels.
        scale: Of the resize as the file says it, which need not be ``out / size``.

    Returns:
        (out, size), float32; every row sums to 1.
    """
    x = positions(mode.coordinates, size, out, scale).astype(np.float64)
    reach = 1 if mode.mode == "linear" else 2
    # Antialiasing widens the kernel by as much as the axis shrinks.
    wide = max(1.0, 1.0 / scale) if mode.antialias else 1.0
    if mode.mode == "linear" and not mode.antialias:
        x = np.clip(x, 0, size - 1)
    matrix = np.zeros((out, size))
    taps = np.floor(x)[:, None] + np.arange(-int(np.ceil(reach * wide)), int(np.ceil(reach * wide)) + 2)
    values = kernel(mode, (taps - x[:, None]) / wide)
    if mode.exclude_outside:
        values = np.where((taps >= 0) & (taps < size), values, 0.0)
    values /= values.sum(axis=1, keepdims=True)
    rows = np.broadcast_to(np.arange(out)[:, None], taps.shape)
    np.add.at(matrix, (rows, np.clip(taps, 0, size - 1).astype(np.int64)), values)
    return matrix.astype(F)
