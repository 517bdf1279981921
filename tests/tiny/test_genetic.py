"""The genetic core on a toy genome, without TVM."""

import math
import random

import pytest

from sr_tvm.errors import SrTvmError
from sr_tvm.tuning.genetic import GeneticSearch, GeneticSettings, Individual

GENES, VALUES = 12, 6


class Tiles:
    """A genome of GENES decisions out of VALUES each, as tuples."""

    def seeds(self):
        return []

    def random(self, rng):
        return tuple(rng.randrange(VALUES) for _ in range(GENES))

    def crossover(self, a, b, rng):
        return tuple(rng.choice(pair) for pair in zip(a, b, strict=True))

    def mutate(self, genome, rng):
        place = rng.randrange(GENES)
        return (*genome[:place], rng.randrange(VALUES), *genome[place + 1 :])

    def key(self, genome):
        return "".join(map(str, genome))


def deceptive(genome):
    """Cost: each gene pulls towards 0, but the optimum, worth more than the pull, is all VALUES - 1 in a group of 3."""
    groups = [genome[i : i + 3] for i in range(0, GENES, 3)]
    return sum(-6 if set(g) == {VALUES - 1} else sum(g) for g in groups)


def run(search, cost, generations, size=8):
    keys = []
    for _ in range(generations):
        for individual in search.ask(size):
            keys.append(individual.key)
            search.tell(individual.key, cost(individual.genome))
    return keys


def test_same_seed_same_candidates():
    first, second, other = (GeneticSearch(Tiles(), GeneticSettings(seed=s)) for s in (3, 3, 4))
    keys = run(first, deceptive, 10)
    assert keys == run(second, deceptive, 10)
    assert keys != run(other, deceptive, 10)


def test_streams_differ_under_one_seed():
    a, b = (GeneticSearch(Tiles(), GeneticSettings(), stream) for stream in ("a", "b"))
    assert run(a, deceptive, 1) != run(b, deceptive, 1)


def test_no_candidate_twice():
    keys = run(GeneticSearch(Tiles(), GeneticSettings(population=8)), deceptive, 40)
    assert len(keys) == len(set(keys)) == 320


def test_better_than_random_search():
    settings = [GeneticSettings(seed=s) for s in range(12)]
    genetic = [GeneticSearch(Tiles(), s) for s in settings]
    chance = [GeneticSearch(Tiles(), GeneticSettings(seed=s.seed, p_random=1.0)) for s in settings]
    for search in genetic + chance:
        run(search, deceptive, 25)
    mean = [sum(s.best.cost for s in group) / len(group) for group in (genetic, chance)]
    assert mean[0] < mean[1] - 5
    assert sum(g.best.cost < c.best.cost for g, c in zip(genetic, chance, strict=True)) >= 11


def test_exhausts_a_small_space():
    class Coin(Tiles):
        def random(self, rng):
            return (rng.randrange(2),)

        def mutate(self, genome, rng):
            return (1 - genome[0],)

    search = GeneticSearch(Coin(), GeneticSettings())
    assert sorted(run(search, sum, 1)) == ["0", "1"]
    assert not search.exhausted
    assert search.ask(8) == [] and search.exhausted


def test_seeds_come_first_and_once():
    class Informed(Tiles):
        def seeds(self):
            return [(1,) * GENES, (2,) * GENES, (1,) * GENES]

    search = GeneticSearch(Informed(), GeneticSettings())
    keys = run(search, deceptive, 4, size=4)
    assert keys[:2] == ["1" * GENES, "2" * GENES] and len(set(keys)) == 16


def test_infeasible_children_are_no_candidates():
    class Picky(Tiles):
        def random(self, rng):
            genome = super().random(rng)
            return genome if genome[0] < 2 else None

    assert all(key[0] in "01" for key in run(GeneticSearch(Picky(), GeneticSettings(p_random=1.0)), deceptive, 3))


def test_failures_are_no_parents():
    search = GeneticSearch(Tiles(), GeneticSettings(p_random=0.0, p_mutation=0.0, p_crossover=1.0))
    first = search.ask(20)
    for individual in first:
        search.tell(individual.key, 1.0 if individual.genome[0] == 0 else None)
    good = [i for i in first if i.genome[0] == 0]
    assert len(good) >= 2, "the seed must give parents"
    children = search.ask(8)
    assert children and all(i.genome[0] == 0 for i in children)
    search.tell(children[0].key, math.nan)
    assert search.individuals[children[0].key].cost == math.inf


def test_old_ones_die_but_the_elite_stay():
    search = GeneticSearch(Tiles(), GeneticSettings(population=10, elite=2))
    run(search, deceptive, 6)
    parents = search._parents()
    best = sorted(search.individuals.values(), key=lambda i: i.fitness)[:2]
    assert [i.key for i in parents[:2]] == [i.key for i in best]
    assert len(parents) == 10 and {i.generation for i in parents[2:]} <= {4, 5}


@pytest.mark.parametrize("stopped_after", [1, 5, 8, 13, 16])
def test_resumed_run_has_the_same_candidates(stopped_after):
    whole = GeneticSearch(Tiles(), GeneticSettings(seed=1))
    keys = run(whole, deceptive, 5)
    kept = [whole.individuals[k] for k in keys[:stopped_after]]
    resumed = GeneticSearch(Tiles(), GeneticSettings(seed=1))
    resumed.restore(Individual(i.key, i.genome, i.generation, n, i.cost) for n, i in enumerate(kept))
    rest = []
    while len(rest) < 40 - stopped_after:
        rest += run(resumed, deceptive, 1)
    assert rest == keys[stopped_after:]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("population", 1),
        ("population", 2.5),
        ("elite", 33),
        ("elite", -1),
        ("tournament", 0),
        ("p_mutation", 1.5),
        ("p_crossover", "high"),
        ("p_random", float("nan")),
        ("seed", -1),
        ("seed", True),
    ],
)
def test_settings_out_of_range_are_named(field, value):
    with pytest.raises(SrTvmError, match=f"genetic settings: field {field} is "):
        GeneticSettings(**{field: value})


def test_random_module_state_is_left_alone():
    random.seed(7)
    state = random.getstate()
    run(GeneticSearch(Tiles(), GeneticSettings()), deceptive, 3)
    assert random.getstate() == state
