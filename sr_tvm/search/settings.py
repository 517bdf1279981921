"""What a search is asked to do; a checkpoint remembers it, and a resumed search must be asked the same."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

from sr_tvm.errors import SrTvmError
from sr_tvm.records.architecture import Architecture
from sr_tvm.search.selection import Bounds
from sr_tvm.search.supernet import Least
from sr_tvm.training.settings import PRECISIONS, WeightsFile

# Successive halving is "race" in the files of searches, and so is the setting of its steps.
SUPERNET, WIDTH, HALVING, DEPTH, FINETUNE = "supernet", "width", "race", "depth", "finetune"


@dataclass(frozen=True)
class SearchPhase:
    """``steps`` steps from step ``begin`` on."""

    name: str
    begin: int
    steps: int

    @property
    def searches(self) -> bool:
        return self.name in (WIDTH, HALVING, DEPTH)


@dataclass(frozen=True)
class SearchSettings:
    """One search of a network of ``budget`` (in the speed model's unit) on a low-resolution ``height`` x ``width``.

    ``supernet_steps``, ``width_steps``, ``race_steps``, ``depth_steps`` and ``finetune_steps`` are the phases' lengths;
    0 leaves one out. ``race_steps``, of successive halving, are of all its networks together; it needs the phases
    before and behind it.
    ``lr`` is for weights at the start of a cosine while training and fine-tuning; while searching it is constantly
    ``search_lr``. ``travel`` is how far an indicator, which begins at 1 and is cut at 0.5, could go in all steps of the
    search. ``gamma`` weighs the latency: at 1 it pulls as hard as the task, see penalty.py. ``patch`` is in
    low-resolution pixels, ``clip`` the largest norm of the weights' gradients (0: none), ``precision`` that of the
    blocks' convolutions. ``supernet_weights`` is what the supernet begins as; without, it is a fresh one.

    Raises:
        SrTvmError: a number is out of range.
    """

    supernet: Architecture
    budget: float
    height: int
    width: int
    supernet_steps: int = 0
    width_steps: int = 2000
    race_steps: int = 6000
    depth_steps: int = 4000
    finetune_steps: int = 12000
    batch: int = 4
    patch: int = 32
    lr: float = 6e-3
    search_lr: float = 5e-4
    travel: float = 4.0
    gamma: float = 0.3
    seed: int = 0
    ema: float = 0.999
    clip: float = 0.5
    precision: str = "float32"
    validate_every: int = 500
    least: Least = Least()
    supernet_weights: WeightsFile | None = None

    def __post_init__(self) -> None:
        ranges = {"batch": (1, 4096), "patch": (8, 1024), "seed": (0, 2**32 - 1), "validate_every": (1, 10**9)}
        ranges |= {f"{name}_steps": (0, 10**9) for name in (SUPERNET, WIDTH, HALVING, DEPTH, FINETUNE)}
        ranges |= {"height": (8, 16384), "width": (8, 16384)}
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise SrTvmError(f"{name.replace('_', ' ')} is {value}; a whole number from {low} to {high} is allowed")
        for name in ("lr", "search_lr"):
            value = getattr(self, name)
            if not (math.isfinite(value) and 0 < value <= 1):
                raise SrTvmError(f"{name.replace('_', ' ')} is {value}; a number above 0, at most 1, is allowed")
        for name in ("gamma", "travel", "budget"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise SrTvmError(f"{name} is {value}; a number above 0 is allowed")
        if not 0 <= self.ema < 1:
            raise SrTvmError(f"ema is {self.ema}; a number from 0 to below 1 is allowed")
        if not 0 <= self.clip < math.inf:
            raise SrTvmError(f"clip is {self.clip}; a number from 0, which is for none, is allowed")
        if self.precision not in PRECISIONS:
            raise SrTvmError(f"precision is {self.precision!r}; {' or '.join(PRECISIONS)} is allowed")
        if not self.supernet.blocks:
            raise SrTvmError("the supernet has no blocks; there is nothing to search")
        if not self.width_steps + self.depth_steps:
            raise SrTvmError("width steps and depth steps are both 0; there would be no search")

    @property
    def phases(self) -> tuple[SearchPhase, ...]:
        """In order; fine-tuning is always the last, if only of 0 steps."""
        found, begin = [], 0
        for name in (SUPERNET, WIDTH, HALVING, DEPTH, FINETUNE):
            steps = getattr(self, f"{name}_steps")
            if name == HALVING and not (self.width_steps and self.depth_steps):
                continue  # nothing to go by, or nothing to find out
            if steps or name == FINETUNE:
                found.append(SearchPhase(name, begin, steps))
                begin += steps
        return tuple(found)

    @property
    def steps(self) -> int:
        """Of all phases."""
        last = self.phases[-1]
        return last.begin + last.steps

    def searched(self, step: int) -> int:
        """How many steps of masks, in width and depth, come before ``step``."""
        phases = [p for p in self.phases if p.name in (WIDTH, DEPTH)]
        return sum(min(p.steps, max(0, step - p.begin)) for p in phases)

    def phase(self, step: int) -> SearchPhase:
        """Of step 0, 1, ...; beyond the last step it is the last phase."""
        return next((p for p in self.phases if step < p.begin + p.steps), self.phases[-1])

    @property
    def mask_lr(self) -> float:
        """Adam's for the indicators, whose steps are of about its size."""
        return self.travel / (self.width_steps + self.depth_steps)

    @property
    def smallest(self) -> Least:
        """What masks keep at least; without a depth phase every block is kept."""
        blocks = self.least.blocks if self.depth_steps else len(self.supernet.blocks)
        return Least(self.least.channels, self.least.expand, self.least.linear, blocks)

    @property
    def bounds(self) -> Bounds:
        """Where the search must end."""
        return Bounds.under(self.budget, self.smallest.blocks)

    def learning_rate(self, step: int) -> float:
        """For weights: a cosine from ``lr`` towards zero in a phase of training, constant in one of searching."""
        phase = self.phase(step)
        if phase.searches:
            return self.search_lr
        return self.lr * 0.5 * (1 + math.cos(math.pi * (step - phase.begin) / max(1, phase.steps)))

    def to_json(self) -> dict[str, Any]:
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        weights = self.supernet_weights and str(self.supernet_weights)
        return plain | {"supernet": self.supernet.to_json(), "least": vars(self.least), "supernet_weights": weights}
