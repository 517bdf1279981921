"""The decisions about one kind of kernel as genomes."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Iterable
from random import Random
from typing import Any

from msgspec.structs import replace

from sr_tvm.targets.hexagon.hvx.decisions import (
    ALLOWED,
    DEFAULT,
    DIRECTIONS,
    ORDERS,
    READS,
    READY,
    SPREADS,
    SUMS,
    TILES,
    HvxDecisions,
)
from sr_tvm.targets.hexagon.hvx.stages import TILES_OF_SHUFFLE, HvxStage
from sr_tvm.targets.lowering import DecisionSpace

PAIR = ("fused", "ready", "shared", "spread", "direction", "rotation")
CONVOLUTION = ("tiles", "sums", "order", "read", "ready", "direction", "rotation")


class KernelSpace(DecisionSpace[HvxDecisions]):
    """The :class:`HvxDecisions` about kernels like that of ``stage``."""

    def __init__(self, stage: HvxStage, known: Iterable[HvxDecisions] = ()) -> None:
        self.stage = stage
        self.names: tuple[str, ...] = CONVOLUTION if stage.expand is None else PAIR
        if stage.shuffle in TILES_OF_SHUFFLE:
            self.names = tuple(name for name in self.names if name != "tiles")
        self.default = self.repair(stage.usual)
        self.known = [self.repair(decisions) for decisions in known]

    def repair(self, decisions: HvxDecisions) -> HvxDecisions:
        """One form for what makes the same kernel: what does not matter to it is as in the default."""
        matters: dict[str, Any] = {name: getattr(decisions, name) for name in self.names}
        if not matters.get("fused", True):
            matters = {"fused": False}
        made = replace(DEFAULT, **matters)
        if self.stage.expand is not None or not made.fused:
            return made
        one = dataclasses.replace(self.stage, decisions=made)
        if all(form.tiles == 1 for form, _ in one.forms()):
            made = replace(made, order=DEFAULT.order)  # there is one order
        return made

    def seeds(self) -> list[HvxDecisions]:
        """The default, what is known, each scheduler direction, and of that one decision changed."""
        found = [self.default, *self.known]
        found += [self.repair(replace(self.default, direction=direction)) for direction in DIRECTIONS]
        changes: dict[str, tuple[Any, ...]] = {
            "tiles": TILES, "order": ORDERS, "read": READS, "spread": SPREADS, "sums": SUMS, "ready": READY,
        }  # fmt: skip
        directions = (d for d in DIRECTIONS if d in ("up", "down"))
        for direction, (name, values) in itertools.product(directions, changes.items()):
            if name in self.names:
                start = replace(self.default, direction=direction)
                found += [self.repair(replace(start, **{name: value})) for value in values]
        return list(dict.fromkeys(found))

    def random(self, rng: Random) -> HvxDecisions:
        chosen: dict[str, Any] = {name: rng.choice(ALLOWED[name]) for name in self.names}
        return self.repair(replace(DEFAULT, **chosen))

    def crossover(self, a: HvxDecisions, b: HvxDecisions, rng: Random) -> HvxDecisions:
        """Each decision from either parent."""
        chosen: dict[str, Any] = {name: getattr(rng.choice((a, b)), name) for name in self.names}
        return self.repair(replace(a, **chosen))

    def mutate(self, genome: HvxDecisions, rng: Random) -> HvxDecisions | None:
        """Change one decision; None if that changed nothing."""
        name = rng.choice(self.names)
        changed = self.repair(replace(genome, **{name: rng.choice(ALLOWED[name])}))
        return None if changed == genome else changed

    def key(self, genome: HvxDecisions) -> str:
        text = json.dumps(genome.to_json(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]
