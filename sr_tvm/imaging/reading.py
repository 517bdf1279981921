"""Pictures in: any common file to plain numbers, with what must travel along (colour profile, EXIF)."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from sr_tvm.errors import SrTvmError
from sr_tvm.imaging import modes

# Formats that Pillow decodes by itself: EPS, for one, would start Ghostscript on a stranger's file, by any name.
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")
LIMIT_ADVICE = "raise it with --max-megapixels if the file is trusted"
MAX_MEGAPIXELS = 50.0
ORIENTATION, EXIF_WIDTH, EXIF_HEIGHT, EXIF_IFD = 0x0112, 0xA002, 0xA003, 0x8769


@dataclass(frozen=True)
class Picture:
    """Pixels of shape (H, W, C), uint8 or uint16; C is 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha.

    ``icc`` and ``exif`` are raw bytes; EXIF no longer holds an orientation, which the pixels have. ``notes`` say what
    of the file was left out.
    """

    pixels: np.ndarray
    icc: bytes | None = None
    exif: bytes | None = None
    notes: tuple[str, ...] = ()

    @property
    def has_alpha(self) -> bool:
        """Whether the last channel is alpha."""
        return self.pixels.shape[2] in (2, 4)

    @property
    def bits(self) -> int:
        """The bits of a sample, 8 or 16."""
        return 8 * self.pixels.dtype.itemsize


def open_image(path: str | Path, formats: tuple[str, ...] = FORMATS) -> Image.Image:
    """Open a file that may come from anyone with Pillow: by its content one of ``formats``, or an error.

    Args:
        path: Of the file.
        formats: Pillow's names of those that are allowed.

    Returns:
        Pillow's image, not decoded yet.

    Raises:
        PIL.UnidentifiedImageError: Of another format; and whatever else Pillow raises on bad files.
    """
    return Image.open(path, formats=formats)


def read_picture(
    path: str | Path,
    max_megapixels: float = MAX_MEGAPIXELS,
    formats: tuple[str, ...] = FORMATS,
    advice: str = LIMIT_ADVICE,
) -> Picture:
    """Read the first frame of a picture file, upright, 16-bit files at 16 bits.

    Palettes become RGB, bilevel pictures grey, CMYK is converted to sRGB by its profile if it has one.

    Args:
        path: Of the file.
        max_megapixels: The largest picture that is decoded, in 1e6 pixels.
        formats: Pillow's names of those that are allowed.
        advice: The end of the error about a picture that is too large.

    Returns:
        The pixels, with the colour profile and EXIF data that go with them and notes on what was left out.

    Raises:
        SrTvmError: Missing, empty, no picture, truncated, over ``max_megapixels`` by its header, or of a kind that is
            not supported (32 bits a sample).
    """
    path = Path(path)
    _check_file(path)
    with _translated(path, formats), warnings.catch_warnings():
        # The limit below is ours, and stricter; Pillow's hard guard, at twice its limit, still raises.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        warnings.simplefilter("ignore", UserWarning)  # a damaged EXIF or TIFF tag is no reason for noise
        with open_image(path, formats) as image:
            _check_size(path, image.width, image.height, max_megapixels, advice)
            # An MPO is a JPEG with a camera's previews or second eye behind it.
            frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
            icc = image.info.get("icc_profile")
            pixels, icc, notes = modes.to_array(path, image, icc)
            orientation, exif = _exif(image, pixels)
    if frames > 1:
        notes.append(f"the file holds {frames} frames; only the first is used")
    pixels = _upright(pixels, orientation)
    icc, dropped = _fitting_profile(icc, pixels.shape[2] <= 2)
    return Picture(pixels, icc, exif, (*notes, *dropped))


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise SrTvmError(f"{path}: is a folder; name a picture file")
    try:
        if not path.is_file():
            raise SrTvmError(f"{path}: {'not a plain file' if path.exists() else 'no such file'}; name a picture file")
        if path.stat().st_size == 0:
            raise SrTvmError(f"{path}: is empty; a picture was expected")
    except (OSError, ValueError) as error:
        raise SrTvmError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _check_size(path: Path, width: int, height: int, limit: float, advice: str) -> None:
    if width < 1 or height < 1:
        raise SrTvmError(f"{path}: the picture has no pixels ({width}x{height})")
    if width * height > limit * 1e6:
        raise SrTvmError(
            f"{path}: {width}x{height} is {width * height / 1e6:.1f} megapixels, over the limit of {limit:g}; {advice}"
        )


@contextmanager
def _translated(path: Path, formats: tuple[str, ...]) -> Iterator[None]:
    """Raise whatever a decoder says of a bad file as one line that names the file.

    Raises:
        SrTvmError: The body has raised.
    """
    try:
        yield
    except SrTvmError:
        raise
    except Image.UnidentifiedImageError:
        kinds = ", ".join(formats)
        raise SrTvmError(f"{path}: not a picture that can be read, or a damaged one; {kinds} are") from None
    except Image.DecompressionBombError as error:
        raise SrTvmError(f"{path}: refused as a decompression bomb: {error}") from None
    except MemoryError:
        raise SrTvmError(f"{path}: not enough memory to decode this picture") from None
    except PermissionError as error:
        raise SrTvmError(f"{path}: cannot be read: {error.strerror}") from None
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error, zlib.error and more
        raise SrTvmError(f"{path}: damaged or truncated picture ({' '.join(str(error).split())[:120]})") from error


def _exif(image: Image.Image, pixels: np.ndarray) -> tuple[int, bytes | None]:
    """Return the orientation 1 to 8, and the other EXIF data; None of a TIFF, whose tags describe its own storage."""
    try:
        exif = image.getexif()
        orientation = exif.pop(ORIENTATION, 1)
        if not isinstance(orientation, int) or not 1 <= orientation <= 8:
            orientation = 1
        if image.format == "TIFF" or not exif:
            return orientation, None
        details = exif.get_ifd(EXIF_IFD)
        details.pop(EXIF_WIDTH, None)  # they describe the picture before it was enlarged
        details.pop(EXIF_HEIGHT, None)
        return orientation, exif.tobytes()
    except Exception:  # damaged EXIF data is common, and no reason to refuse a picture
        return 1, None


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Return pixels with an EXIF orientation undone (CIPA DC-008, tag 0x0112)."""
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _fitting_profile(icc: bytes | None, grey: bool) -> tuple[bytes | None, tuple[str, ...]]:
    """Return a profile if it is for grey or RGB as the picture is, else a note: readers refuse one that is not."""
    if not icc:
        return None, ()
    if icc[16:20] == (b"GRAY" if grey else b"RGB "):
        return icc, ()
    return None, (f"a colour profile for {icc[16:20].decode('latin1').strip() or 'nothing'} pictures was dropped",)
