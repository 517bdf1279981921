"""MetaSchedule traces as genomes: what to sample is the design space's, what was sampled is the genome."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from random import Random
from typing import Any

import tvm
from tvm.s_tir import Schedule, ScheduleError
from tvm.s_tir.meta_schedule import _ffi_api as meta_schedule_ffi
from tvm.s_tir.schedule import Trace

from sr_tvm.build.replay import structural_key
from sr_tvm.tuning.register_tiles import fits_registers, is_register_tile

MAX_SEED = 2**31 - 2
P_RESAMPLE = 0.5
# MetaSchedule's goes through a map in the order of addresses: the same seed gives other tiles. Ours stands in.
TILE_MUTATOR = "MutateTileSize"


@dataclass(frozen=True)
class TraceGenome:
    """A trace without post-processing, all its decisions made.

    Attributes:
        trace: The trace.
        schedule: The program that came of it; None for a genome reloaded from a database, as parents need only a trace.
    """

    trace: Any
    schedule: Any = None

    @property
    def structure(self) -> tuple[str, ...]:
        """The kinds of the trace's instructions in order: equal for traces of one design space."""
        return tuple(str(i.kind.name) for i in self.trace.insts)


def move_factor(trace: Any, rng: Random) -> Any:
    """Move a factor from one part of a tiled loop to another.

    Args:
        trace: A trace, its decisions made; it stays as it is.
        rng: Draws the loop, then the move.

    Returns:
        The changed trace, not applied yet; None if no tile can change.
    """
    tiles = [i for i in trace.insts if str(i.kind.name) == "SamplePerfectTile" and trace.get_decision(i) is not None]
    moves = []
    for inst in tiles:
        factors, most = [int(f) for f in trace.get_decision(inst)], int(inst.attrs[1])
        for source, factor in enumerate(factors):
            for other in range(len(factors)):
                room = most // factors[-1] if other == len(factors) - 1 else factor
                if other != source:
                    moves += [(inst, source, other, d) for d in range(2, min(factor, room) + 1) if factor % d == 0]
    if not moves:
        return None
    # A loop with many divisors is not mutated more often for that: first the loop, then the move.
    changed = rng.choice(list(dict.fromkeys(tiles.index(m[0]) for m in moves)))
    inst, source, other, divisor = rng.choice([m for m in moves if m[0].same_as(tiles[changed])])
    factors = [int(f) for f in trace.get_decision(inst)]
    factors[source] //= divisor
    factors[other] *= divisor
    return trace.with_decision(inst, factors, True)


class TraceSpace:
    """The genomes of one task: random, crossed and mutated traces, each applied and post-processed.

    Args:
        mod: The kernel.
        spaces: Schedules that the space generator made, one per design space.
        postprocs: MetaSchedule's post-processors, in order.
        mutators: MetaSchedule's mutators with their probabilities.
    """

    def __init__(
        self, mod: tvm.IRModule, spaces: Iterable[Any], postprocs: Iterable[Any], mutators: Iterable[tuple[Any, float]]
    ) -> None:
        self.mod = mod
        self.traces = [space.trace.simplified(True) for space in spaces]
        self.guesses = [trace for trace in self.traces if is_register_tile(trace)]
        self.postprocs = list(postprocs)
        # A map's order follows addresses: sorted, or the same seed gives other candidates.
        pairs = sorted(((m, float(p)) for m, p in mutators), key=lambda pair: str(pair[0]))
        self.mutators, self.weights = [m for m, _ in pairs], [p for _, p in pairs]

    def seeds(self) -> list[TraceGenome]:
        """Give the decisions that the register tiles propose; of MetaSchedule's own spaces nothing is guessed.

        Returns:
            Feasible genomes.
        """
        made = (self._apply(trace, Random(0)) for trace in self.guesses)
        return [genome for genome in made if genome is not None]

    def random(self, rng: Random) -> TraceGenome | None:
        """Draw all decisions of a design space that is drawn itself.

        Args:
            rng: The only source of chance.

        Returns:
            The genome; None where it is not feasible.
        """
        return self._apply(Trace(rng.choice(self.traces).insts, {}), rng)

    def crossover(self, a: TraceGenome, b: TraceGenome, rng: Random) -> TraceGenome | None:
        """Take each sampling decision from either parent, by chance (uniform crossover).

        Args:
            a: One parent.
            b: The other.
            rng: The only source of chance.

        Returns:
            The child; None where it is not feasible, or the parents are of different design spaces.
        """
        if a.structure != b.structure:
            return None
        decisions = {}
        for of_a, of_b in zip(a.trace.insts, b.trace.insts, strict=True):
            first, second = a.trace.get_decision(of_a), b.trace.get_decision(of_b)
            if first is not None and second is not None:
                decisions[of_a] = first if rng.random() < 0.5 else second
        return self._apply(Trace(a.trace.insts, decisions), rng)

    def mutate(self, genome: TraceGenome, rng: Random) -> TraceGenome | None:
        """Draw one decision anew, or let one of MetaSchedule's mutators nudge one.

        Args:
            genome: The parent, which stays as it is.
            rng: The only source of chance.

        Returns:
            The changed genome; None where it is not feasible.
        """
        if not self.mutators or rng.random() < P_RESAMPLE:
            decided = [(i, genome.trace.get_decision(i)) for i in genome.trace.insts]
            decisions = {i: d for i, d in decided if d is not None}
            if not decisions:
                return None
            del decisions[rng.choice(list(decisions))]
            return self._apply(Trace(genome.trace.insts, decisions), rng)
        mutator = rng.choices(self.mutators, self.weights)[0]
        if TILE_MUTATOR in str(mutator):
            trace = move_factor(genome.trace, rng)
            return None if trace is None else self._apply(trace, rng)
        # Mutator.apply draws its own seed; the function underneath takes ours.
        trace = meta_schedule_ffi.MutatorApply(mutator, genome.trace, rng.randint(1, MAX_SEED))
        return None if trace is None else self._apply(trace, rng)

    def key(self, genome: TraceGenome) -> str:
        """Name the program that a genome makes.

        Args:
            genome: One that has its schedule.

        Returns:
            The structural hash of the scheduled module.
        """
        return structural_key(genome.schedule.mod)

    def reload(self, trace: Any) -> tuple[str, TraceGenome] | None:
        """Apply a recorded trace, post-processing included.

        Args:
            trace: As the database has it.

        Returns:
            Key and genome; None if it doesn't fit this task any more.
        """
        schedule = self._schedule(1)
        try:
            trace.apply_to_schedule(schedule, remove_postproc=False)
        except (ScheduleError, ValueError, RuntimeError):
            return None
        return structural_key(schedule.mod), TraceGenome(trace.simplified(True))

    def _schedule(self, seed: int) -> Any:
        return Schedule(self.mod, seed=seed, debug_mask=0, error_render_level="none")

    def _apply(self, trace: Any, rng: Random) -> TraceGenome | None:
        schedule = self._schedule(rng.randint(1, MAX_SEED))
        try:
            trace.apply_to_schedule(schedule, remove_postproc=True)
            sampled = schedule.trace.simplified(True)
            if not fits_registers(sampled):
                return None
            schedule.enter_postproc()
            if not all(postproc.apply(schedule) for postproc in self.postprocs):
                return None
        except (ScheduleError, ValueError, RuntimeError):  # ScheduleError is one: decisions that don't fit
            return None
        return TraceGenome(sampled, schedule)
