"""Pictures out: the format by the file's extension, checked before any work is done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from sr_tvm.errors import SrTvmError
from sr_tvm.imaging import png
from sr_tvm.imaging.reading import Picture

JPEG_QUALITY, WEBP_QUALITY = 95, 95
MAX_JPEG_EXIF = 65533


@dataclass(frozen=True)
class Format:
    """What a file format can hold: transparency, which ``bits`` a sample, and how many pixels a side."""

    name: str
    alpha: bool
    bits: tuple[int, ...]
    max_side: int


PNG = Format("png", True, (8, 16), 2**31 - 1)
JPEG = Format("jpg", False, (8,), 65500)
WEBP = Format("webp", True, (8,), 16383)
TIFF = Format("tiff", True, (8, 16), 2**31 - 1)
EXTENSIONS = {".png": PNG, ".jpg": JPEG, ".jpeg": JPEG, ".webp": WEBP, ".tif": TIFF, ".tiff": TIFF}


def output_format(path: str | Path) -> Format:
    """Choose the format that a file name asks for.

    Args:
        path: Of the file, which need not exist.

    Returns:
        The format of its extension.

    Raises:
        SrTvmError: The extension is not known; the message lists those that are.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in EXTENSIONS:
        said = f"the extension {suffix!r} is not known" if suffix else "the name has no extension"
        raise SrTvmError(f"cannot write {path}: {said}; use {', '.join(EXTENSIONS)}")
    return EXTENSIONS[suffix]


def check_fits(path: str | Path, width: int, height: int, alpha: bool) -> Format:
    """Choose the format that a file name asks for, and check that it can hold a picture.

    Args:
        path: Of the file, which need not exist.
        width: Of the picture, in pixels.
        height: Of the picture, in pixels.
        alpha: Whether it has transparency.

    Returns:
        The format of the extension.

    Raises:
        SrTvmError: Unknown extension, transparency in a format without, or a side longer than the format allows.
    """
    kind = output_format(path)
    if alpha and not kind.alpha:
        raise SrTvmError(f"cannot write {path}: {kind.name} holds no transparency, which this picture has; use .png")
    if max(width, height) > kind.max_side:
        raise SrTvmError(
            f"cannot write {path}: the result is {width}x{height}, and {kind.name} holds at most {kind.max_side} "
            "pixels a side; use .png"
        )
    return kind


def write_picture(
    path: str | Path, picture: Picture, kind: Format, progress: Callable[[int, int], None] | None = None
) -> None:
    """Write a picture in a format, whatever the path's extension. Not atomic: give it a partial file.

    Args:
        path: Of the file.
        picture: Of 8 bits for a format that holds no more, and without alpha for one that has none.
        kind: The format.
        progress: Called with the rows done and all rows; of PNG only.

    Raises:
        SrTvmError: The file cannot be written.
        ValueError: The format cannot hold the picture.
    """
    if picture.bits not in kind.bits or (picture.has_alpha and not kind.alpha):
        raise ValueError(f"{kind.name} cannot hold {picture.pixels.shape[2]} channels of {picture.bits} bits")
    try:
        if kind is PNG:
            with open(path, "wb") as handle:
                png.write(handle, picture.pixels, picture.icc, picture.exif, progress)
        elif kind is TIFF:
            _write_tiff(path, picture)
        else:
            _write_pillow(path, picture, kind)
    except OSError as error:
        raise SrTvmError(f"cannot write {path}: {error.strerror or error}") from error
    except (ValueError, MemoryError) as error:
        raise SrTvmError(f"cannot write {path} as {kind.name}: {error or 'not enough memory'}") from error


def _write_tiff(path: str | Path, picture: Picture) -> None:
    import tifffile  # Pillow writes no 16-bit colour

    channels = picture.pixels.shape[2]
    tifffile.imwrite(
        path,
        picture.pixels if channels > 1 else picture.pixels[..., 0],
        photometric="rgb" if channels >= 3 else "minisblack",
        planarconfig="contig" if channels > 1 else None,
        extrasamples=["unassalpha"] if picture.has_alpha else None,
        compression="zlib",
        predictor=True,
        iccprofile=picture.icc,
        metadata=None,
        software="sr-tvm",
    )


def _write_pillow(path: str | Path, picture: Picture, kind: Format) -> None:
    pixels = picture.pixels
    image = Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels))
    exif = picture.exif if picture.exif and len(picture.exif) <= MAX_JPEG_EXIF else None
    extra = {"icc_profile": picture.icc, "exif": exif}
    extra = {k: v for k, v in extra.items() if v}
    if kind is JPEG:
        # 4:4:4: half of the colour would be thrown away again otherwise.
        image.save(path, "JPEG", quality=JPEG_QUALITY, subsampling=0, **extra)
    else:
        image.save(path, "WEBP", quality=WEBP_QUALITY, method=4, exact=picture.has_alpha, **extra)
