"""What a search is asked to do; a checkpoint remembers it, and a resumed search must be asked the same."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

from msgspec import Meta, structs
from typing_extensions import override

from sr_tvm.records.architecture import Architecture
from sr_tvm.search.selection import Bounds
from sr_tvm.search.supernet import Least
from sr_tvm.system.validation import MOST, CheckedRecord, RecordError
from sr_tvm.training.settings import (
    Average,
    Batch,
    Clip,
    Interval,
    Patch,
    Precision,
    Rate,
    Seed,
    Steps,
    WeightsFile,
)

# Successive halving is "race" in the files of searches, and so is the setting of its steps.
SUPERNET, WIDTH, HALVING, DEPTH, FINETUNE = "supernet", "width", "race", "depth", "finetune"

Side = Annotated[int, Meta(ge=8, le=16384)]
AboveZero = Annotated[float, Meta(gt=0, le=MOST, description="a number above 0")]


@dataclass(frozen=True)
class SearchPhase:
    """A phase of a search: ``steps`` steps from step ``begin`` on."""

    name: str
    begin: int
    steps: int

    @property
    def searches(self) -> bool:
        """Whether masks move, or networks compete, in this phase."""
        return self.name in (WIDTH, HALVING, DEPTH)


class SearchSettings(CheckedRecord, frozen=True):
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
    budget: AboveZero
    height: Side
    width: Side
    supernet_steps: Steps = 0
    width_steps: Steps = 2000
    race_steps: Steps = 6000
    depth_steps: Steps = 4000
    finetune_steps: Steps = 12000
    batch: Batch = 4
    patch: Patch = 32
    lr: Rate = 6e-3
    search_lr: Rate = 5e-4
    travel: AboveZero = 4.0
    gamma: AboveZero = 0.3
    seed: Seed = 0
    ema: Average = 0.999
    clip: Clip = 0.5
    precision: Precision = "float32"
    validate_every: Interval = 500
    least: Least = Least()
    supernet_weights: WeightsFile | None = None

    @override
    def check(self) -> None:
        if not self.supernet.blocks:
            raise RecordError("the supernet has no blocks; there is nothing to search")
        if not self.width_steps + self.depth_steps:
            raise RecordError("width steps and depth steps are both 0; there would be no search")

    @property
    def phases(self) -> tuple[SearchPhase, ...]:
        """The phases in order; fine-tuning is always the last, if only of 0 steps."""
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
        """The steps of all phases together."""
        last = self.phases[-1]
        return last.begin + last.steps

    def searched(self, step: int) -> int:
        """Count the steps of masks, in width and depth, that come before a step.

        Args:
            step: Counted from 0, of the whole search.

        Returns:
            Steps of the width and the depth phase together.
        """
        phases = [p for p in self.phases if p.name in (WIDTH, DEPTH)]
        return sum(min(p.steps, max(0, step - p.begin)) for p in phases)

    def phase(self, step: int) -> SearchPhase:
        """Find the phase that a step is in.

        Args:
            step: Counted from 0, of the whole search.

        Returns:
            The phase; beyond the last step it is the last one.
        """
        return next((p for p in self.phases if step < p.begin + p.steps), self.phases[-1])

    @property
    def mask_lr(self) -> float:
        """Adam's rate for the indicators, whose steps are of about its size."""
        return self.travel / (self.width_steps + self.depth_steps)

    @property
    def smallest(self) -> Least:
        """What masks keep at least; without a depth phase every block is kept."""
        blocks = self.least.blocks if self.depth_steps else len(self.supernet.blocks)
        return Least(self.least.channels, self.least.expand, self.least.linear, blocks)

    @property
    def bounds(self) -> Bounds:
        """The latencies and depths that the search must end within."""
        return Bounds.under(self.budget, self.smallest.blocks)

    def learning_rate(self, step: int) -> float:
        """Compute the rate of the weights: a cosine from ``lr`` towards zero while training, constant while searching.

        Args:
            step: Counted from 0, of the whole search.

        Returns:
            The rate; each phase of training has a cosine of its own.
        """
        phase = self.phase(step)
        if phase.searches:
            return self.search_lr
        return self.lr * 0.5 * (1 + math.cos(math.pi * (step - phase.begin) / max(1, phase.steps)))

    def to_json(self) -> dict[str, Any]:
        """Write the settings as a checkpoint and the history hold them.

        Returns:
            A JSON object.
        """
        plain = structs.asdict(self)
        weights = self.supernet_weights and str(self.supernet_weights)
        return plain | {"supernet": self.supernet.to_json(), "least": vars(self.least), "supernet_weights": weights}
