"""The genetic core: it knows populations and costs, not what a genome is. No TVM here.

Survival is by age with elitism: the best ``elite`` ever measured, and the most recent others (regularized evolution,
Real et al. 2019), so that a candidate that was lucky in one noisy measurement does not rule for ever. Everything a
generation does follows from (seed, stream, generation number, results so far): a run that was stopped goes on with the
very candidates it would have had.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random
from typing import Annotated, Generic, Protocol, TypeVar

from msgspec import Meta
from typing_extensions import override

from sr_tvm.system.validation import CheckedRecord, Count, Positive, RecordError

Probability = Annotated[float, Meta(ge=0, le=1, description="a probability from 0 to 1")]
G = TypeVar("G")
# Attempts at a new candidate before a generation settles for fewer: small spaces run dry.
ATTEMPTS = 12


class Space(Protocol[G]):
    """A design space that can be searched. Each operator may return None: no feasible genome came out, try again."""

    def seeds(self) -> Iterable[G]:
        """Give good guesses to begin with.

        Returns:
            Genomes, in order; none is fine.
        """
        ...

    def random(self, rng: Random) -> G | None:
        """Draw a genome.

        Args:
            rng: The only source of chance.

        Returns:
            The genome; None where it is not feasible.
        """

    def crossover(self, a: G, b: G, rng: Random) -> G | None:
        """Mix two genomes.

        Args:
            a: One parent.
            b: The other.
            rng: The only source of chance.

        Returns:
            A child of both; None where none is feasible.
        """

    def mutate(self, genome: G, rng: Random) -> G | None:
        """Change a genome a little.

        Args:
            genome: The parent, which stays as it is.
            rng: The only source of chance.

        Returns:
            The changed one; None where it is not feasible.
        """

    def key(self, genome: G) -> str:
        """Name the program that a genome makes.

        Args:
            genome: Any genome of the space.

        Returns:
            A key; equal keys mean the same program, which is never measured twice.
        """
        ...


class GeneticSettings(CheckedRecord, frozen=True):
    """Options of the genetic search.

    Attributes:
        population: Parents at most.
        elite: How many of them are the best ever measured.
        tournament: Parents that compete to reproduce.
        p_crossover: Probability that a child has two parents.
        p_mutation: Probability that a child is mutated.
        p_random: Probability that a child is random, without parents.
        seed: Of all chance.

    Raises:
        SrTvmError: A field is out of range; the message names it and says what is allowed.
    """

    population: Annotated[int, Meta(ge=2, le=10_000)] = 32
    elite: Count = 8
    tournament: Positive = 3
    p_crossover: Probability = 0.7
    p_mutation: Probability = 0.9
    p_random: Probability = 0.1
    seed: Annotated[int, Meta(ge=0, le=2**31 - 1)] = 0

    @override
    def check(self) -> None:
        for name in ("elite", "tournament"):
            if getattr(self, name) > self.population:
                shown = f"{getattr(self, name)}; at most the population, {self.population},"
                raise RecordError(f"genetic settings: field {name} is {shown} is needed")


@dataclass
class Individual(Generic[G]):
    """A genome with what is known of it.

    Attributes:
        key: Names its program.
        genome: None for one of an earlier run that failed.
        generation: In which it was made.
        order: Its place there.
        cost: None until told, infinite for one that failed; lower is better.
    """

    key: str
    genome: G | None
    generation: int
    order: int = 0
    cost: float | None = None

    @property
    def fitness(self) -> tuple[float, int, int]:
        """The cost, infinite where unknown, then generation and place, so that the order is total; lower is better."""
        return (math.inf if self.cost is None else self.cost, self.generation, self.order)


class GeneticSearch(Generic[G]):
    """A search that is asked for a generation, told the costs and asked again.

    Args:
        space: What is searched.
        settings: Sizes and probabilities.
        stream: Separates searches that share a seed (one per tuning task).
    """

    def __init__(self, space: Space[G], settings: GeneticSettings, stream: str = "") -> None:
        self.space, self.settings, self.stream = space, settings, stream
        self.generation = 0
        self.individuals: dict[str, Individual[G]] = {}
        self.exhausted = False
        self.size = 0  # of the last generation, those measured in an earlier run included

    def restore(self, individuals: Iterable[Individual[G]]) -> None:
        """Take in what earlier runs measured, before the first :meth:`ask`.

        The last generation among them may be unfinished: the next ask makes it again and returns what is missing.

        Args:
            individuals: With their costs, generations and places.
        """
        for individual in individuals:
            self.individuals[individual.key] = individual
            self.generation = max(self.generation, individual.generation)

    def ask(self, count: int) -> list[Individual[G]]:
        """Make the next generation of individuals that were never measured before.

        Args:
            count: Its size at most.

        Returns:
            The individuals; none when a restored generation turns out to be complete, or nothing new was found
            (``exhausted``).
        """
        rng = Random(f"{self.settings.seed}/{self.stream}/{self.generation}")
        parents = self._parents()
        made: list[Individual[G]] = []
        earlier = {k for k, i in self.individuals.items() if i.generation < self.generation}
        seeds = list(self.space.seeds()) if self.generation == 0 else []
        for attempt in range(len(seeds) + ATTEMPTS * count):
            if len(made) == count:
                break
            genome = seeds[attempt] if attempt < len(seeds) else self._child(parents, rng)
            if genome is None:
                continue
            key = self.space.key(genome)
            if key in earlier or any(key == other.key for other in made):
                continue
            individual = self.individuals.get(key) or Individual(key, genome, self.generation)
            individual.order = len(made)
            made.append(individual)
        self.exhausted, self.size = not made, len(made)
        self.generation += 1
        new = [i for i in made if i.cost is None]
        self.individuals.update((i.key, i) for i in new)
        return new

    def tell(self, key: str, cost: float | None) -> None:
        """Note the cost of an individual that was asked for.

        Args:
            key: Of the individual.
            cost: Lower is better; None or not finite for one that failed.
        """
        self.individuals[key].cost = cost if cost is not None and math.isfinite(cost) else math.inf

    @property
    def best(self) -> Individual[G] | None:
        """The individual of the lowest cost; None where none has succeeded."""
        good = [i for i in self.individuals.values() if i.cost is not None and math.isfinite(i.cost)]
        return min(good, key=lambda i: i.fitness) if good else None

    def _parents(self) -> list[Individual[G]]:
        """Return the population: the elite and the youngest others, of the generations before this one."""
        good = [
            i
            for i in self.individuals.values()
            if i.generation < self.generation and i.genome is not None and i.cost is not None and math.isfinite(i.cost)
        ]
        good.sort(key=lambda i: i.fitness)
        elite, others = good[: self.settings.elite], good[self.settings.elite :]
        others.sort(key=lambda i: (i.generation, i.order), reverse=True)
        return elite + others[: self.settings.population - len(elite)]

    def _child(self, parents: list[Individual[G]], rng: Random) -> G | None:
        if len(parents) < 2 or rng.random() < self.settings.p_random:
            return self.space.random(rng)
        parent = self._tournament(parents, rng)
        genome = _genome(parent)
        if rng.random() < self.settings.p_crossover:
            mate = self._tournament([p for p in parents if p is not parent], rng)
            genome = self.space.crossover(genome, _genome(mate), rng) or genome
        if rng.random() < self.settings.p_mutation:
            return self.space.mutate(genome, rng)
        return None if genome is parent.genome else genome

    def _tournament(self, parents: list[Individual[G]], rng: Random) -> Individual[G]:
        chosen = rng.sample(parents, min(self.settings.tournament, len(parents)))
        return min(chosen, key=lambda i: i.fitness)


def _genome(parent: Individual[G]) -> G:
    assert parent.genome is not None  # _parents left out those without
    return parent.genome
