"""The genetic tuner as a MetaSchedule search strategy, for our own loop and for TVM's task scheduler alike."""

from __future__ import annotations

import contextlib
import sys
import types
from collections.abc import Iterator, Mapping
from typing import Any

import tvm
from tvm.ir.utils import derived_object
from tvm.s_tir.meta_schedule import TuneContext
from tvm.s_tir.meta_schedule.arg_info import ArgInfo
from tvm.s_tir.meta_schedule.search_strategy import MeasureCandidate, PySearchStrategy
from tvm.s_tir.meta_schedule.space_generator import PostOrderApply, ScheduleFn, SpaceGeneratorUnion
from tvm.target import codegen
from typing_extensions import override

from sr_tvm.build.replay import structural_key
from sr_tvm.tuning.genetic import GeneticSearch, GeneticSettings, Individual
from sr_tvm.tuning.register_tiles import register_tile_spaces
from sr_tvm.tuning.trace_genome import TraceGenome, TraceSpace

INTRINSICS = "tvm.s_tir.tensor_intrin"


@contextlib.contextmanager
def without_tensor_intrinsics() -> Iterator[None]:
    """Keep TuneContext from importing every tensor intrinsic (CUDA's too), which takes 37 s.

    Our rules use none, which keeps records portable between processors, so an empty module stands in while the context
    is made.

    Yields:
        Nothing; make the context within the block.
    """
    if INTRINSICS in sys.modules:
        yield
        return
    sys.modules[INTRINSICS] = types.ModuleType(INTRINSICS)
    try:
        yield
    finally:
        del sys.modules[INTRINSICS]


@derived_object
class GeneticStrategy(PySearchStrategy):
    """The genetic search as MetaSchedule sees it.

    With a database, what it holds of the task is taken as already measured. So an interrupted generation is finished,
    not begun anew.

    Args:
        settings: Of the genetic search; None for the usual ones.
        measured: The generation of every candidate of earlier runs by key, in the order of measurement; those without a
            record failed and are not tried again.
    """

    def __init__(self, settings: GeneticSettings | None = None, measured: Mapping[str, int] | None = None) -> None:
        super().__init__()
        self.settings = settings or GeneticSettings()
        self.measured = dict(measured or {})
        self._search: GeneticSearch[TraceGenome] | None = None
        self.context: Any = None
        self.handed_out: list[Individual[TraceGenome]] = []
        self.trials = self.max_trials = self.per_generation = 0

    @property
    def search(self) -> GeneticSearch[TraceGenome]:
        """The search of the task that is being tuned.

        Raises:
            RuntimeError: Before pre_tuning.
        """
        if self._search is None:
            raise RuntimeError("pre_tuning comes first")
        return self._search

    def _initialize_with_tune_context(self, context: Any) -> None:
        self.context = context  # a cycle, which post_tuning breaks

    @override
    def pre_tuning(
        self,
        max_trials: int,
        num_trials_per_iter: int,
        design_spaces: list[Any],
        database: Any = None,
        cost_model: Any = None,
    ) -> None:
        generator = self.context.space_generator
        mutators = (generator.mutator_probs or {}).items()
        space = TraceSpace(self.context.mod, design_spaces, generator.postprocs or (), mutators)
        self._search = GeneticSearch(space, self.settings, structural_key(self.context.mod))
        self.trials, self.max_trials, self.per_generation = 0, int(max_trials), int(num_trials_per_iter)
        order = {key: place for place, key in enumerate(self.measured)}
        self.search.restore(Individual(key, None, g, order[key], cost=float("inf")) for key, g in self.measured.items())
        if database is not None and database.has_workload(self.context.mod):
            self.search.restore(self._records(space, database, order))

    def _records(self, space: TraceSpace, database: Any, order: dict[str, int]) -> Iterator[Individual[TraceGenome]]:
        workload = database.commit_workload(self.context.mod)
        last = max(self.measured.values(), default=0)
        for record in database.get_all_tuning_records():
            if not record.workload.same_as(workload) or not record.run_secs:
                continue
            found = space.reload(record.trace)
            if found is not None:
                key, genome = found
                cost = min(float(s) for s in record.run_secs)
                yield Individual(key, genome, self.measured.get(key, last), order.get(key, len(order)), cost)

    @override
    def post_tuning(self) -> None:
        self._search = self.context = None
        self.handed_out = []

    @override
    def generate_measure_candidates(self) -> list[Any] | None:
        self.handed_out = []
        while not self.handed_out and self.trials < self.max_trials:
            # A restored generation that was complete gives nothing: the one after it does.
            self.handed_out = self.search.ask(min(self.per_generation, self.max_trials - self.trials))
            if self.search.exhausted:
                break
        self.trials += len(self.handed_out)
        if not self.handed_out:
            return None
        schedules = [i.genome.schedule for i in self.handed_out if i.genome is not None]
        return [MeasureCandidate(s, ArgInfo.from_entry_func(s.mod, True)) for s in schedules]

    @override
    def notify_runner_results(self, measure_candidates: list[Any], results: list[Any]) -> None:
        for individual, result in zip(self.handed_out, results, strict=True):
            seconds = [float(s) for s in result.run_secs] if result.run_secs else []
            self.search.tell(individual.key, min(seconds) if seconds else None)

    @override
    def clone(self) -> Any:
        return GeneticStrategy(self.settings, self.measured)


def make_context(
    mod: tvm.IRModule, target: tvm.target.Target, strategy: Any, name: str = "main", seed: int = 0
) -> TuneContext:
    """Make a tune context over MetaSchedule's spaces for plain LLVM and our register tiles.

    No tensor intrinsics are used, so that records replay on any processor.

    Args:
        mod: A kernel, its function "main".
        target: What it is compiled for.
        strategy: The search strategy.
        name: Of the task, for people.
        seed: Of all chance, from 0.

    Returns:
        The context, of one thread, as TVM's random streams are per thread.
    """
    kind = "llvm"
    general = PostOrderApply(sch_rules=kind, postprocs=kind, mutator_probs=kind)
    floats = max(1, int(codegen.llvm_get_vector_width(target)) // 32) if str(target.kind.name) == "llvm" else 4
    tiles = ScheduleFn(lambda sch: register_tile_spaces(sch, floats), sch_rules=[], postprocs=[], mutator_probs={})
    space = SpaceGeneratorUnion([general, tiles], sch_rules=[], postprocs=kind, mutator_probs=kind)
    with without_tensor_intrinsics():
        # One thread: TVM's random streams are per thread. TVM's seeds start at 1.
        return TuneContext(
            mod,
            target=target,
            space_generator=space,
            search_strategy=strategy,
            task_name=name,
            rand_state=seed % (2**31 - 2) + 1,
            num_threads=1,
        )
