"""Tuning of a network: its streaming regions and other kernels, generations of candidates, records.

Interrupt it when you like; the same call goes on.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tvm

from sr_tvm.build.builder import ChildBuilder
from sr_tvm.errors import SrTvmError
from sr_tvm.records.region_decisions import RegionRecords
from sr_tvm.records.schedules import drop_slower, open_tables
from sr_tvm.runners.child_session import ChildRunner
from sr_tvm.targets.target import Target
from sr_tvm.tuning.allocation import next_task
from sr_tvm.tuning.bench import Bench, DeviceBench
from sr_tvm.tuning.history import History
from sr_tvm.tuning.options import TuneOptions
from sr_tvm.tuning.region_run import RegionRun
from sr_tvm.tuning.region_task import RegionTask
from sr_tvm.tuning.run import Run
from sr_tvm.tuning.task_run import TaskRun
from sr_tvm.tuning.tasks import find_tasks


@dataclass(frozen=True)
class Event:
    """What is told after every trial.

    Attributes:
        task: The kernel's or region's name.
        trial: Number of the trial, from 1, those of earlier runs counted.
        trials: How many there are to be.
        ms: Milliseconds of the candidate; None if it failed.
        best_ms: Milliseconds of the task's best so far.
        total_ms: Milliseconds of the whole model with the best of each task.
        error: Why the candidate failed.
    """

    task: str
    trial: int
    trials: int
    ms: float | None
    best_ms: float
    total_ms: float
    error: str | None = None


@dataclass(frozen=True)
class TaskResult:
    """What tuning did to one kernel or streaming region.

    Attributes:
        name: Its name, for people.
        workload: Its key, as the history has it.
        weight: How often one inference calls it.
        flops: Floating-point operations of one call.
        before_ms: Milliseconds of one call before, with the default schedule or the cost model's decisions.
        best_ms: Milliseconds of one call after tuning.
        trials: Candidates tried.
        failed: Those of them that failed.
    """

    name: str
    workload: str
    weight: int
    flops: float
    before_ms: float
    best_ms: float
    trials: int
    failed: int


@dataclass(frozen=True)
class TuningResult:
    """What :func:`tune` leaves. Sums are over the tasks of one inference, each times its number of calls."""

    database: Path
    tasks: tuple[TaskResult, ...]
    trials: int
    new_trials: int
    before_ms: float
    after_ms: float
    seconds: float
    clock: str
    history: tuple[dict[str, Any], ...]

    def to_json(self) -> dict[str, Any]:
        """Give the fields as JSON holds them.

        Returns:
            All fields by name, the folder as a string.
        """
        return {**asdict(self), "database": str(self.database), "history": list(self.history)}


def tune(
    mod: tvm.IRModule | None,
    target: Target,
    database_dir: str | Path,
    options: TuneOptions | None = None,
    *,
    bench: Bench | None = None,
    regions: Sequence[RegionTask] = (),
    hints: RegionRecords | None = None,
    progress: Callable[[Event], None] | None = None,
) -> TuningResult:
    """Search decisions for streaming regions, and schedules for the unscheduled kernels of a fused Relax module.

    Generations go to the task that is likeliest to save most of the model's time, be it a region or a kernel. Every
    candidate that is finished, failed or not, is on disk at once, so Ctrl-C or a crash loses only those under way.

    Args:
        mod: The fused module; None, or one without unscheduled kernels, where there are regions.
        target: What it is compiled for.
        database_dir: Folder of the records and the history; what earlier runs there did counts as trials, so the same
            call resumes.
        options: Trials, seed, threads and limits; None for the usual ones.
        bench: What candidates are measured on; None for a child process on this machine, by thread CPU time for one
            thread, by wall time for more.
        regions: The streaming regions, from :func:`~sr_tvm.tuning.region_task.find_regions`.
        hints: Decisions that were found for other regions; they are among the first candidates of each region.
        progress: Called after every trial.

    Returns:
        The times before and after, task by task, and the whole history.

    Raises:
        SrTvmError: Nothing to tune, a setting out of range, a folder that is not writable, belongs to another target,
            clock or number of threads, or is being tuned in by another process, or no device is left to measure on.
        KeyboardInterrupt: After everything done is saved.
    """
    started = time.monotonic()
    options = options or TuneOptions()
    settings = options.genetic()
    tasks = find_tasks(mod, target, none_is_fine=bool(regions)) if mod is not None else []
    folder = Path(database_dir)
    with open_tables(folder) as tables:
        history = History.open(folder)
        tvm_target = target.tvm_target()
        _same_conditions(history, tvm_target, options.threads)
        rows = RegionRecords.open([folder])
        own = bench is None
        bench = bench or DeviceBench(ChildBuilder(), ChildRunner(options.threads))
        history.target, history.threads, history.clock = _describe(tvm_target), options.threads, bench.clock
        bench.open()
        history.seed = settings.seed
        history.settings = {**settings.to_json(), "per_generation": options.per_generation}
        runs: list[Run] = []
        adopted = 0
        try:
            for region in regions:
                how = (rows, folder, history, hints, options.pin)
                runs.append(RegionRun(region, settings, options.per_generation, *how))
                _baseline(runs[-1], bench, history)
            for task in tasks:
                runs.append(TaskRun(task, settings, options.per_generation, tables, history))
                _baseline(runs[-1], bench, history)
            problems = [t["error"] for t in history.tasks.values() if t["error"]]
            if problems and all(run.progress.exhausted for run in runs):
                raise SrTvmError(f"no kernel of the model runs with its default, so none can be tuned: {problems[0]}")
            adopted = sum(len(history.of(run.task.key)) for run in runs)
            history.save()
            until = None if options.max_seconds is None else started + options.max_seconds
            _loop(runs, bench, history, adopted, options.trials, progress, until)
        finally:
            history.save()
            drop_slower(folder, {run.task.key: run.before for run in runs})
            for run in runs:
                run.close()
            if own:
                bench.close()
    return _result(folder, runs, history, adopted, time.monotonic() - started)


def _describe(target: Any) -> str:
    """Return the target as JSON, without the number of cores: that changes with the machine's load limits."""
    value = {k: v for k, v in json.loads(str(target)).items() if k != "num-cores"}
    return json.dumps(value, sort_keys=True)


