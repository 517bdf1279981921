"""MATLAB's bicubic ``imresize``, bit for bit on uint8: the degradation that published super-resolution figures assume.

Source of the rules: MATLAB's documented behaviour (antialiasing when shrinking, rows before columns, symmetric border)
and Keys' cubic kernel with a = -0.5 (Keys 1981). On uint8 MATLAB rounds to uint8 after each of the two passes.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from sr_tvm.errors import SrTvmError

KERNEL_WIDTH = 4


def cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Evaluate Keys' cubic kernel (Keys 1981, a = -0.5).

    Args:
        x: Distances in pixels, float64 of any shape.

    Returns:
        Weights of the same shape; 0 beyond a distance of 2.
    """
    a = np.abs(x)
    near = 1.5 * a**3 - 2.5 * a**2 + 1
    far = -0.5 * a**3 + 2.5 * a**2 - 4 * a + 2
    return np.where(a <= 1, near, np.where(a <= 2, far, 0.0))


def contributions(length: int, scale: Fraction) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Find the input pixels that each output pixel along an axis reads, and their weights.

    Args:
        length: Of the axis, in input pixels.
        scale: Output length by input length; below 1 the kernel is stretched against aliasing.

    Returns:
        Indices and weights, two arrays of shape (ceil(length x scale), taps); each row of weights sums to 1.
    """
    factor = float(scale)
    shrink = min(factor, 1.0)  # shrinking stretches the kernel by 1/scale: the antialiasing
    width = KERNEL_WIDTH / shrink
    centre = np.arange(1, math.ceil(length * scale) + 1) / factor + 0.5 * (1 - 1 / factor)
    index = np.floor(centre - width / 2)[:, None] + np.arange(math.ceil(width) + 2)
    weight = shrink * cubic(shrink * (centre[:, None] - index))
    weight /= weight.sum(axis=1, keepdims=True)
    mirror = np.concatenate([np.arange(length), np.arange(length - 1, -1, -1)])
    read = mirror[(index.astype(np.int64) - 1) % (2 * length)]
    used = (weight != 0).any(axis=0)
    return read[:, used], weight[:, used]


def _rows(image: NDArray[np.uint8], scale: Fraction) -> NDArray[np.uint8]:
    read, weight = contributions(image.shape[0], scale)
    total = np.zeros((read.shape[0], *image.shape[1:]))
    extra = (1,) * (image.ndim - 1)
    for tap in range(read.shape[1]):
        total += weight[:, tap].reshape(-1, *extra) * image[read[:, tap]]
    # Half away from zero, as MATLAB rounds; numpy's round would go to even.
    return np.clip(np.floor(total + 0.5), 0, 255).astype(np.uint8)


def imresize(image: NDArray[np.uint8], scale: Fraction | int) -> NDArray[np.uint8]:
    """Resize a picture as MATLAB's bicubic ``imresize`` does.

    Args:
        image: uint8 (H, W) or (H, W, C).
        scale: The factor for both sides.

    Returns:
        uint8 (ceil(scale H), ceil(scale W)[, C]).

    Raises:
        SrTvmError: The pixels are not uint8, the shape is not a picture's, or the scale is not above zero.
    """
    scale = Fraction(scale)
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or 0 in image.shape:
        raise SrTvmError(f"imresize takes uint8 of shape (H, W) or (H, W, C), not {image.dtype} of {image.shape}")
    if scale <= 0:
        raise SrTvmError(f"imresize: the scale is {scale}; it must be above zero")
    tall = _rows(image, scale)
    return np.ascontiguousarray(np.swapaxes(_rows(np.swapaxes(tall, 0, 1), scale), 0, 1))


def modcrop(image: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    """Cut rows and columns off the end until both sizes are multiples of ``scale``.

    Args:
        image: uint8 (H, W) or (H, W, C).
        scale: A whole factor, 1 or more.

    Returns:
        A view of the picture.
    """
    height, width = image.shape[:2]
    return image[: height - height % scale, : width - width % scale]


def low_resolution(high: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    """Shrink a picture bicubically to 1/scale of its size.

    Args:
        high: uint8 (H, W) or (H, W, C), whose height and width are multiples of ``scale``.
        scale: A whole factor, 1 or more.

    Returns:
        uint8 (H / scale, W / scale[, C]).

    Raises:
        SrTvmError: The pixels are not uint8, or the shape is not a picture's.
    """
    return imresize(high, Fraction(1, scale))
