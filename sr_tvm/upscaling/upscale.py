"""A picture file to a larger picture file."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sr_tvm.errors import SrTvmError
from sr_tvm.imaging import writing
from sr_tvm.imaging.reading import MAX_MEGAPIXELS, Picture, read_picture
from sr_tvm.imaging.tiles import plan
from sr_tvm.system.files import atomic_file
from sr_tvm.upscaling import enlarge
from sr_tvm.upscaling.model import open_model
from sr_tvm.upscaling.prepare import prepare

if TYPE_CHECKING:
    from sr_tvm.records.artifact import Artifact
    from sr_tvm.upscaling.network import Network

# stage ("compiling", "enlarging", "writing"), done, total; compiling has total 0.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Upscaled:
    """What was done to a picture. Sizes are (width, height) in pixels, ``seconds`` of wall time by stage."""

    input: str
    output: str
    input_size: tuple[int, int]
    output_size: tuple[int, int]
    channels: int
    bits: int
    model: str
    scale: int
    tile: tuple[int, int]
    halo: int | None
    tiles: int
    threads: int
    any_size: bool
    cached: bool
    seconds: dict[str, float]
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Write the record for ``--json``.

        Returns:
            A JSON object with one field for each of this record.
        """
        return asdict(self)


def upscale_file(
    src: str | Path,
    dst: str | Path,
    model: str | Path | None = None,
    tile: int | None = None,
    threads: int | None = None,
    max_megapixels: float = MAX_MEGAPIXELS,
    progress: Progress | None = None,
) -> Upscaled:
    """Enlarge a picture file into another, whose extension gives the format; whole or not at all.

    The first run with a model compiles it and keeps that in the user's cache, for any size where it can be, else for
    the size of the tiles.

    Args:
        src: The picture file.
        dst: The file to write.
        model: An ONNX file or an artifact's folder; the shipped network if None.
        tile: The side of a tile in input pixels; see :meth:`Model.tile` for None.
        threads: Cores to use; all if None.
        max_megapixels: The largest input picture that is taken, in 1e6 pixels.
        progress: Called with the stage, what is done and the total; see Progress.

    Returns:
        What was done, and how long each stage took.

    Raises:
        SrTvmError: A bad picture, model or output name; see read_picture, open_model and check_fits.
    """
    src, dst = Path(src), Path(dst)
    if tile is not None and tile < 1:
        raise SrTvmError(f"tile is {tile}; at least 1 is needed, and 128 or more is efficient")
    _check_output(src, dst)
    report = progress or (lambda stage, done, total: None)
    seconds: dict[str, float] = {}
    clock = _Stages(seconds)
    picture = read_picture(src, max_megapixels)
    height, width, _ = picture.pixels.shape
    clock.done("read")
    network_file = open_model(model)
    scale = network_file.scale
    kind = writing.output_format(dst)
    if not kind.alpha:
        picture = _without_opaque_alpha(picture)
    writing.check_fits(dst, width * scale, height * scale, picture.has_alpha)
    halo = network_file.halo or 0  # not known: tile() then takes the picture only as one tile, with no inner edge
    margin = enlarge.reach(halo)
    # Refuses tiles that are too small before anything is compiled.
    plan(height, width, network_file.tile(height, width, tile, margin), margin)
    dtype = np.uint16 if picture.bits == 16 and 16 in kind.bits else np.uint8
    with atomic_file(dst) as partial:  # made first, so that a place that cannot be written is known at once
        report("compiling", 0, 0)
        network_file, artifact, cached = prepare(network_file, height, width, tile, margin)
        network = _load(artifact, threads)
        shape = network_file.tile(height, width, tile, margin)
        clock.done("network")
        pixels = enlarge.enlarge(
            picture.pixels,
            network,
            network_file.channels,
            scale,
            halo,
            shape,
            dtype,
            lambda done, total: report("enlarging", done, total),
        )
        clock.done("enlarge")
        result = replace(picture, pixels=pixels)
        try:
            writing.write_picture(partial, result, kind, lambda done, total: report("writing", done, total))
        except SrTvmError as error:
            raise SrTvmError(str(error).replace(str(partial), str(dst))) from error
        clock.done("write")
    return Upscaled(
        input=str(src),
        output=str(dst),
        input_size=(width, height),
        output_size=(pixels.shape[1], pixels.shape[0]),
        channels=pixels.shape[2],
        bits=result.bits,
        model=str(network_file.path),
        scale=scale,
        tile=shape,
        halo=network_file.halo,
        tiles=len(plan(height, width, shape, margin)),
        threads=network.threads,
        any_size=network_file.any_size,
        cached=cached,
        seconds=seconds,
        notes=picture.notes,
    )


class _Stages:
    def __init__(self, seconds: dict[str, float]) -> None:
        self.seconds, self.last = seconds, time.perf_counter()

    def done(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage], self.last = round(now - self.last, 3), now


def _check_output(src: Path, dst: Path) -> None:
    writing.output_format(dst)
    if dst.is_dir():
        raise SrTvmError(f"cannot write {dst}: it is a folder; name a file")
    if dst.exists() and src.exists() and dst.samefile(src):
        raise SrTvmError(f"cannot write {dst}: it is the input picture; name another file")


def _without_opaque_alpha(picture: Picture) -> Picture:
    """Return the picture for a format without transparency: an alpha plane that hides nothing is no loss."""
    pixels = picture.pixels
    if not picture.has_alpha or (pixels[..., -1] < np.iinfo(pixels.dtype).max).any():
        return picture
    return replace(picture, pixels=np.ascontiguousarray(pixels[..., :-1]))


def _load(artifact: Artifact, threads: int | None) -> Network:
    from sr_tvm.upscaling.network import Network  # it imports TVM, which prepare has set up

    return Network(artifact, threads)
