"""Packs the training pictures into one file that is small enough to travel.

Run it as .venv/bin/python models/pack.py --data DIR. Of every picture its most detailed window is taken, as large as
fits for all. A window of a JPEG is cut along its blocks and written with its own tables, which changes next to nothing
and takes a third of what a lossless format takes; others are written as lossless WebP. Set5 goes along, to score on. It
is a zip file: models/train.py takes it as --data.
"""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin

from recipes.pictures import eval_folders, refuse_leaks, train_folders
from sr_tvm.bars import bar
from sr_tvm.errors import SrTvmError
from sr_tvm.imaging import pictures
from sr_tvm.system import files
from sr_tvm.system.files import sha256
from sr_tvm.training.data import Tick, load_pairs
from sr_tvm.training.drawing import BLOCK, block_energy, patch_energy

SCHEMA, VERSION = "sr-tvm/picture-pack", 1
INDEX, VALIDATE = "index.json", "Set5"
SIDES = (512, 448, 384, 352, 320, 288, 256, 240, 224, 208, 192, 176, 160, 144, 128, 112, 96)
UNIT = 16  # pixels: the blocks of a JPEG whose colours are halved both ways
FAITHFUL = 40.0  # dB; a window of a JPEG that differs more is written without loss
MOST = 1 << 30  # bytes of all pictures in a pack
EPOCH = (1980, 1, 1, 0, 0, 0)  # of all members: equal pictures make equal packs


