"""Training pairs: high-resolution pictures and their bicubic low resolution, made once and cached, cut into patches."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
from numpy.typing import NDArray

from sr_tvm.errors import SrTvmError
from sr_tvm.imaging import pictures, resize
from sr_tvm.system import files

SCHEMA, VERSION = "sr-tvm/training-pairs", 2
PIXELS, INDEX = "pixels.bin", "index.json"
CHUNK = 1 << 24
ORDERS = tuple(permutations(range(3)))
"""Of the colours; the first leaves them as they are."""

Warn = Callable[[str], None]
Tick = Callable[[int, int], None]


@dataclass(frozen=True)
class Pair:
    """One picture of a training set, mapped from the cache file.

    Attributes:
        name: Path of the picture.
        digest: Tells its pixels from all others.
        high: (scale h, scale w, 3), uint8.
        low: (h, w, 3), uint8.
        teacher_output: What a teacher makes of ``low``, (scale h, scale w, 3), float16 in 0..1; None without a teacher.
            See distillation.py.
    """

    name: str
    digest: str
    high: NDArray[np.uint8]
    low: NDArray[np.uint8]
    teacher_output: NDArray[np.float16] | None = None


@dataclass(frozen=True)
class Batch:
    """Patches to learn from in one step, float32 in 0..1, in channels-last memory order.

    Attributes:
        low: (N, 3, p, p).
        high: (N, 3, scale p, scale p).
        teacher_output: Like ``high``; None without a teacher.
    """

    low: NDArray[np.float32]
    high: NDArray[np.float32]
    teacher_output: NDArray[np.float32] | None = None

    @property
    def planes(self) -> tuple[NDArray[np.float32], ...]:
        """All of its arrays: (low, high), and the teacher's output where there is a teacher."""
        return (self.low, self.high) if self.teacher_output is None else (self.low, self.high, self.teacher_output)


class Pairs:
    """All pairs of one training run.

    A batch depends on the seed and the step alone, so that a resumed run draws what an uninterrupted one would have
    drawn.
    """

    def __init__(self, pairs: Sequence[Pair], scale: int) -> None:
        self.pairs, self.scale = tuple(pairs), scale
        self.sizes = np.array([pair.low.shape[:2] for pair in self.pairs])  # (pictures, 2): height, width

    @property
    def distilled(self) -> bool:
        """Whether there is a teacher's picture of each."""
        return all(pair.teacher_output is not None for pair in self.pairs)

    @property
    def digest(self) -> str:
        """64 hexadecimal digits that tell two training sets apart by their pixels and order."""
        return hashlib.sha256("".join(p.digest for p in self.pairs).encode()).hexdigest()

    def large_enough(self, patch: int, warn: Warn) -> Pairs:
        """Leave out the pictures that are smaller than a patch.

        Args:
            patch: Side of a patch, in low-resolution pixels.
            warn: Told of each picture that is left out, and why.

        Returns:
            The pairs that are large enough, in order.

        Raises:
            SrTvmError: No picture is large enough.
        """
        large = [p for p in self.pairs if min(p.low.shape[:2]) >= patch]
        if not large:
            raise SrTvmError(
                f"every picture is smaller than a patch: {patch} low-resolution pixels are {patch * self.scale} pixels "
                "of a picture; choose a smaller --patch or larger pictures"
            )
        for pair in self.pairs:
            height, width = pair.low.shape[:2]
            if min(height, width) < patch:
                warn(f"{pair.name}: {height}x{width} low-resolution pixels, a patch is {patch}; left out")
        return Pairs(large, self.scale)

    def draw(self, seed: int, step: int, size: int, patch: int, ways: int = 8) -> NDArray[np.int64]:
        """Choose the patches of a step's batch: all pictures alike, and all places in each; drawing.py draws otherwise.

        Args:
            seed: Of the run.
            step: From 0.
            size: Patches in the batch.
            patch: Side of a patch, in low-resolution pixels.
            ways: 8 to turn and mirror patches; 48 to put their colours in any of the 6 orders too.

        Returns:
            (size, 4), rows of picture, y, x and way: the patch's first low-resolution row and column, and which of the
            ``ways`` it is turned.
        """
        # All at once: on a GPU, where a step takes about a millisecond, a loop of draws would be what it waits for.
        even = np.random.default_rng([seed, step]).random((size, 4))
        picture = (even[:, 0] * len(self.pairs)).astype(np.int64)
        room = self.sizes[picture] - (patch - 1)
        return np.column_stack([picture, (even[:, 1:] * np.column_stack([room, np.full(size, ways)])).astype(np.int64)])

    def batch(self, seed: int, step: int, size: int, patch: int) -> Batch:
        """Draw and cut the patches of a step's batch, turned and mirrored in one of the 8 ways.

        Args:
            seed: Of the run.
            step: From 0.
            size: Patches in the batch.
            patch: Side of a patch, in low-resolution pixels.

        Returns:
            The batch, of (size, 3, patch, patch) in low resolution.
        """
        return self.cut(self.draw(seed, step, size, patch), patch)

    def cut(self, drawn: NDArray[np.int64], patch: int) -> Batch:
        """Cut the patches of a batch.

        Args:
            drawn: Rows of :meth:`draw`.
            patch: Side of a patch, in low-resolution pixels.

        Returns:
            The batch, its patches in the order of the rows.
        """
        s, size = self.scale, len(drawn)
        low = np.empty((size, patch, patch, 3), np.uint8)
        high = np.empty((size, patch * s, patch * s, 3), np.uint8)
        output = np.empty(high.shape, np.float32) if self.distilled else None
        for i, (picture, y, x, way) in enumerate(drawn.tolist()):
            pair = self.pairs[picture]
            place = np.s_[y * s : (y + patch) * s, x * s : (x + patch) * s]
            low[i] = _turn(pair.low[y : y + patch, x : x + patch], way)
            high[i] = _turn(pair.high[place], way)
            if output is not None and pair.teacher_output is not None:
                output[i] = _turn(pair.teacher_output[place], way)
        wanted = None if output is None else output.transpose(0, 3, 1, 2)
        return Batch(_channels_first(low), _channels_first(high), wanted)


