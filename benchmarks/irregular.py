"""WDSR networks as a search gives them: every layer has its own width.

``wdsr-seed0-1`` is the first network of seed 0. The name is all there is to it: equal names are equal networks.
"""

from __future__ import annotations

import random
import re
from typing import Any

from sr_tvm.records.architecture import Architecture, Block

# Shallow, middle and deep, in turn; so the networks of a seed differ in more than luck.
DEPTHS = ((3, 5), (6, 8), (9, 12))
CHANNELS = (8, 28)
EXPAND = (1.5, 6.0)  # times the channels, as far as a search prunes it from 6
LINEAR = (0.3, 0.85)
MAX_MACS = 110_000  # a pixel: 25 G at 360x640, about a second of the best engine on one core
_NAME = re.compile(r"wdsr-seed(\d{1,9})-([1-9]\d?)")


def names(seed: int) -> tuple[str, ...]:
    """The networks of one seed, one of each range of :data:`DEPTHS`."""
    return tuple(f"wdsr-seed{seed}-{i + 1}" for i in range(len(DEPTHS)))


def seed_of(name: str) -> int | None:
    """The seed that a network was drawn by, None for others."""
    return int(match[1]) if (match := _NAME.fullmatch(name)) else None


def architecture(name: str, scale: int = 2) -> Architecture | None:
    """The network of that name; None where ``name`` is no such name."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    seed, index = int(match[1]), int(match[2])
    draw = random.Random(f"{seed}/{index}")  # a text is hashed the same way everywhere
    while True:
        found = _draw(draw, scale, DEPTHS[(index - 1) % len(DEPTHS)])
        if found.macs(1, 1) <= MAX_MACS:
            return found


def _draw(draw: random.Random, scale: int, depths: tuple[int, int]) -> Architecture:
    n = draw.randint(*CHANNELS)

    def width(factors: tuple[float, float]) -> int:
        return max(1, draw.randint(round(n * factors[0]), round(n * factors[1])))

    return Architecture(scale, n, tuple(Block(width(EXPAND), width(LINEAR)) for _ in range(draw.randint(*depths))))


def build(architecture: Architecture) -> Any:
    """The PyTorch module in eval mode with seeded random weights; the caller's random state is left alone."""
    import torch

    from sr_tvm.nets.wdsr import WDSR

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return WDSR(architecture).eval()
