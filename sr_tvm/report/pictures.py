"""Pictures as data URIs. What a run folder holds is decoded and written anew: nothing but pixels gets into a page."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from PIL import Image

from sr_tvm.errors import SrTvmError
from sr_tvm.imaging.reading import open_image

MOST_PIXELS = 64_000_000


def open_picture(path: Path) -> Image.Image:
    """Read a picture of a run folder as RGB.

    Args:
        path: Of the file.

    Returns:
        Pillow's image in mode RGB.

    Raises:
        SrTvmError: Not a picture, or an absurdly large one.
    """
    try:
        with open_image(path) as picture:
            if picture.width * picture.height > MOST_PIXELS:
                raise SrTvmError(f"{path}: {picture.width} x {picture.height} pixels; too large for a page")
            return picture.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise SrTvmError(f"{path}: not a picture that can be read ({str(error)[:100]})") from None


def data_uri(picture: Image.Image, quality: int = 92) -> str:
    """Encode a picture for use in a page.

    Args:
        picture: In mode RGB.
        quality: Of a JPEG without chroma subsampling, 1 to 100; 0 means lossless PNG, for crops looked at pixel by
            pixel.

    Returns:
        A data URI.
    """
    buffer = io.BytesIO()
    if quality:
        picture.save(buffer, "JPEG", quality=quality, subsampling=0, optimize=True)
    else:
        picture.save(buffer, "PNG", optimize=True)
    kind = "jpeg" if quality else "png"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
