"""A PNG writer for 8 and 16 bits a sample that streams rows.

Pillow writes no 16-bit colour, and would copy a picture of 200 megapixels before it writes one of 8 bits.
Format: https://www.w3.org/TR/png-3/
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import BinaryIO

import numpy as np

COLOUR_TYPE = {1: 0, 2: 4, 3: 2, 4: 6}  # channels to PNG's colour type
BAND_BYTES = 4 << 20
LEVEL = 4
Progress = Callable[[int, int], None]


def write(
    handle: BinaryIO, pixels: np.ndarray, icc: bytes | None, exif: bytes | None, progress: Progress | None = None
) -> None:
    """Write a picture, band by band.

    Args:
        handle: An open file.
        pixels: (H, W, C), uint8 or uint16; C is 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha.
        icc: A colour profile to put in; none if None.
        exif: EXIF data to put in; none if None.
        progress: Called after each band with the rows done and all rows.
    """
    height, width, channels = pixels.shape
    bits = 8 * pixels.dtype.itemsize
    handle.write(b"\x89PNG\r\n\x1a\n")
    _chunk(handle, b"IHDR", struct.pack(">IIBBBBB", width, height, bits, COLOUR_TYPE[channels], 0, 0, 0))
    if icc:
        _chunk(handle, b"iCCP", b"ICC profile\0\0" + zlib.compress(icc))
    if exif:
        _chunk(handle, b"eXIf", exif.removeprefix(b"Exif\0\0"))
    packer = zlib.compressobj(LEVEL)
    above = np.zeros((1, width * channels * bits // 8), np.uint8)
    rows = max(1, BAND_BYTES // above.size)
    for top in range(0, height, rows):
        band = pixels[top : top + rows].astype(f">u{bits // 8}", copy=False)
        band = np.ascontiguousarray(band).view(np.uint8).reshape(len(band), -1)
        _chunk(handle, b"IDAT", packer.compress(_filtered(band, above, channels * bits // 8)))
        above = band[-1:]
        if progress:
            progress(min(height, top + rows), height)
    _chunk(handle, b"IDAT", packer.flush())
    _chunk(handle, b"IEND", b"")


def _chunk(handle: BinaryIO, kind: bytes, data: bytes) -> None:
    handle.write(struct.pack(">I", len(data)))
    handle.write(kind)
    handle.write(data)
    handle.write(struct.pack(">I", zlib.crc32(data, zlib.crc32(kind))))


def _filtered(rows: np.ndarray, above: np.ndarray, step: int) -> bytes:
    """Return each row behind the filter whose result has the smallest sum of absolutes, the standard's own heuristic.

    ``rows`` are bytes (N, row bytes), ``above`` the row before them, ``step`` the bytes of a pixel.
    """
    up = np.concatenate([above, rows[:-1]])
    left, corner = np.zeros_like(rows), np.zeros_like(rows)
    left[:, step:], corner[:, step:] = rows[:, :-step], up[:, :-step]
    candidates = {1: rows - left, 2: rows - up, 4: rows - _paeth(left, up, corner)}
    best, cost = rows, _cost(rows)
    kinds = np.zeros((len(rows), 1), np.uint8)
    for kind, candidate in candidates.items():
        its = _cost(candidate)
        better = its < cost
        best = np.where(better, candidate, best)
        kinds[better[:, 0]] = kind
        cost = np.minimum(cost, its)
    return np.concatenate([kinds, best], axis=1).tobytes()


def _cost(filtered: np.ndarray) -> np.ndarray:
    # A byte is as far from 0 as its signed reading; minimum avoids the one that has no positive, -128.
    return np.minimum(filtered, 0 - filtered).sum(1, keepdims=True, dtype=np.int64)


def _paeth(left: np.ndarray, up: np.ndarray, corner: np.ndarray) -> np.ndarray:
    a, b, c = left.astype(np.int16), up.astype(np.int16), corner.astype(np.int16)
    pa, pb = np.abs(b - c), np.abs(a - c)
    pc = np.abs(a + b - 2 * c)
    return np.where((pa <= pb) & (pa <= pc), left, np.where(pb <= pc, up, corner))
