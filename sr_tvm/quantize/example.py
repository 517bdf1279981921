"""A small picture and what the definition makes of it, kept beside a compiled network: by it programs are checked."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sr_tvm.errors import SrTvmError
from sr_tvm.quantize import reference
from sr_tvm.quantize.network import IntegerNetwork

FILE = "reference.npz"
HEIGHT, WIDTH = 21, 149  # odd, and more than one turn of a vector's pixels


def picture(channels: int) -> np.ndarray:
    """Make a picture as photographs are: soft shades, edges, fine grain, some of it clipped.

    Args:
        channels: C, one or more.

    Returns:
        (C, HEIGHT, WIDTH) uint8, the same in every process.
    """
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    planes = []
    for c in range(channels):
        shade = 120 + 60 * np.sin(x / (19 + 3 * c) + c) + 40 * np.cos(y / 7 - x / 41)
        edge = np.where((x // 13 + y // 9) % 2 == 0, 35, -25) * (x > WIDTH // 3) + 110 * (np.hypot(x - 30, y - 10) < 6)
        planes.append(shade + edge + rng.normal(0, 6, shade.shape))
    return np.clip(np.rint(planes), 0, 255).astype(np.uint8)


def save(network: IntegerNetwork, folder: Path) -> None:
    """Write the picture and what the definition makes of it, for :func:`load`.

    Args:
        network: The network that is compiled.
        folder: Where the file goes; it is there.
    """
    given = picture(network.channels(network.picture.name))
    np.savez(folder / FILE, given=given, wanted=reference.run(network, given))


def load(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read the picture and its result, by which a compiled program is checked.

    Args:
        folder: Where :func:`save` has written them.

    Returns:
        The picture and its result, (C, H, W) uint8 each.

    Raises:
        SrTvmError: There is none, or it is damaged.
    """
    try:
        with np.load(folder / FILE, allow_pickle=False) as arrays:
            given, wanted = (np.ascontiguousarray(arrays[name]) for name in ("given", "wanted"))
    except FileNotFoundError:
        raise SrTvmError(f"{folder}: holds no {FILE} to check a program by; compile the model again") from None
    except (OSError, ValueError, KeyError) as error:
        raise SrTvmError(f"{folder / FILE}: damaged ({error}); compile the model again") from None
    if any(a.ndim != 3 or a.dtype != np.uint8 for a in (given, wanted)):
        raise SrTvmError(f"{folder / FILE}: holds no pictures of bytes; compile the model again")
    return given, wanted
