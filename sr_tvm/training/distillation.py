"""Distillation: what a teacher makes of the training pictures, computed once and cached, so it costs a step nothing.

A step on a small network would take twice as long with the teacher's forward pass in it. The teacher also sees whole
pictures here, where on patches it would see borders on all sides.
"""

from __future__ import annotations

import hashlib
import resource
import zlib
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sr_tvm.errors import SrTvmError
from sr_tvm.imaging.tiles import plan
from sr_tvm.nets.wdsr import WDSR
from sr_tvm.system.files import atomic_file
from sr_tvm.training import data
from sr_tvm.training.data import Pair, Pairs, Tick

# 2: float16 of the output on whole pictures, and a CRC-32 of all before it.
VERSION = 2
CHECK = 4  # bytes
TILE = 512  # pixels of low resolution a side, for pictures that are larger
WAYS = 8  # of turning and mirroring a picture


def distill(
    pairs: Pairs,
    teacher: WDSR,
    digest: str,
    device: torch.device,
    cache: str | Path | None = None,
    tick: Tick = lambda done, total: None,
    ensemble: bool = False,
) -> Pairs:
    """Add to each pair the teacher's enlargement of its low resolution.

    One file a picture, written atomically: interrupted, it goes on with the next one; a damaged file is made again.

    Args:
        pairs: Without a teacher's output, or with another's.
        teacher: A folded network of the pairs' scale; it is moved to ``device``.
        digest: Of the teacher's weights file.
        device: Where the teacher computes.
        cache: Folder where the output is kept; the user's cache folder by default.
        tick: Told (pictures done, pictures in all).
        ensemble: Take the mean of what it makes of all 8 turns and mirrors of the picture, turned back: the
            self-ensemble of EDSR (Lim et al. 2017, section 3.4), better pictures for 8 times the work.

    Returns:
        The same pairs, each with the teacher's output, mapped from the cache.

    Raises:
        SrTvmError: The cache cannot be written.
    """
    place, made = Path(cache or data.default_cache()) / "taught", []
    _allow_files(len(pairs.pairs))
    teacher = teacher.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    what = f"{VERSION} {data.VERSION} {digest} x{pairs.scale}{' ensemble' if ensemble else ''}"
    for i, pair in enumerate(pairs.pairs):
        tick(i, len(pairs.pairs))
        # By content: the same picture in another set of pairs is the same file.
        key = hashlib.sha256(f"{what} {pair.digest}".encode()).hexdigest()[:32]
        made.append(
            replace(pair, teacher_output=_teacher_output(pair, teacher, device, place / f"{key}.npy", ensemble))
        )
    tick(len(pairs.pairs), len(pairs.pairs))
    return Pairs(made, pairs.scale)


def _allow_files(count: int) -> None:
    """Raise the limit of open files: a mapped file stays open, and many systems allow a process 1024 unless it asks."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + 1024 if hard == resource.RLIM_INFINITY else min(hard, count + 1024)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _teacher_output(pair: Pair, teacher: WDSR, device: torch.device, path: Path, ensemble: bool) -> NDArray[np.float16]:
    found = _open(path, pair.high.shape)
    if found is None:
        low = torch.from_numpy(np.array(pair.low)).to(device).permute(2, 0, 1)[None].float().div(255)
        with torch.no_grad():
            high = _ensemble(teacher, low) if ensemble else _enlarge(teacher, low)
        blob = BytesIO()
        np.save(blob, high[0].permute(1, 2, 0).cpu().numpy().astype(np.float16), allow_pickle=False)
        with atomic_file(path) as partial:
            partial.write_bytes(blob.getvalue() + zlib.crc32(blob.getvalue()).to_bytes(CHECK))
        found = _open(path, pair.high.shape)
    if found is None:
        raise SrTvmError(f"{path}: the cache just written cannot be read back; is the disk full?")
    return found


def _ensemble(teacher: WDSR, low: Tensor) -> Tensor:
    total = torch.zeros(())
    for way in range(WAYS):
        turned = torch.rot90(low.flip(3) if way >= 4 else low, way % 4, (2, 3))
        back = torch.rot90(_enlarge(teacher, turned), -(way % 4), (2, 3))
        total = total.to(back) + (back.flip(3) if way >= 4 else back) / WAYS
    return total


def _enlarge(teacher: WDSR, low: Tensor) -> Tensor:
    """Return (1, 3, h, w) as (1, 3, scale h, scale w), in tiles where the picture is large."""
    scale, halo = teacher.architecture.scale, teacher.architecture.halo
    height, width = low.shape[2:]
    out = low.new_empty((1, low.shape[1], height * scale, width * scale))
    for read, kept in plan(height, width, max(TILE, 4 * halo), halo):
        y = teacher(low[:, :, *read.slices].contiguous(memory_format=torch.channels_last))
        out[:, :, *kept.scaled(scale).slices] = y[:, :, *kept.within(read).scaled(scale).slices]
    return out


def _open(path: Path, shape: tuple[int, ...]) -> NDArray[np.float16] | None:
    """Return what is mapped from its file; None when that is not there or damaged.

    Raises:
        SrTvmError: It is there and cannot be read.
    """
    try:
        blob = path.read_bytes()
        if zlib.crc32(blob[:-CHECK]).to_bytes(CHECK) != blob[-CHECK:]:
            return None
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (FileNotFoundError, ValueError, EOFError):
        return None
    except OSError as error:
        raise SrTvmError(f"cannot read {path}: {error.strerror or error}; remove it, or name another --cache") from None
    return found if found.dtype == np.float16 and found.shape == shape else None
