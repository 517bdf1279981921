"""Pixels to more pixels, tile by tile. Never holds floats of more than a tile."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sr_tvm.imaging import planes
from sr_tvm.imaging.tiles import plan

Run = Callable[[np.ndarray], np.ndarray]
Progress = Callable[[int, int], None]


def reach(halo: int) -> int:
    """Compute the halo of everything that happens to a tile: the network and the bicubic planes beside it.

    Args:
        halo: Of the network, in input pixels to each side.

    Returns:
        Input pixels to each side that an output pixel depends on.
    """
    return max(halo, planes.BICUBIC_REACH)


def enlarge(
    pixels: np.ndarray,
    run: Run,
    channels: int,
    scale: int,
    halo: int,
    tile: int | tuple[int, int],
    dtype: np.dtype | type | None = None,
    progress: Progress | None = None,
) -> np.ndarray:
    """Enlarge pixels, tile by tile, to what the network makes of the whole picture.

    Alpha is always enlarged bicubically: what is fully opaque or fully transparent stays exactly so, which no network
    promises.

    Args:
        pixels: (H, W, C), uint8 or uint16; C as in :class:`~sr_tvm.imaging.reading.Picture`.
        run: The network on one tile: float32 (``channels``, h, w) to (``channels``, scale h, scale w).
        channels: Of the network: 3 (RGB), or 1 (BT.601 luma; chroma is then enlarged bicubically).
        scale: The network's factor.
        halo: Input pixels to each side that the network looks at.
        tile: The side of square tiles, or (height, width), in input pixels.
        dtype: Of the result, uint8 or uint16; that of ``pixels`` if None.
        progress: Called after each tile with the tiles done and all tiles.

    Returns:
        (scale H, scale W, C).

    Raises:
        SrTvmError: Tiles are too small for the halo.
    """
    height, width, planes_in = pixels.shape
    alpha = planes_in in (2, 4)
    dtype = pixels.dtype if dtype is None else np.dtype(dtype)
    margin = reach(halo)
    if alpha:
        # A visible result reaches BICUBIC_REACH beyond visible pixels, and the network looks halo further.
        pixels = planes.fill_hidden(pixels, halo + planes.BICUBIC_REACH + 1)
    result = np.empty((height * scale, width * scale, planes_in), dtype)
    tiles = plan(height, width, tile, margin)
    for done, (read, kept) in enumerate(tiles, 1):
        x = planes.to_float(pixels[read.slices])
        colour = x[..., :-1] if alpha else x
        y = _network(colour, run, channels, scale)
        if alpha:
            y = np.concatenate([y, planes.bicubic(x[..., -1:], scale)], axis=2)
        wanted = kept.within(read).scaled(scale)
        result[kept.scaled(scale).slices] = planes.to_pixels(y[wanted.slices], dtype)
        if progress:
            progress(done, len(tiles))
    return result


def _network(x: np.ndarray, run: Run, channels: int, scale: int) -> np.ndarray:
    """Return (scale h, scale w, C) floats of (h, w, C), where C is 1 or 3 and the network may want the other."""
    grey = x.shape[2] == 1
    if channels == 3:
        y = _planar(run, np.repeat(x, 3, axis=2) if grey else x)
        return planes.grey(y) if grey else y
    if grey:
        return planes.luma_to_grey(_planar(run, planes.grey_to_luma(x)))
    return planes.with_luma(planes.bicubic(x, scale), _planar(run, planes.luma(x)))


def _planar(run: Run, x: np.ndarray) -> np.ndarray:
    return run(np.ascontiguousarray(x.transpose(2, 0, 1))).transpose(1, 2, 0)
