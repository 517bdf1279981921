"""Folders of pictures: find them, read them as uint8, tell equal pictures by their pixels."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sr_tvm.errors import SrTvmError
from sr_tvm.imaging import reading
from sr_tvm.system.files import sha256

FORMATS = (*reading.FORMATS, "PPM")
# Of those formats, by Pillow's list; without .pfm, whose samples have 32 bits.
SUFFIXES = frozenset({".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".webp", ".bmp", ".gif",
                      ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm"})  # fmt: skip
MAX_MEGAPIXELS = 89.4  # where Pillow begins to warn of decompression bombs


def list_pictures(folder: str | Path, warn: Callable[[str], None] = lambda _: None) -> list[Path]:
    """List the picture files of a folder, by suffix; subfolders and hidden files are left out.

    Args:
        folder: The folder.
        warn: Called, once, with how many other files and subfolders there are.

    Returns:
        At least one path, sorted by name.

    Raises:
        SrTvmError: There is no such folder, it cannot be read, or no picture is in it.
    """
    folder = Path(folder)
    try:
        with os.scandir(folder) as entries:
            seen = [(Path(entry), entry.is_dir()) for entry in entries if not entry.name.startswith(".")]
    except FileNotFoundError:
        raise SrTvmError(f"{folder}: no such folder; name a folder of pictures") from None
    except NotADirectoryError:
        raise SrTvmError(f"{folder}: not a folder; name the folder that holds the pictures") from None
    except OSError as error:
        raise SrTvmError(f"{folder}: cannot be read: {error.strerror or error}") from error
    found = sorted(path for path, is_folder in seen if not is_folder and path.suffix.lower() in SUFFIXES)
    if not found:
        kinds = ", ".join(sorted(s[1:] for s in SUFFIXES))
        raise SrTvmError(f"{folder}: no picture in it ({kinds}); pictures in subfolders do not count")
    if len(found) < len(seen):
        warn(_left_out(folder, seen))
    return found


def _left_out(folder: Path, seen: list[tuple[Path, bool]]) -> str:
    """Return one line on what in a folder is not read as a picture."""
    others = [path.suffix.lower() for path, is_folder in seen if not is_folder and path.suffix.lower() not in SUFFIXES]
    below = sum(is_folder for _, is_folder in seen)
    kinds = sorted({suffix or "none" for suffix in others})
    listed = ", ".join(kinds[:8]) + (", ..." if len(kinds) > 8 else "")
    told = [f"{len(others)} file{'s' * (len(others) != 1)} of other suffixes ({listed}) left out"] if others else []
    told += [f"{below} subfolder{'s' * (below != 1)} not looked into"] if below else []
    return f"{folder}: {', '.join(told)}"


def read_picture(path: str | Path) -> NDArray[np.uint8]:
    """Read the pixels of one picture as ``sr-tvm upscale`` reads them, then drop alpha and round 16 bits to 8.

    Args:
        path: Of the file.

    Returns:
        uint8, (H, W, 3) of RGB or (H, W) of grey.

    Raises:
        SrTvmError: The file is missing, is not a picture, is cut off, or is absurdly large.
    """
    found = reading.read_picture(path, MAX_MEGAPIXELS, FORMATS, "a smaller picture is needed")
    pixels = found.pixels[..., :-1] if found.has_alpha else found.pixels
    if found.bits == 16:
        # 65535 / 255 is 257, which is odd: there are no ties.
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return np.ascontiguousarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def file_digest(path: Path) -> str:
    """Hash the bytes of a file.

    Args:
        path: Of the file.

    Returns:
        The SHA-256 in hex.

    Raises:
        SrTvmError: The file cannot be read.
    """
    try:
        return sha256(path)
    except OSError as error:
        raise SrTvmError(f"{path}: cannot be read: {error.strerror or error}") from error


def pixel_digest(image: NDArray[np.uint8]) -> str:
    """Hash the pixels of a picture as RGB: equal for the same picture in another lossless container.

    Args:
        image: uint8, (H, W, 3) or grey (H, W).

    Returns:
        The SHA-256 of size and pixels, in hex.
    """
    image = as_rgb(image)
    return hashlib.sha256(repr(image.shape).encode() + np.ascontiguousarray(image).tobytes()).hexdigest()


def as_rgb(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Repeat a grey picture in three channels; leave RGB as it is.

    Args:
        image: uint8, (H, W, 3) or grey (H, W).

    Returns:
        uint8 (H, W, 3).
    """
    return np.repeat(image[:, :, None], 3, axis=2) if image.ndim == 2 else image
