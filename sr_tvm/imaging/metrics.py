"""PSNR and SSIM of the luma, as super-resolution papers report them; scikit-image does the sums of the latter.

It is not loaded before it is needed: a GPU machine that only trains and tells the PSNR along the way may lack it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sr_tvm.errors import SrTvmError
from sr_tvm.imaging.colour import FULL_RANGE, STUDIO_FOOT, STUDIO_SUMS

SSIM_WINDOW = 11  # what sigma 1.5 truncated at 3.5 sigma spans
# RGB 0..255 to Y: studio range 16..235 for colour; full range 0..255 for a grey picture's counterpart.
STUDIO = np.array(STUDIO_SUMS) / 255
FULL = np.array(FULL_RANGE)


def luma(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Compute the luma of a picture in BT.601's studio range, not rounded.

    Args:
        image: RGB (H, W, 3), uint8; or grey (H, W), which is its own luma.

    Returns:
        (H, W) float64: 16..235 of RGB, 0..255 of grey.
    """
    pixels = image.astype(np.float64)
    return pixels if image.ndim == 2 else STUDIO_FOOT + pixels @ STUDIO


def _planes(
    reference: NDArray[np.uint8], output: NDArray[np.uint8], border: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if reference.shape[:2] != output.shape[:2]:
        raise SrTvmError(f"the output is {output.shape[:2]} (height, width), but the reference {reference.shape[:2]}")
    if reference.ndim == 2 and output.ndim == 3:
        a, b = luma(reference), output.astype(np.float64) @ FULL
    else:
        a, b = luma(reference), luma(output)
    inside = slice(border, -border or None)
    a, b = a[inside, inside], b[inside, inside]
    if a.size == 0:
        raise SrTvmError(f"a picture of {reference.shape[:2]} pixels has nothing left inside a border of {border}")
    return a, b


def psnr_y(reference: NDArray[np.uint8], output: NDArray[np.uint8], border: int) -> float:
    """Measure the PSNR of the luma inside a border.

    A grey reference is compared as luma itself, with the grey of an RGB output.

    Args:
        reference: The true picture, uint8 (H, W, 3) or (H, W).
        output: What was made of it, of the same height and width.
        border: Pixels at each edge that do not count.

    Returns:
        The PSNR in dB; infinite for equal pictures.

    Raises:
        SrTvmError: The sizes differ, or the border leaves nothing.
    """
    a, b = _planes(reference, output, border)
    error = float(np.mean((a - b) ** 2))
    return 10 * math.log10(255**2 / error) if error else math.inf


def psnr_y_of_planes(reference: NDArray[np.floating], output: NDArray[np.floating], border: int) -> float:
    """Measure the PSNR between what two networks made, before it is rounded to pixels.

    Args:
        reference: (C, H, W) in 0..1; C is 3 for RGB, of which the luma is compared, or 1 for luma.
        output: Of the same shape; values outside 0..1 count as the nearer end.
        border: Pixels at each edge that do not count.

    Returns:
        The PSNR in dB; infinite for equal planes.

    Raises:
        SrTvmError: One of them is not finite: min and max of such figures would depend on the order of the pictures.
    """
    if not (np.isfinite(reference).all() and np.isfinite(output).all()):
        raise SrTvmError("an output has NaN or infinite pixels")
    weights = STUDIO if len(reference) == 3 else np.ones(1)
    a, b = (np.tensordot(weights, y.astype(np.float64).clip(0, 1) * 255, 1) for y in (reference, output))
    inside = slice(border, -border or None)
    error = float(np.mean((a - b)[inside, inside] ** 2))
    return 10 * math.log10(255**2 / error) if error else math.inf


def ssim_y(reference: NDArray[np.uint8], output: NDArray[np.uint8], border: int) -> float:
    """Measure the SSIM of the luma inside a border.

    After Wang et al. 2004: Gaussian window, sigma 1.5, population variance.

    Args:
        reference: The true picture, uint8 (H, W, 3) or (H, W).
        output: What was made of it, of the same height and width.
        border: Pixels at each edge that do not count.

    Returns:
        The SSIM, at most 1.

    Raises:
        SrTvmError: The sizes differ, or fewer than 11 x 11 pixels are left inside the border.
    """
    from skimage.metrics import structural_similarity

    a, b = _planes(reference, output, border)
    if min(a.shape) < SSIM_WINDOW:
        raise SrTvmError(
            f"SSIM needs {SSIM_WINDOW} x {SSIM_WINDOW} pixels inside the border of {border}; here are {a.shape}"
        )
    return float(
        structural_similarity(a, b, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
    )
