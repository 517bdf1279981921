"""Folders of pictures: find them, read them as uint8, tell equal pictures by their pixels."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from sr_tvm.errors import SrTvmError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm"})
GREY = frozenset({"1", "L", "LA", "La"})
DEEP = frozenset({"I;16", "I;16L", "I;16B", "I"})


def list_pictures(folder: str | Path) -> list[Path]:
    """The picture files of a folder, by suffix, sorted by name; subfolders and hidden files are left out.

    Raises:
        SrTvmError: there is no such folder, it cannot be read, or no picture is in it.
    """
    folder = Path(folder)
    try:
        found = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    except FileNotFoundError:
        raise SrTvmError(f"{folder}: no such folder; name a folder of pictures") from None
    except NotADirectoryError:
        raise SrTvmError(f"{folder}: not a folder; name the folder that holds the pictures") from None
    except OSError as error:
        raise SrTvmError(f"{folder}: cannot be read: {error.strerror or error}") from error
    if not found:
        kinds = ", ".join(sorted(s[1:] for s in SUFFIXES))
        raise SrTvmError(f"{folder}: no picture in it ({kinds}); pictures in subfolders do not count")
    return found


def _pixels(image: Image.Image) -> NDArray[np.uint8]:
    image = ImageOps.exif_transpose(image)
    if image.mode in DEEP:
        return np.clip(np.floor(np.asarray(image, dtype=np.float64) / 257 + 0.5), 0, 255).astype(np.uint8)
    if image.mode in GREY:
        return np.asarray(image.convert("L"))
    return np.asarray(image.convert("RGB"))


def read_picture(path: str | Path) -> NDArray[np.uint8]:
    """Pixels of one picture: (H, W, 3) RGB, or (H, W) for a grey one. Alpha is dropped, 16 bits are rounded to 8.

    Raises:
        SrTvmError: the file is missing, is not a picture, is cut off, or is absurdly large.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                return _pixels(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise SrTvmError(f"{path}: more than {Image.MAX_IMAGE_PIXELS} pixels; a smaller picture is needed") from None
    except UnidentifiedImageError:
        raise SrTvmError(f"{path}: not a picture that can be read") from None
    except FileNotFoundError:
        raise SrTvmError(f"{path}: no such file") from None
    # Pillow's decoders let many kinds through on damaged files; MemoryError too, for hostile sizes.
    except (OSError, SyntaxError, ValueError, TypeError, EOFError, MemoryError, IndexError, KeyError) as error:
        raise SrTvmError(f"{path}: cannot be read as a picture: {str(error)[:120]}") from None


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    try:
        with path.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError as error:
        raise SrTvmError(f"{path}: cannot be read: {error.strerror or error}") from error


def pixel_digest(image: NDArray[np.uint8]) -> str:
    """SHA-256 of the pixels as RGB: equal for the same picture in another lossless container."""
    image = as_rgb(image)
    return hashlib.sha256(repr(image.shape).encode() + np.ascontiguousarray(image).tobytes()).hexdigest()


def as_rgb(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, 3) of a picture; grey is repeated in the three channels."""
    return np.repeat(image[:, :, None], 3, axis=2) if image.ndim == 2 else image