@dataclass(frozen=True)
class PictureWindow:
    """A picture, and how much detail is where in it.

    Attributes:
        path: The picture's file.
        member: Its name in the pack, as train/SET/FILE.
        size: Height and width in pixels.
        energy: Detail of each square of :data:`UNIT` pixels, (rows, columns).
    """

    path: Path
    member: str
    size: tuple[int, int]
    energy: NDArray[np.float64]

    def window(self, side: int) -> tuple[int, int, int, int] | None:
        """Find the most detailed window of the picture.

        Args:
            side: Of the window at most, in pixels.

        Returns:
            Top, left, height and width in pixels, top and left multiples of :data:`UNIT`; None where the whole picture
            fits.
        """
        if max(self.size) <= side:
            return None
        height, width = (min(n, side) for n in self.size)
        room = [(whole - part) // UNIT + 1 for whole, part in zip(self.size, (height, width), strict=True)]
        cells = patch_energy(self.energy, side // 2, (room[0], room[1]))
        top, left = np.unravel_index(int(cells.argmax()), cells.shape)
        return int(top) * UNIT, int(left) * UNIT, height, width


def sources(data: Path, tick: Tick) -> list[PictureWindow]:
    """List all training pictures with their detail, each once; what cannot be read is left out, as in training.

    Args:
        data: Holds train/SET and eval/Set5.
        tick: Told how many pictures are looked at, and of how many.

    Returns:
        The pictures; of several with the same pixels the first one.

    Raises:
        SrTvmError: There are no training pictures, or Set5 is missing.
    """
    listed = [path for folder in train_folders(data) for path in pictures.list_pictures(folder)]
    found: dict[str, PictureWindow] = {}
    for i, path in enumerate(listed):
        tick(i, len(listed))
        try:
            pixels = pictures.as_rgb(pictures.read_picture(path))
        except SrTvmError:
            continue
        # In blocks of UNIT pixels, as if for half the resolution.
        energy = block_energy(pixels, UNIT // BLOCK)
        member = f"train/{path.parent.name}/{path.name}"
        found.setdefault(pictures.pixel_digest(pixels), PictureWindow(path, member, pixels.shape[:2], energy))
    tick(len(listed), len(listed))
    return list(found.values())


def encode(source: PictureWindow, side: int) -> tuple[str, bytes]:
    """Write a picture's window as a file for the pack.

    Args:
        source: The picture.
        side: Of the window at most, in pixels.

    Returns:
        The member's name and bytes: the picture's own file where all of it is taken and it is no PNG or the like, else
        a JPEG that is cut along its blocks, or lossless WebP.

    Raises:
        SrTvmError: The picture cannot be read.
    """
    window = source.window(side)
    with Image.open(source.path) as image:
        small = image.format in ("JPEG", "WEBP")
        if window is None and small:
            return source.member, source.path.read_bytes()
        top, left, height, width = window or (0, 0, *source.size)
        pixels = pictures.as_rgb(pictures.read_picture(source.path))[top : top + height, left : left + width]
        if isinstance(image, JpegImagePlugin.JpegImageFile) and image.mode in ("RGB", "L"):
            blob = _same_jpeg(image, (left, top, left + width, top + height))
            if blob and faithful(blob, pixels):
                return source.member, blob
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "WEBP", lossless=True, quality=80, method=4)
    return f"{source.member}.webp", out.getvalue()


def _same_jpeg(image: JpegImagePlugin.JpegImageFile, box: tuple[int, int, int, int]) -> bytes | None:
    """Return a window along the blocks, rounded by the tables that its picture was rounded by; None if that fails."""
    out = io.BytesIO()
    sampling = JpegImagePlugin.get_sampling(image)
    try:
        image.crop(box).save(out, "JPEG", qtables=image.quantization, subsampling=max(sampling, 0), optimize=True)
    except (OSError, ValueError):
        return None
    return out.getvalue()


def faithful(blob: bytes, pixels: NDArray[np.uint8]) -> bool:
    """Tell whether a file decodes to some pixels, nearly: to :data:`FAITHFUL` dB of PSNR over all colours.

    Args:
        blob: The file's bytes, of a format that Pillow reads.
        pixels: (rows, columns, 3), uint8.

    Returns:
        True if it does, False also where the size is another.
    """
    with Image.open(io.BytesIO(blob)) as image:
        again = np.asarray(image.convert("RGB")).astype(np.float64)
    if again.shape != pixels.shape:
        return False
    error = float(((again - pixels) ** 2).mean())
    return error <= 255.0**2 / 10 ** (FAITHFUL / 10)


def choose(found: list[PictureWindow], limit: int, tick: Tick) -> tuple[int, list[tuple[str, bytes]]]:
    """Choose the largest side at which the windows of all pictures fit.

    Args:
        found: The pictures.
        limit: Bytes of all windows together, with what the zip file adds.
        tick: Told how many sides were tried, and of how many.

    Returns:
        The side in pixels, and the windows as names and bytes of members.

    Raises:
        SrTvmError: Even the smallest do not fit.
    """
    for i, side in enumerate(SIDES):
        tick(i, len(SIDES))
        members, total = [], 0
        for source in found:
            members.append(encode(source, side))
            # What the zip file adds to a member: its name twice, and the two headers.
            total += len(members[-1][1]) + 2 * len(members[-1][0]) + 128
            if total > limit:
                break
        else:
            tick(len(SIDES), len(SIDES))
            return side, members
    raise SrTvmError(f"{len(found)} pictures do not fit into {limit:,} bytes, even as windows of {SIDES[-1]} pixels")


def write(path: Path, members: Iterable[tuple[str, bytes]]) -> None:
    """Write the zip file, atomically; nothing is compressed, as pictures are already.

    Args:
        path: The file; one that is there is replaced.
        members: Names and bytes, in order.

    Raises:
        SrTvmError: The file cannot be written.
    """
    with files.atomic_file(path) as partial:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
            for name, blob in members:
                archive.writestr(zipfile.ZipInfo(name, EPOCH), blob)


def unpack(path: Path, place: Path) -> Path:
    """Unpack a pack's pictures as a folder, as if it were the data itself.

    Args:
        path: A file that this program wrote.
        place: Folder that holds a folder for each pack, by its digest; one that is there already stays.

    Returns:
        The folder, with train/ and eval/ in it.

    Raises:
        SrTvmError: It is no pack, or damaged, or holds what a pack may not hold, or the place cannot be written.
    """
    try:
        final = place / sha256(path)[:16]
        if (final / INDEX).is_file():
            return final
        with zipfile.ZipFile(path) as archive:
            index = json.loads(archive.read(INDEX))
            if (index.get("schema"), index.get("version")) != (SCHEMA, VERSION):
                raise SrTvmError(f"{path}: not a {SCHEMA} version {VERSION}; make it anew with models/pack.py")
            infos = archive.infolist()
            if wrong := [i.filename for i in infos if not _allowed(i.filename)]:
                raise SrTvmError(f"{path}: holds {wrong[0][:80]!r}, which is no picture of a pack")
            if sum(i.file_size for i in infos) > MOST:
                raise SrTvmError(f"{path}: holds more than {MOST >> 20} MB")
            with files.atomic_folder(final) as partial:
                for info in infos:
                    (partial / info.filename).parent.mkdir(parents=True, exist_ok=True)
                    with archive.open(info) as member, (partial / info.filename).open("wb") as out:
                        shutil.copyfileobj(member, out)
    except (zipfile.BadZipFile, KeyError, ValueError, AttributeError, EOFError) as error:
        raise SrTvmError(f"{path}: not a pack of models/pack.py, or damaged ({str(error)[:80]})") from None
    except OSError as error:
        raise SrTvmError(f"{path}: cannot be unpacked to {place}: {error.strerror or error}") from None
    return final


def _allowed(name: str) -> bool:
    """Return whether a member's name is ``index.json``, or KIND/SET/PICTURE."""
    parts = name.split("/")
    picture = len(parts) == 3 and parts[0] in ("train", "eval") and Path(name).suffix.lower() in pictures.SUFFIXES
    plain = all(part and not part.startswith(".") and "\\" not in part for part in parts)
    return name == INDEX or (picture and plain)


@click.command()
@click.option("--data", envvar="SR_TVM_DATA", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("-o", "--output", default="runs/pack.zip", show_default=True, type=click.Path(path_type=Path))
@click.option("--megabytes", type=click.FloatRange(0.001, 1000), default=36.0, show_default=True, help="At most.")
@click.option("--cache", type=click.Path(path_type=Path), help="Of prepared pictures; the user's if not given.")
def main(data: Path, output: Path, megabytes: float, cache: Path | None) -> None:
    """Pack the pictures of DATA/train and DATA/eval/Set5; a picture that is in both folders stops it.

    \b
    .venv/bin/python models/pack.py --data DATA -o runs/pack.zip
    """
    files.check_writable(output)
    folders = train_folders(data)
    for scale in (2, 4):  # a window tells nothing any more
        with bar(f"looking for test pictures, x{scale}") as tick:
            refuse_leaks(load_pairs(folders, scale, cache, tick=tick), data)
    validate = [("eval/Set5/" + p.name, p.read_bytes()) for p in pictures.list_pictures(data / "eval" / VALIDATE)]
    with bar("looking for detail") as tick:
        found = sources(data, tick)
    limit = int(megabytes * 1e6) - sum(len(blob) + 256 for _, blob in validate) - 4096
    with bar("cutting windows") as tick:
        side, members = choose(found, limit, tick)
    told = {"schema": SCHEMA, "version": VERSION, "side": side, "pictures": len(members),
            "held_against": [folder.name for folder in eval_folders(data)]}  # fmt: skip
    write(output, [(INDEX, json.dumps(told).encode()), *members, *validate])
    megabytes = output.stat().st_size / 1e6
    click.echo(f"{len(members)} windows of {side} pixels or less, {megabytes:.1f} MB: {output}", err=True)


if __name__ == "__main__":
    try:
        main()
    except SrTvmError as error:
        raise SystemExit(f"error: {error}") from None
