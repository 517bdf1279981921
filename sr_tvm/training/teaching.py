"""What a teacher makes of the training pictures, computed once and cached: learning from it then costs a step nothing.

A step on a small network would take twice as long with the teacher's forward pass in it. The teacher also sees whole
pictures here, where on patches it would see borders on all sides.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sr_tvm.errors import SrTvmError
from sr_tvm.files import atomic_file
from sr_tvm.nets.wdsr import WDSR
from sr_tvm.training.data import Pair, Pairs, Tick, default_cache

# 1: float16 of the output on whole pictures.
VERSION = 1


def teach(
    pairs: Pairs,
    teacher: WDSR,
    digest: str,
    device: torch.device,
    cache: str | Path | None = None,
    tick: Tick = lambda done, total: None,
) -> Pairs:
    """The same pairs, each with the ``teacher``'s enlargement of its low resolution.

    One file a picture, written atomically: interrupted, it goes on with the next one; a damaged file is made again.

    Args:
        digest: of the teacher's weights file.
        tick: told (pictures done, pictures in all).
    Raises:
        SrTvmError: the cache cannot be written.
    """
    place, made = Path(cache or default_cache()) / "taught", []
    teacher = teacher.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for i, pair in enumerate(pairs.pairs):
        tick(i, len(pairs.pairs))
        # By content: the same picture in another set of pairs is the same file.
        key = hashlib.sha256(f"{VERSION} {digest} {pair.digest} x{pairs.scale}".encode()).hexdigest()[:32]
        made.append(replace(pair, taught=_taught(pair, teacher, device, place / f"{key}.npy")))
    tick(len(pairs.pairs), len(pairs.pairs))
    return Pairs(made, pairs.scale)


def _taught(pair: Pair, teacher: WDSR, device: torch.device, path: Path) -> NDArray[np.float16]:
    found = _open(path, pair.high.shape)
    if found is None:
        low = torch.from_numpy(np.array(pair.low)).to(device).permute(2, 0, 1)[None].float().div(255)
        with torch.no_grad():
            high = teacher(low)[0].permute(1, 2, 0)
        with atomic_file(path) as partial, partial.open("wb") as out:
            np.save(out, high.cpu().numpy().astype(np.float16), allow_pickle=False)
        found = _open(path, pair.high.shape)
    if found is None:
        raise SrTvmError(f"{path}: the cache just written cannot be read back; is the disk full?")
    return found


def _open(path: Path, shape: tuple[int, ...]) -> NDArray[np.float16] | None:
    """Mapped from its file; None when that is not there or damaged."""
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return found if found.dtype == np.float16 and found.shape == shape else None
