"""Every pixel format Pillow opens, as grey or RGB with or without alpha, at 8 or 16 bits."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from sr_tvm.errors import SrTvmError

GREY_16 = ("I;16", "I;16B", "I;16L", "I;16N")
# Pillow has no 16-bit colour: it keeps the high byte of each sample. Told that the other byte order is in the file, it
# keeps the low byte instead, so decoding twice gives all 16 bits, at the speed of its C decoders.
SWAPPED = {"B": "L", "L": "B", "N": "B" if np.little_endian else "L"}
COLOUR_16 = ("RGB", "RGBA", "RGBX")


def to_array(path: Path, image: Image.Image, icc: bytes | None) -> tuple[np.ndarray, bytes | None, list[str]]:
    """Decode an image that was opened and not yet loaded, with all the bits that its samples have, up to 16.

    Args:
        path: Of the file, which some formats are decoded from twice.
        image: The opened image.
        icc: The colour profile in it; None if it has none.

    Returns:
        Pixels (H, W, C), uint8 or uint16; the profile that they are in, None for sRGB or an unknown one; and notes on
        what was lost.

    Raises:
        SrTvmError: Its samples have 32 bits.
    """
    raw = _raw_mode(image)
    notes: list[str] = []
    pixels: np.ndarray
    key = None if image.mode == "P" else image.info.get("transparency")
    base, _, order = raw.partition(";16")
    if image.format == "PNG" and raw == "LA;16B":
        # Four bytes a pixel, read as if they were RGBA.
        planes = _decode(path, image.format, "RGBA").astype(np.uint16)
        return planes[..., 0::2] << 8 | planes[..., 1::2], icc, notes
    if base in COLOUR_16 and order in SWAPPED:
        image.load()
        high = np.asarray(image)
        low = _decode(path, image.format, f"{base};16{SWAPPED[order]}")
        pixels = high.astype(np.uint16) << 8
        pixels |= low
    elif image.mode in GREY_16 or (image.mode == "I" and image.format in ("PNG", "PPM")):
        pixels = np.asarray(image).astype(np.uint16)[..., None]
    elif image.mode in ("I", "F"):
        kind = "32-bit whole" if image.mode == "I" else "floating-point"
        raise SrTvmError(f"{path}: {kind} samples are not supported; convert the picture to 16 bits a sample")
    else:
        if "16" in raw:
            notes.append("this kind of 16-bit picture was read at 8 bits")
        image, icc = _plain(image, icc, notes)
        pixels = np.asarray(image)
        pixels = pixels[..., None] if pixels.ndim == 2 else pixels
        if image.mode in ("LA", "RGBA"):
            key = None
    return _keyed(pixels, key), icc, notes


def _raw_mode(image: Image.Image) -> str:
    """Return how the file stores its samples, in Pillow's words, "" when it is more than that."""
    tiles = image.tile  # type: ignore[attr-defined]  # of ImageFile, which every opened file is
    if not tiles:
        return ""
    arguments = tiles[0][3]
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


def _decode(path: Path, kind: str | None, raw: str) -> np.ndarray:
    """Return the pixels of the file, decoded again with its samples taken for ``raw``."""
    with Image.open(path, formats=[str(kind)]) as image:
        image.tile = [_retold(tile, raw) for tile in image.tile]
        image.load()
        return np.asarray(image)


def _retold(tile: Any, raw: str) -> Any:
    arguments = (raw, *tile[3][1:]) if isinstance(tile[3], tuple) else raw
    return tile._replace(args=arguments) if hasattr(tile, "_replace") else (*tile[:3], arguments)


def _plain(image: Image.Image, icc: bytes | None, notes: list[str]) -> tuple[Image.Image, bytes | None]:
    """Return an 8-bit image in mode L, LA, RGB or RGBA, and the profile that it is in."""
    if image.mode in ("L", "LA", "RGB", "RGBA"):
        return image, icc
    if image.mode == "1":
        return image.convert("L"), icc
    if image.mode in ("P", "PA"):
        return image.convert("RGBA" if image.has_transparency_data else "RGB"), icc
    if image.mode in ("La", "RGBa"):  # premultiplied
        return image.convert("LA" if image.mode == "La" else "RGBA"), icc
    if image.mode == "CMYK":
        return _from_cmyk(image, icc, notes), None
    if image.mode == "LAB":
        return image.convert("RGB"), None
    return image.convert("RGB"), icc


def _from_cmyk(image: Image.Image, icc: bytes | None, notes: list[str]) -> Image.Image:
    if icc:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
            converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
            if converted is not None:
                return converted
        except (ImageCms.PyCMSError, OSError, ValueError):
            notes.append("the CMYK profile is damaged or foreign and was not used")
    return image.convert("RGB")


def _keyed(pixels: np.ndarray, key: Any) -> np.ndarray:
    """Return pixels with an alpha plane for PNG's single transparent grey or colour (tRNS), if there is one."""
    if pixels.shape[2] in (2, 4) or not isinstance(key, int | tuple):
        return pixels
    colour = np.asarray(key).ravel()
    if colour.size != pixels.shape[2]:
        return pixels
    alpha = np.where((pixels == colour).all(2, keepdims=True), 0, np.iinfo(pixels.dtype).max)
    return np.concatenate([pixels, alpha.astype(pixels.dtype)], axis=2)
