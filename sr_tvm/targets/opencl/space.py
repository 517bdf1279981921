"""The decisions of a region on a phone's GPU as genomes."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable
from functools import cache
from random import Random
from typing import Any

from msgspec.structs import replace
from typing_extensions import override

from sr_tvm.codegen.kernel import Shape
from sr_tvm.regions.region import Region
from sr_tvm.regions.value import FLOAT16, FLOAT32
from sr_tvm.targets.lowering import DecisionSpace
from sr_tvm.targets.opencl.cost import Costs
from sr_tvm.targets.opencl.decisions import (
    BUFFER,
    GLOBAL,
    GROUPS,
    IMAGE,
    LOADS,
    LOCAL,
    NARROW,
    PIXELS,
    TILES,
    OpenClDecisions,
    StageDecisions,
    Way,
)
from sr_tvm.targets.opencl.shares import outputs_of
from sr_tvm.targets.opencl.stages import cut_stages

P_REGION, P_EVERYWHERE = 0.15, 0.3  # a mutation of what holds for the region; else, of all stages rather than of one


MUTATED = "pixels", "pixels", "group", "tiles", "weights", "outputs", "outputs", "load", "winograd", "sums"
MOST_REGISTERS = 48  # vectors a work-item may be estimated to need: over that it spills, and takes long to compile


class StageSpace(DecisionSpace[OpenClDecisions]):
    """The :class:`OpenClDecisions` of one region.

    A crossover has the cuts of one parent, and each stage from either. A mutation changes what holds for the region, or
    one decision of a stage or of all. Seeds are the lowering's choice, the known good ones, and the lowering's choice
    with one decision changed everywhere. What is repaired has as many stages as there are, each with what the nearest
    had, as far as that can be done.
    """

    def __init__(
        self, default: OpenClDecisions, region: Region, shape: Shape, dtype: str, known: Iterable[OpenClDecisions] = ()
    ) -> None:
        self.region = region
        self.sums = (FLOAT32, FLOAT16) if dtype == FLOAT16 else (FLOAT32,)
        self.winograd = (False, True) if dtype == FLOAT32 else (False,)
        self.width = shape[2] or max(PIXELS)
        self.stages = cache(self._stages)
        # Ways that cut alike are one choice.
        first: dict[tuple[Any, ...], Way] = {}
        ways = list(itertools.product(NARROW, (False, True), (False, True)))
        self._same = {way: first.setdefault(self._cut(way), way) for way in ways}
        self.ways = list(first.values())
        self.default = self.repair(default)
        self.known = [self.repair(self._aligned(decisions)) for decisions in known]

    def _cut(self, way: Way) -> tuple[Any, ...]:
        return tuple(tuple(node.name for node in p.region.nodes) for p in cut_stages(self.region, *way))

    def _stages(self, way: Way) -> list[tuple[Region, list[int]]]:
        """Return the stages, each with the choices there are for ``outputs``."""
        return [(piece.region, outputs_of(piece.region, way[0])) for piece in cut_stages(self.region, *way)]

    def _aligned(self, decisions: OpenClDecisions) -> OpenClDecisions:
        """Return those of a deeper or shallower network fitted to this: ends are alike, and the middle repeats."""
        given, there = decisions.stages, len(self.stages(self._same[decisions.way]))
        front = -(-min(len(given), there) // 2)
        back = min(len(given), there) - front
        between = given[front - 1 : front] * (there - front - back)
        return replace(decisions, stages=(*given[:front], *between, *given[len(given) - back :]))

    def _another(self, genome: OpenClDecisions, way: Way) -> OpenClDecisions:
        """Return the same with other cuts."""
        return self.repair(replace(genome, narrow=way[0], packed=way[1], remade=way[2]))

    @override
    def repair(self, decisions: OpenClDecisions) -> OpenClDecisions:
        narrow, packed, remade = way = self._same[decisions.way]
        there, given = self.stages(way), decisions.stages or (StageDecisions(),)
        nearest = [given[min(i * len(given) // len(there), len(given) - 1)] for i in range(len(there))]
        made = tuple(self._fit(stage, narrow, *of) for stage, of in zip(nearest, there, strict=True))
        return OpenClDecisions(narrow, decisions.storage, packed, remade, made)

    def _fit(self, stage: StageDecisions, narrow: int, region: Region, outputs: list[int]) -> StageDecisions:
        """Return the nearest that can be done, and has not far more pixels than registers."""
        share = stage.outputs if stage.outputs in outputs else 0
        stage = replace(
            stage,
            outputs=share,
            winograd=stage.winograd in self.winograd and stage.winograd,
            sums=stage.sums if stage.sums in self.sums else FLOAT32,
        )
        fewer = [replace(stage, pixels=p) for p in PIXELS if p <= min(stage.pixels, self.width)]
        costs = Costs(region, narrow, (1, self.width))
        kept = [way for way in fewer if costs.registers(way) <= MOST_REGISTERS]
        return (kept or fewer[:1])[-1]

    @override
    def seeds(self) -> list[OpenClDecisions]:
        found = [self.default, *self.known]
        for storage in (IMAGE, BUFFER):
            found.append(replace(self.default, storage=storage))
        for change in (
            {"pixels": 1},
            {"pixels": 2},
            {"pixels": 4},
            {"weights": LOCAL},
            {"weights": GLOBAL},
            {"load": 2},
            {"winograd": self.winograd[-1]},
            {"tiles": 1},
            {"sums": self.sums[-1]},
        ):
            stages = tuple(replace(stage, **change) for stage in self.default.stages)
            found.append(self.repair(replace(self.default, stages=stages)))
        found += [self._another(self.default, way) for way in self.ways]
        return list(dict.fromkeys(found))

    @override
    def random(self, rng: Random) -> OpenClDecisions:
        way = rng.choice(self.ways)
        weights = rng.choice((LOCAL, LOCAL, GLOBAL))
        load, sums = rng.choice(LOADS), rng.choice(self.sums)
        stages = tuple(
            StageDecisions(
                rng.choice(PIXELS[:3]),
                rng.choice(GROUPS),
                rng.choice(TILES),
                weights,
                rng.choice(outputs),
                load,
                rng.choice(self.winograd),
                sums,
            )
            for _, outputs in self.stages(way)
        )
        return self.repair(OpenClDecisions(way[0], rng.choice((IMAGE, BUFFER)), *way[1:], stages))

    @override
    def crossover(self, a: OpenClDecisions, b: OpenClDecisions, rng: Random) -> OpenClDecisions | None:
        first, second = (a, b) if rng.random() < 0.5 else (b, a)
        other = self._another(second, first.way)
        stages = tuple(rng.choice(pair) for pair in zip(first.stages, other.stages, strict=True))
        return self.repair(replace(first, storage=rng.choice((a, b)).storage, stages=stages))

    @override
    def mutate(self, genome: OpenClDecisions, rng: Random) -> OpenClDecisions | None:
        if rng.random() < P_REGION:
            changed = (
                replace(genome, storage=BUFFER if genome.storage == IMAGE else IMAGE)
                if rng.random() < 0.5
                else self._another(genome, rng.choice(self.ways))
            )
            return None if changed == genome else changed
        at, everywhere = rng.randrange(len(genome.stages)), rng.random() < P_EVERYWHERE
        name = rng.choice(MUTATED)
        _, outputs = self.stages(genome.way)[at]
        choices: dict[str, Any] = {
            "pixels": PIXELS,
            "group": GROUPS,
            "tiles": TILES,
            "weights": (LOCAL, GLOBAL),
            "outputs": outputs,
            "load": LOADS,
            "winograd": self.winograd,
            "sums": self.sums,
        }
        value = rng.choice(choices[name])
        stages = tuple(
            replace(stage, **{name: value}) if everywhere or i == at else stage for i, stage in enumerate(genome.stages)
        )
        changed = self.repair(replace(genome, stages=stages))
        return None if changed == genome else changed

    @override
    def key(self, genome: OpenClDecisions) -> str:
        text = json.dumps(genome.to_json(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]
