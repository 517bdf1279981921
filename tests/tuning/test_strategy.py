"""Traces as genomes, our design spaces, and the strategy inside TVM's own task scheduler."""

import math
import sys
from random import Random

import pytest
import tvm
from tuning_helpers import TARGET, module
from tvm.ir.utils import derived_object
from tvm.s_tir import Schedule
from tvm.s_tir import meta_schedule as ms
from tvm.s_tir.meta_schedule.builder import BuilderResult, PyBuilder
from tvm.s_tir.meta_schedule.runner import PyRunner, PyRunnerFuture, RunnerResult

from sr_tvm.tuning.genetic import GeneticSettings
from sr_tvm.tuning.register_tiles import fits_registers, is_register_tile, register_tile_spaces
from sr_tvm.tuning.strategy import INTRINSICS, GeneticStrategy, make_context
from sr_tvm.tuning.tasks import find_tasks
from sr_tvm.tuning.trace_genome import TraceGenome, move_factor


@pytest.fixture(scope="module")
def task():
    return find_tasks(module(size=32, channels=24), TARGET)[0]


@pytest.fixture
def space(task):
    strategy = GeneticStrategy()
    context = make_context(task.mod, TARGET.tvm_target(), strategy, seed=1)
    context.pre_tuning(100, 8)
    yield strategy.search.space
    context.post_tuning()


def decisions(genome):
    found = (genome.trace.get_decision(i) for i in genome.trace.insts)
    return [d if isinstance(d, int) else [int(f) for f in d] for d in found if d is not None]


def drawn(space, rng):
    return next(g for g in (space.random(rng) for _ in range(500)) if g is not None)


def pair(space, rng):
    """Two different genomes of one design space."""
    first = None
    for _ in range(500):
        genome = space.random(rng)
        if genome is not None and first is None:
            first = genome
        elif genome is not None and genome.structure == first.structure and decisions(genome) != decisions(first):
            return first, genome
    raise AssertionError("no pair found")


def test_intrinsics_stay_importable(space):
    assert INTRINSICS not in sys.modules or sys.modules[INTRINSICS].__doc__ is not None


def test_children_take_every_decision_from_a_parent(space):
    rng = Random(0)
    a, b = pair(space, rng)
    mixed = 0
    for _ in range(30):
        child = space.crossover(a, b, rng)
        if child is None:
            continue
        for own, first, second in zip(decisions(child), decisions(a), decisions(b), strict=True):
            assert own in (first, second)
        mixed += decisions(child) not in (decisions(a), decisions(b))
    assert mixed > 3


def test_no_child_of_different_spaces(space):
    rng = Random(0)
    of = {}
    while len(of) < 2:
        genome = space.random(rng)
        if genome is not None:
            of[genome.structure] = genome
    assert space.crossover(*of.values(), rng) is None


def test_operators_follow_the_seed(space):
    def life(seed):
        rng = Random(seed)
        a, b = pair(space, rng)
        made = [space.crossover(a, b, rng), *(space.mutate(a, rng) for _ in range(20))]
        return [space.key(g) if g is not None else None for g in made]

    assert life(3) == life(3)
    assert life(3) != life(4)


def test_moved_factor_keeps_the_loop(space):
    rng = Random(1)
    genome = drawn(space, rng)
    for _ in range(20):
        moved = TraceGenome(move_factor(genome.trace, rng))
        changed = [(a, b) for a, b in zip(decisions(genome), decisions(moved), strict=True) if a != b]
        assert len(changed) == 1
        before, after = changed[0]
        assert math.prod(before) == math.prod(after) and min(after) >= 1


def test_reloaded_record_has_the_same_key(space):
    genome = drawn(space, Random(5))
    key, again = space.reload(genome.schedule.trace)
    assert key == space.key(genome)
    assert decisions(again) == decisions(genome)


def test_register_tiles_begin_full(task):
    spaces = register_tile_spaces(Schedule(task.mod), vector=8)
    assert len(spaces) == 5
    for schedule in spaces:
        trace = schedule.trace.simplified(True)
        assert is_register_tile(trace) and fits_registers(trace)
        assert "sr_tvm.register_tile" in schedule.mod.script()


def test_register_tiles_leave_other_kernels_alone():
    from tvm.script import tirx as T

    @T.prim_func(s_tir=True)
    def plain(a: T.Buffer((64, 64), "float32"), b: T.Buffer((64, 64), "float32")):
        for i, j in T.grid(64, 64):
            with T.sblock("relu"):
                x, y = T.axis.remap("SS", [i, j])
                b[x, y] = T.max(a[x, y], T.float32(0))

    assert register_tile_spaces(Schedule(tvm.IRModule({"main": plain}))) == []


@derived_object
class NoBuilder(PyBuilder):
    def build(self, build_inputs):
        return [BuilderResult("nowhere", None) for _ in build_inputs]


@derived_object
class Done(PyRunnerFuture):
    def __init__(self, number):
        super().__init__()
        self.number = number

    def done(self):
        return True

    def result(self):
        return RunnerResult([1.0 + self.number % 7], None)


@derived_object
class NoRunner(PyRunner):
    def __init__(self):
        super().__init__()
        self.count = 0

    def run(self, runner_inputs):
        self.count += len(runner_inputs)
        return [Done(self.count + i) for i in range(len(runner_inputs))]


def test_inside_the_stock_task_scheduler(task, tmp_path):
    target = TARGET.tvm_target()
    context = make_context(task.mod, target, GeneticStrategy(GeneticSettings(population=8, elite=2)), seed=2)
    database = ms.database.MemoryDatabase()
    ms.task_scheduler.RoundRobin().tune(
        [context], [1.0], 20, 20, 5, NoBuilder(), NoRunner(), [ms.measure_callback.AddToDatabase()], database, None
    )
    records = database.get_all_tuning_records()
    assert len(records) == 20
    assert len({str(r.trace) for r in records}) == 20
