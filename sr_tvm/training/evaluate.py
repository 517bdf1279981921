"""Score an upscaler on a folder of pictures by the protocol of the super-resolution papers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sr_tvm.errors import SrTvmError
from sr_tvm.imaging import metrics, pictures, resize
from sr_tvm.records.architecture import SCALES

Upscale = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]


def evaluate(
    upscale: Upscale,
    folder: str | Path,
    scale: int,
    warn: Callable[[str], None] = lambda _: None,
    tick: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Score an upscaler by its mean PSNR-Y and SSIM-Y over the pictures of a folder.

    Each picture is cut to a multiple of ``scale``, shrunk by MATLAB-style bicubic in uint8 RGB, upscaled, and compared
    on the BT.601 luma with ``scale`` border pixels shaved; a grey picture is its own Y.

    Args:
        upscale: From (h, w, 3), uint8, to (scale h, scale w, 3), uint8.
        folder: Of pictures in high resolution.
        scale: 2, 3 or 4.
        warn: Told each picture that is left out, and why.
        tick: Told (pictures done, pictures in all).

    Returns:
        ``psnr_y`` (dB; infinite if some output is perfect), ``ssim_y``, ``images`` (how many) and ``rows``, one
        {name, psnr_y, ssim_y} each.

    Raises:
        SrTvmError: The scale is unknown, the folder has no readable picture, or an output has the wrong size.
    """
    if scale not in SCALES:
        raise SrTvmError(f"scale is {scale}; one of {', '.join(map(str, SCALES))} is allowed")
    rows: list[dict[str, Any]] = []
    for path, high, low in examples(folder, scale, warn, tick):
        output = upscale(low)
        try:
            psnr, ssim = metrics.psnr_y(high, output, scale), metrics.ssim_y(high, output, scale)
        except SrTvmError as error:
            raise SrTvmError(f"{path}: {error}") from error
        rows.append({"name": path.name, "psnr_y": psnr, "ssim_y": ssim})
    return {
        "psnr_y": math.fsum(r["psnr_y"] for r in rows) / len(rows),
        "ssim_y": math.fsum(r["ssim_y"] for r in rows) / len(rows),
        "images": len(rows),
        "rows": rows,
    }


def examples(
    folder: str | Path,
    scale: int,
    warn: Callable[[str], None] = lambda _: None,
    tick: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[tuple[Path, NDArray[np.uint8], NDArray[np.uint8]]]:
    """Read the pictures of a folder, and make the low resolution of each.

    Args:
        folder: Of pictures in high resolution.
        scale: By how much a picture's sides are shrunk.
        warn: Told each picture that is left out, and why.
        tick: Told (pictures done, pictures in all).

    Yields:
        Of each usable picture: its path, itself cut to a multiple of ``scale``, (H, W[, 3]), and its low resolution
        (h, w, 3), both uint8.

    Raises:
        SrTvmError: The folder has no usable picture.
    """
    paths, found = pictures.list_pictures(folder, warn), 0
    for i, path in enumerate(paths):
        tick(i, len(paths))
        try:
            high = resize.modcrop(pictures.read_picture(path), scale)
            if min(high.shape[:2]) < metrics.SSIM_WINDOW + 2 * scale:
                raise SrTvmError(f"{path}: too small to compare; {metrics.SSIM_WINDOW + 2 * scale} pixels are needed")
        except SrTvmError as error:
            warn(f"{error}; left out")
            continue
        found += 1
        yield path, high, pictures.as_rgb(resize.low_resolution(high, scale))
    tick(len(paths), len(paths))
    if not found:
        raise SrTvmError(f"{folder}: none of its {len(paths)} pictures can be used; see the warnings above")
