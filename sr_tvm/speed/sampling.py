"""Networks to measure: random widths, the same for the same seed."""

from __future__ import annotations

import numpy as np

from sr_tvm.errors import SrTvmError
from sr_tvm.records.architecture import Architecture, Block

CHANNELS = (4, 32)
DEPTH = (1, 8)
# Multiples of the channels; the plain WDSR-B has 6 and 0.84.
EXPAND = (1.0, 8.0)
LINEAR = (0.4, 1.2)


def random_architectures(count: int, seed: int = 0, scale: int = 2) -> list[Architecture]:
    """Draw different WDSR networks at random; a longer list begins with the shorter one.

    Args:
        count: How many, 1 to 10000.
        seed: Of the random numbers; equal seeds give equal networks.
        scale: Times as many pixels along each side, 2, 3 or 4.

    Returns:
        The networks, of widths and depths within CHANNELS, DEPTH, EXPAND and LINEAR.

    Raises:
        SrTvmError: ``count`` or ``scale`` is out of range.
    """
    if not 1 <= count <= 10_000:
        raise SrTvmError(f"count is {count}; 1 to 10000 is allowed")
    rng = np.random.default_rng(seed)
    found: dict[Architecture, None] = {}
    while len(found) < count:
        channels = int(rng.integers(CHANNELS[0], CHANNELS[1] + 1))
        blocks = tuple(
            Block(max(1, round(channels * rng.uniform(*EXPAND))), max(1, round(channels * rng.uniform(*LINEAR))))
            for _ in range(int(rng.integers(DEPTH[0], DEPTH[1] + 1)))
        )
        found[Architecture(scale, channels, blocks)] = None
    return list(found)
