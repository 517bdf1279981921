"""Which patches make a batch: by a seed and a step alone, alike everywhere or more often where there is detail.

A picture's detail is told in blocks of `BLOCK` low-resolution pixels, by the energy of the gradient of its green (which
is most of the luma) in high resolution. Patches are drawn in two moves: one of all places that lie a block apart, by a
table of their chances, then a place within that block.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sr_tvm.errors import SrTvmError
from sr_tvm.training.data import ORDERS, Pairs
from sr_tvm.training.settings import TrainingSettings

BLOCK = 8
# Of a gradient's square, 0..255 squared: what a plain area has of noise, so that no place is never drawn.
FLOOR = 1.0


class Drawing:
    """Draws the patches of a run's batches, as its settings say.

    Raises:
        SrTvmError: A weight is of a folder that none of the pictures is from, or no picture is large enough.
    """

    def __init__(self, pairs: Pairs, settings: TrainingSettings) -> None:
        self.pairs, self.settings = pairs, settings
        self.shares = shares(pairs, settings)
        # Where all places are alike, no table is needed.
        plain = not settings.detail and not settings.weights
        self.energy = [block_energy(p.high, pairs.scale) for p in pairs.pairs] if settings.detail else None
        self.places = {p: None if plain and self._fits(p) else self._places(p) for p in settings.patches}

    def __call__(self, step: int) -> NDArray[np.int64]:
        """Choose the patches of a step's batch.

        Args:
            step: From 0.

        Returns:
            (N, 4), rows of picture, y, x and way, as :meth:`Pairs.cut` takes them; ``way`` is one of 8, or of 48 where
            colours are shuffled.
        """
        s = self.settings
        size, patch = s.shape(step)
        ways = 8 * len(ORDERS) if s.shuffle else 8
        places = self.places[patch]
        if places is None:
            return self.pairs.draw(s.seed, step, size, patch, ways)
        even = np.random.default_rng([s.seed, step]).random((size, 4))
        return places.draw(even, ways)

    def _fits(self, patch: int) -> bool:
        return bool((self.pairs.sizes >= patch).all())

    def _places(self, patch: int) -> PatchPlaces:
        return PatchPlaces(self.pairs.sizes, patch, self.shares, self.energy, self.settings.detail)


class PatchPlaces:
    """All places for patches of one size, a block apart, and the chance of each.

    A picture's chance is its share times the mean, over its places, of the patch's energy to the power of ``detail``.
    """

    def __init__(
        self,
        sizes: NDArray[np.int64],
        patch: int,
        shares: NDArray[np.float64],
        energy: list[NDArray[np.float64]] | None,
        detail: float,
    ) -> None:
        chances, pictures, corners = [], [], []
        for i, size in enumerate(sizes):
            room = size - (patch - 1)
            if room.min() < 1:
                continue
            ys, xs = (np.arange(0, r, BLOCK) for r in room)
            # How many places a block holds: at the edges there are fewer.
            count = np.outer(np.minimum(BLOCK, room[0] - ys), np.minimum(BLOCK, room[1] - xs)).astype(np.float64)
            worth = np.ones_like(count) if energy is None else patch_energy(energy[i], patch, count.shape) ** detail
            chances.append((shares[i] / room.prod() * count * worth).ravel())
            pictures.append(np.full(count.size, i))
            corners.append(np.stack(np.meshgrid(ys, xs, indexing="ij"), -1).reshape(-1, 2))
        if not chances:
            raise SrTvmError(f"every picture is smaller than a late patch of {patch} low-resolution pixels")
        self.sums = np.cumsum(np.concatenate(chances))
        self.picture, self.corner = np.concatenate(pictures), np.concatenate(corners)
        self.room = sizes - (patch - 1)

    def draw(self, even: NDArray[np.float64], ways: int) -> NDArray[np.int64]:
        """Turn even random numbers into patches.

        Args:
            even: (N, 4), evenly distributed in 0..1.
            ways: In how many ways a patch may be turned.

        Returns:
            (N, 4), rows of picture, y, x and way, in low-resolution pixels.
        """
        at = np.minimum(np.searchsorted(self.sums, even[:, 0] * self.sums[-1], "right"), len(self.sums) - 1)
        picture, corner = self.picture[at], self.corner[at]
        within = np.minimum(BLOCK, self.room[picture] - corner)
        place = corner + (even[:, 1:3] * within).astype(np.int64)
        return np.column_stack([picture, place, (even[:, 3] * ways).astype(np.int64)])


def shares(pairs: Pairs, settings: TrainingSettings) -> NDArray[np.float64]:
    """Look up how often each picture is drawn compared with the others.

    Args:
        pairs: The pictures.
        settings: Its ``weights`` are by the names of folders.

    Returns:
        (pictures,), float64: the weight of its folder, 1 where none is given.

    Raises:
        SrTvmError: A weight is of a folder that none of the pictures is from, or all weights are 0.
    """
    weights = dict(settings.weights)
    folders = [Path(pair.name).parent.name for pair in pairs.pairs]
    if unknown := sorted(weights.keys() - set(folders)):
        there = ", ".join(sorted(set(folders)))
        raise SrTvmError(f"a weight is given to {unknown[0]!r}, but the pictures are from {there}")
    found = np.array([weights.get(folder, 1.0) for folder in folders])
    if not found.sum():
        raise SrTvmError("all pictures have the weight 0; give one of the folders more")
    return found


def block_energy(high: NDArray[np.uint8], scale: int) -> NDArray[np.float64]:
    """Compute the mean square of the gradient of a picture's green in each block, in 0..255 squared.

    Args:
        high: (H, W, 3), uint8.
        scale: Of the pair: a block is ``BLOCK`` low-resolution pixels a side.

    Returns:
        (block rows, block columns), float64, at least ``FLOOR``; blocks at the lower and right edge may be smaller.
    """
    green = high[:, :, 1].astype(np.float32)
    energy = np.zeros(green.shape, np.float32)
    energy[1:] += np.diff(green, axis=0) ** 2
    energy[:, 1:] += np.diff(green, axis=1) ** 2
    starts = [np.arange(0, n, BLOCK * scale) for n in green.shape]
    sums = np.add.reduceat(np.add.reduceat(energy, starts[0], axis=0, dtype=np.float64), starts[1], axis=1)
    lengths = [np.diff(np.append(s, n)) for s, n in zip(starts, green.shape, strict=True)]
    return sums / np.outer(*lengths) + FLOOR


def patch_energy(energy: NDArray[np.float64], patch: int, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Compute the mean energy of the blocks that each patch covers.

    Args:
        energy: Of all blocks of a picture, from :func:`block_energy`.
        patch: Side of a patch, in low-resolution pixels.
        shape: How many rows and columns of blocks a patch may begin at, from the first.

    Returns:
        (``shape``), float64: of the patch that begins at each of these blocks.
    """
    span = -(-patch // BLOCK)
    sums = np.pad(energy, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    (y0, y1), (x0, x1) = (
        (np.arange(n), np.minimum(np.arange(n) + span, limit)) for n, limit in zip(shape, energy.shape, strict=True)
    )
    total = sums[np.ix_(y1, x1)] - sums[np.ix_(y0, x1)] - sums[np.ix_(y1, x0)] + sums[np.ix_(y0, x0)]
    return total / np.outer(y1 - y0, x1 - x0)