def _same_conditions(history: History, target: Any, threads: int) -> None:
    """Refuse other conditions: times under them must not compete in one database.

    Raises:
        SrTvmError: The folder was tuned for another target or number of threads.
    """
    if not history.target:
        return
    if history.target != _describe(target):
        raise SrTvmError(
            f"{history.path} was tuned for {history.target}, this is {_describe(target)}; give another folder"
        )
    if history.threads != threads:
        was = f"{history.path} was tuned with {history.threads} thread(s), not {threads}"
        raise SrTvmError(f"{was}; give another folder")


def _baseline(run: Run, bench: Bench, history: History) -> None:
    """Begin a run with the time of the task's default, measured once in the life of a database."""
    entry = history.tasks.get(run.task.key)
    if entry is None:
        timing = bench.measure(run.task, run.task.default)
        entry = {
            "task": run.task.name,
            "workload": run.task.key,
            "weight": run.task.weight,
            "flops": run.task.flops,
            "before_ms": None if timing.seconds is None else timing.seconds * 1e3,
            "error": timing.error,
        }
        history.tasks[run.task.key] = entry
    entry["weight"] = run.task.weight
    if entry["before_ms"] is None:  # nothing to compare a candidate with: leave it alone
        run.begin(0.0)
        run.progress.exhausted = True
    else:
        run.begin(entry["before_ms"] / 1e3)


def _loop(
    runs: list[Run],
    bench: Bench,
    history: History,
    done: int,
    trials: int,
    progress: Callable[[Event], None] | None,
    until: float | None,
) -> None:
    while done < trials:
        unfinished = next((i for i, r in enumerate(runs) if r.unfinished), None)
        chosen = next_task([r.progress for r in runs]) if unfinished is None else unfinished
        if chosen is None:
            return
        run = runs[chosen]
        others = sum(r.task.weight * r.best for r in runs if r is not run)
        best = run.best
        run.unfinished = False
        for row in run.generation(bench, trials - done):
            done += 1
            best = best if row["ms"] is None else min(best, row["ms"] / 1e3)
            total = others + run.task.weight * best
            row |= {"best_ms": best * 1e3, "total_ms": total * 1e3}
            history.log(row)
            if progress is not None:
                progress(Event(run.task.name, done, trials, row["ms"], best * 1e3, total * 1e3, row["error"]))
            if until is not None and time.monotonic() >= until:
                return


def _result(folder: Path, runs: list[Run], history: History, before: int, seconds: float) -> TuningResult:
    results = []
    for run in runs:
        rows = history.of(run.task.key)
        failed = sum(row["ms"] is None for row in rows)
        times = (run.task.flops, run.before * 1e3, run.best * 1e3)
        results.append(TaskResult(run.task.name, run.task.key, run.task.weight, *times, len(rows), failed))
    count = sum(r.trials for r in results)
    return TuningResult(
        database=folder,
        tasks=tuple(results),
        trials=count,
        new_trials=count - before,
        before_ms=sum(r.weight * r.before_ms for r in results),
        after_ms=sum(r.weight * r.best_ms for r in results),
        seconds=seconds,
        clock=history.clock,
        history=tuple(history.trials),
    )