def _turn(image: NDArray[Any], way: int) -> NDArray[Any]:
    """Return ``way`` % 4 quarter turns, mirrored where ``way`` % 8 is 4 or more, the colours in order ``way`` // 8."""
    image = np.rot90(image, way % 4)
    image = image[:, ::-1] if way % 8 >= 4 else image
    return image[:, :, ORDERS[way // 8]] if way >= 8 else image


def _channels_first(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    return (image.astype(np.float32) / np.float32(255)).transpose(0, 3, 1, 2)


def default_cache() -> Path:
    """Return the folder where training pairs are kept by default.

    Returns:
        A folder in the user's cache, which need not exist.
    """
    return Path(platformdirs.user_cache_dir("sr-tvm")) / "training"


def load_pairs(
    folders: Sequence[str | Path],
    scale: int,
    cache: str | Path | None = None,
    warn: Warn = lambda _: None,
    tick: Tick = lambda done, total: None,
) -> Pairs:
    """Read the pictures of some folders, and make or take from the cache their low resolution.

    The cache entry is named after the content of all the files, is written atomically, and is made again when it is
    damaged. A picture that is there twice counts once.

    Args:
        folders: Of pictures.
        scale: By how much a picture's sides are shrunk.
        cache: Where pairs are kept; the user's cache folder by default.
        warn: Told each picture that is left out, with its name and why, and of each folder what else is in it.
        tick: Told (files done, files in all) while the pairs are made.

    Returns:
        The pairs, pictures mapped from the cache.

    Raises:
        SrTvmError: A folder is missing or empty, or none of its pictures can be read, or the cache cannot be written.
    """
    paths = [path for folder in folders for path in pictures.list_pictures(folder, warn)]
    chosen: dict[str, Path] = {}
    for path in paths:
        chosen.setdefault(pictures.file_digest(path), path)
    key = hashlib.sha256(f"{SCHEMA} {VERSION} x{scale} {list(chosen)}".encode()).hexdigest()[:32]
    place, names = Path(cache or default_cache()) / key, [str(path) for path in chosen.values()]
    pairs = _open(place, scale, names, warn)
    if pairs is None:
        with files.atomic_folder(place) as partial:
            _make(partial, list(chosen.values()), scale, tick)
        pairs = _open(place, scale, names, warn)
    if pairs is None:
        raise SrTvmError(f"{place}: the cache just written cannot be read back; is the disk full?")
    if not pairs:
        raise SrTvmError(f"no picture of {', '.join(map(str, folders))} can be read; see the warnings above")
    return Pairs(pairs, scale)


def _make(place: Path, paths: Sequence[Path], scale: int, tick: Tick) -> None:
    rows: list[dict[str, Any]] = []
    check = 0
    try:
        with (place / PIXELS).open("wb") as out:
            for i, path in enumerate(paths):
                tick(i, len(paths))
                try:
                    high = resize.modcrop(pictures.as_rgb(pictures.read_picture(path)), scale)
                    if 0 in high.shape:
                        raise SrTvmError(f"{path}: smaller than {scale} pixels")
                except SrTvmError as error:
                    rows.append({"refused": str(error).removeprefix(f"{path}: ")})
                    continue
                high = np.ascontiguousarray(high)
                rows.append({"height": high.shape[0], "width": high.shape[1], "digest": pictures.pixel_digest(high)})
                for plane in (high, resize.low_resolution(high, scale)):
                    out.write(plane.data)
                    check = zlib.crc32(plane.data, check)
        index = {"schema": SCHEMA, "version": VERSION, "scale": scale, "crc32": check, "pictures": rows}
        (place / INDEX).write_text(json.dumps(index))
    except OSError as error:
        raise SrTvmError(f"{place.parent}: the training cache cannot be written: {error.strerror or error}") from error
    tick(len(paths), len(paths))


def _crc(path: Path) -> int:
    check = 0
    with path.open("rb") as handle:
        while block := handle.read(CHUNK):
            check = zlib.crc32(block, check)
    return check


def _open(place: Path, scale: int, names: Sequence[str], warn: Warn) -> list[Pair] | None:
    """Return the pairs of a cache entry, or None when it is not there or damaged."""
    try:
        index = files.read_json(place / INDEX, SCHEMA, VERSION)
        rows = index["pictures"]
        if len(rows) != len(names) or index["crc32"] != _crc(place / PIXELS):
            return None
        blob = np.memmap(place / PIXELS, np.uint8, "r") if any("height" in row for row in rows) else None
        pairs, at, refused = [], 0, []
        for name, row in zip(names, rows, strict=True):
            if "refused" in row:
                refused.append(f"{name}: {row['refused']}; left out")
                continue
            assert blob is not None
            height, width = int(row["height"]), int(row["width"])
            planes = []
            for h, w in ((height, width), (height // scale, width // scale)):
                planes.append(blob[at : at + h * w * 3].reshape(h, w, 3))
                at += h * w * 3
            high, low = planes
            pairs.append(Pair(name, str(row["digest"]), high, low))
    except (SrTvmError, OSError, KeyError, TypeError, ValueError):
        return None
    for message in refused:
        warn(message)
    return pairs
