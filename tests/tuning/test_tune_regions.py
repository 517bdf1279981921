"""Streaming regions in the tuner: the search without a device, the bench that measures, and builds that replay."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal

import numpy as np
import pytest
from tuning_helpers import TARGET, FakeBench, Fixed, module
from tvm import relax

from sr_tvm.build.builder import Candidate, ChildBuilder
from sr_tvm.build.compiler import compile_module
from sr_tvm.build.options import CompileOptions
from sr_tvm.errors import SrTvmError
from sr_tvm.records.region_decisions import NAME, RegionRecords
from sr_tvm.records.schedules import export_best, has_schedules, shipped_folders
from sr_tvm.regions.region import Conv, Pointwise, Region, Result, Source
from sr_tvm.runners.child_session import ChildRunner
from sr_tvm.runners.local import LocalRunner
from sr_tvm.targets import registry
from sr_tvm.targets.cpu.rows.decide import Decider
from sr_tvm.targets.cpu.rows.decisions import RowDecisions
from sr_tvm.targets.cpu.rows.machine import CpuCore
from sr_tvm.targets.cpu.rows.space import key_of
from sr_tvm.tuning import history
from sr_tvm.tuning.bench import DeviceBench, Timing
from sr_tvm.tuning.options import TuneOptions
from sr_tvm.tuning.region_task import RegionTask, find_regions
from sr_tvm.tuning.tune import tune

SHAPE = (1, 12, 64)


def region(layers=4, channels=6, seed=0):
    rng = np.random.default_rng(seed)
    nodes = [Source("x", 3)]
    for i in range(layers):
        last = nodes[-1]
        weight = rng.standard_normal((channels, last.channels, 3, 3)).astype("float32") / 5
        nodes.append(Conv(f"conv{i}", (last.name,), weight, rng.standard_normal(channels).astype("float32")))
        nodes.append(Pointwise(f"relu{i}", (f"conv{i}",), "relu", (), channels))
    return Region(tuple(nodes), (Result(nodes[-1].name),))


def task(shape=SHAPE, machine=None, **how):
    size = tuple(known or open_ for known, open_ in zip(shape, SHAPE, strict=True))
    machine = machine or CpuCore(8, 16, l2_bytes=1 << 15)
    return RegionTask("stream0", region(**how), shape, size, Fixed(known=machine))


def search(folder, trials=24, stop_after=None, tasks=None, mod=None, bench=None, hints=None, **options):
    bench = bench or FakeBench(stop_after)
    options = TuneOptions(trials, **{"population": 8, "per_generation": 4, **options})
    try:
        result = tune(mod, TARGET, folder, options, bench=bench, regions=tasks or [task()], hints=hints)
    except KeyboardInterrupt:
        result = None
    return bench.keys, result


def found(folder, of=None):
    of = of or task()
    pair = RegionRecords.open([folder]).find(of.region, of.shape, of.lowering)
    return pair and pair[0]


def space(of=None):
    of = of or task()
    return of.lowering.space(of.region, of.shape)


def test_same_seed_same_candidates_and_none_twice(tmp_path):
    first, result = search(tmp_path / "a", seed=5)
    assert len(first) == len(set(first)) == 24 == result.trials == result.new_trials
    assert first == search(tmp_path / "b", seed=5)[0] != search(tmp_path / "c", seed=6)[0]
    assert first[0] == key_of(space().default)


@pytest.mark.parametrize("stop_after", [3, 4, 13])
def test_interrupted_run_goes_on_as_if_it_had_not_been(tmp_path, stop_after):
    whole, _ = search(tmp_path / "whole")
    before, nothing = search(tmp_path / "parts", stop_after=stop_after)
    after, result = search(tmp_path / "parts")
    assert nothing is None and before + after == whole
    assert (result.trials, result.new_trials) == (24, 24 - stop_after)
    assert found(tmp_path / "parts") == found(tmp_path / "whole")


def test_killed_between_candidates(tmp_path, monkeypatch):
    monkeypatch.setattr(history, "SAVE_EVERY_S", 1e9)

    class Killed(FakeBench):
        def measure(self, task, candidate, cutoff=None):
            if len(self.keys) == 9:
                shutil.copytree(tmp_path / "whole", tmp_path / "killed", dirs_exist_ok=True)
            return super().measure(task, candidate, cutoff)

    whole, _ = search(tmp_path / "whole", bench=Killed())
    (tmp_path / "killed" / NAME).unlink(missing_ok=True)  # the last thing before the kill may be missing
    after, _ = search(tmp_path / "killed")
    assert after == whole[9:]
    assert found(tmp_path / "killed") == found(tmp_path / "whole")


def test_record_is_the_fastest_and_its_history_says_so(tmp_path):
    keys, result = search(tmp_path)
    rows = json.loads((tmp_path / "tuning.json").read_text())["history"]
    assert [row["key"] for row in rows] == keys
    best = min((row for row in rows if row["ms"] is not None), key=lambda row: row["ms"])
    assert result.after_ms == pytest.approx(best["ms"]) and best["ms"] < result.before_ms == pytest.approx(50)
    assert found(tmp_path) == RowDecisions.from_json(best["decisions"], "here")
    (record,) = RegionRecords.open([tmp_path]).records.values()
    assert (record.ms, record.default_ms) == (pytest.approx(best["ms"]), pytest.approx(50))


def test_other_defaults_begin_a_new_search_with_the_old_record(tmp_path):
    """As after a change of the cost model: times relative to the old default say nothing any more."""
    before, _ = search(tmp_path)
    old = found(tmp_path)
    other = task(machine=CpuCore(8, 16, l2_bytes=1 << 22))
    plain = {"width": 64, "phases": 1, "registers": 4, "winograd": 0, "lines": 1}
    plain |= {"pairs": False, "chunk": 48, "unroll": 1}

    class Other(Decider):
        def decide(self, region, shape):
            return space().build((1, 3, 5), lambda _: plain)

    other.lowering.decider = Other(other.lowering.processor)
    after, result = search(tmp_path, trials=1, tasks=[other])
    assert result.trials == 1 and after != before[:1] and found(tmp_path) == old
    after, result = search(tmp_path, trials=2, tasks=[other])
    assert after == [key_of(old)] and found(tmp_path) == old
    assert result.after_ms < result.before_ms


def test_nothing_beats_the_default(tmp_path):
    class Fast(FakeBench):
        default = 1e-6

    _, result = search(tmp_path, bench=Fast())
    assert not (tmp_path / NAME).exists() and result.after_ms == result.before_ms


def test_pinned_where_nothing_beats_the_default(tmp_path):
    class Fast(FakeBench):
        default = 1e-6

    search(tmp_path, bench=Fast(), pin=True)
    (record,) = RegionRecords.open([tmp_path]).records.values()
    assert record.ms == record.default_ms == pytest.approx(1e-3) and found(tmp_path) == space().default
    search(tmp_path, trials=26, bench=Fast(), pin=True)  # goes on from its own pin
    assert found(tmp_path) == space().default
    search(tmp_path, trials=26, bench=Fast())
    assert not (tmp_path / NAME).exists()


def test_a_pin_gives_way_to_what_is_faster(tmp_path):
    search(tmp_path, trials=1, pin=True)
    assert found(tmp_path) == space().default
    _, result = search(tmp_path, pin=True)
    assert result.after_ms < result.before_ms and found(tmp_path) != space().default


def test_hints_of_another_region_are_tried_early(tmp_path):
    other = task(channels=5)
    search(tmp_path / "other", tasks=[other])
    hints = RegionRecords.open([tmp_path / "other"])
    hinted = space().repair(found(tmp_path / "other", other))
    plain, _ = search(tmp_path / "plain", trials=4)
    keys, _ = search(tmp_path / "hinted", trials=4, hints=hints)
    assert key_of(hinted) not in plain and keys == [plain[0], key_of(hinted), *plain[1:3]]
    # A record of the region itself is no hint: a folder is searched on, or not at all.
    itself, _ = search(tmp_path / "itself", trials=4, hints=RegionRecords.open([tmp_path / "hinted"]))
    assert itself == plain


def test_times_are_relative_to_the_default_beside_them(tmp_path):
    """A machine that gets slower while it measures changes no times."""

    class Slower(FakeBench):
        def cost(self, key):
            timing, factor = super().cost(key), 1 + len(self.keys)
            if timing.seconds is None:
                return timing
            return Timing(timing.seconds * factor, reference=self.default * factor)

    keys, steady = search(tmp_path / "a")
    again, slower = search(tmp_path / "b", bench=Slower())
    assert keys == again
    assert [r["ms"] for r in slower.history] == pytest.approx([r["ms"] for r in steady.history])


def test_lucky_measurement_does_not_win(tmp_path):
    """Each candidate looks a hundred times faster than it is, the first time."""

    class Lucky(FakeBench):
        def measure(self, task, candidate, cutoff=None):
            before = len(self.keys)
            timing = super().measure(task, candidate, cutoff)
            if timing.seconds is None or len(self.keys) == before:
                return timing
            return dataclasses.replace(timing, seconds=timing.seconds / 100)

    _, steady = search(tmp_path / "a", trials=3)
    _, lucky = search(tmp_path / "b", trials=3, bench=Lucky())
    best = min(r["ms"] for r in steady.history if r["ms"])
    assert lucky.after_ms == pytest.approx(min(best, 50)) and found(tmp_path / "a") == found(tmp_path / "b")


def test_regions_and_kernels_share_the_trials(tmp_path):
    twice = dataclasses.replace(task(), weight=2)
    _, result = search(tmp_path, trials=40, tasks=[twice, task(channels=5)], mod=module())
    assert sum(t.trials for t in result.tasks) == 40 and len(result.tasks) == 4
    assert all(t.trials for t in result.tasks)
    assert result.before_ms == pytest.approx(50 * (2 + 1 + 1 + 2))
    flops = {t.name + str(t.weight): t.flops for t in result.tasks}
    assert flops["stream02"] == 2 * 12 * 64 * 9 * (3 * 6 + 3 * 6 * 6)


def test_history_without_decisions_is_refused(tmp_path):
    search(tmp_path, trials=3)
    path = tmp_path / "tuning.json"
    value = json.loads(path.read_text())
    del value["history"][1]["decisions"]
    path.write_text(json.dumps(value))
    with pytest.raises(SrTvmError, match="tuning.json, trial 2: the decisions are missing"):
        search(tmp_path, trials=4)


def test_exported_log_has_the_regions(tmp_path):
    search(tmp_path / "work")
    assert export_best(tmp_path / "work", tmp_path / "logs" / "cpu" / "toy", meta={"device": "none"}) == 1
    folders = shipped_folders("cpu", tmp_path / "logs")
    assert [f.name for f in folders] == ["toy"] and not has_schedules(folders[0])
    assert found(folders[0]) == found(tmp_path / "work")


@pytest.fixture(scope="module")
def bench():
    with DeviceBench(ChildBuilder(), ChildRunner()) as opened:
        yield opened


def here(shape=SHAPE, **how):
    """The task on this machine's processor."""
    return dataclasses.replace(task(shape, **how), target=registry.get("cpu"))


def decided(of, fields, cuts=()):
    """A candidate: the default with other fields everywhere, and other cuts."""
    choose = space(of)
    genome = choose.build(cuts, lambda span: choose.nearest(choose.default, span) | fields)
    return of.candidate(choose.key(genome), genome)


def test_decisions_are_built_and_timed(bench):
    of = here()
    first = bench.measure(of, of.default)
    assert first.error is None and 0 < first.seconds < 0.1
    cut = decided(of, {"phases": 1}, space(of).candidates)
    assert len(cut.request["decisions"]["pieces"]) == 4
    timing = bench.measure(of, cut)
    assert timing.error is None and timing.seconds > 0 and timing.reference > 0
    built = bench.builder.built
    assert bench.measure(of, cut).error is None
    assert bench.builder.built == built and bench.sessions_opened == 1  # neither built nor opened again
    broken = Candidate("broken", {"decisions": {**cut.request["decisions"], "cuts": []}})
    assert bench.measure(of, broken).error == "a candidate: 0 cuts make 1 pieces, but it has 4"


def test_builder_and_session_die_alone():
    of = here(shape=(None, None, None), layers=1)
    with DeviceBench(ChildBuilder(), ChildRunner()) as bench:
        assert bench.measure(of, of.default).error is None
        os.kill(bench._seats[0].session.child.pid, signal.SIGKILL)
        assert "crashed: signal SIGKILL" in bench.measure(of, of.default).error
        assert bench.measure(of, of.default).error is None and bench.sessions_opened == 2
        os.kill(bench.builder._workers[0].child.pid, signal.SIGKILL)
        bench.builder._workers[0].child._process.wait()
        assert bench.measure(of, decided(of, {"registers": 4})).error is None  # it was seen to be dead
        bench.builder.deadline = 1e-3
        other = decided(of, {"registers": 8})
        assert "builds candidates was killed: build did not finish within 0.001 s" in bench.measure(of, other).error
        bench.builder.deadline = 60.0
        assert bench.measure(of, other).error is None


def test_candidates_for_a_phone_are_built_here():
    of = dataclasses.replace(task(), target=registry.get("android-cpu"))
    with ChildBuilder() as builder:
        module = builder.build(of, of.default)
        assert module.machine == "aarch64" and module.device == "cpu"
        assert {a.role for a in module.arguments} == {"input", "constant", "output"}
        with ChildRunner() as runner, runner.open() as session:
            session.place(of.inputs(), module)
            with pytest.raises(SrTvmError):
                session.expect(module)


class Mixed:
    """A builder that takes one task's candidates for those of another."""

    def __init__(self, inner, of):
        self.inner, self.of = inner, of

    def build(self, task, candidate):
        return self.inner.build(self.of if candidate.key != task.default.key else task, candidate)

    def close(self):
        self.inner.close()


def test_wrong_result_is_refused():
    """Other weights stand for a wrong kernel."""
    of, other = here(), here(seed=1)
    other.__dict__["key"] = "other"  # for its structure is the same
    with DeviceBench(Mixed(ChildBuilder(), other), ChildRunner()) as bench:
        assert bench.measure(of, of.default).error is None
        assert bench.measure(of, decided(of, {"registers": 4})).error.startswith("wrong result: relu3 is off by")


def network(size, layers=3):
    rng = np.random.default_rng(0)
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((1, 3, *size), "float32"))
    with builder.function("main", [x]):
        with builder.dataflow():
            y, channels = x, 3
            for _ in range(layers):
                weight = relax.const(rng.standard_normal((8, channels, 3, 3)).astype("float32") / 5)
                y = builder.emit(relax.op.nn.relu(relax.op.nn.conv2d(y, weight, padding=1)))
                channels = 8
            out = builder.emit_output(y)
        builder.emit_func_output(out)
    return builder.get()


class OtherCuts(FakeBench):
    """The more pieces the faster: what no cost model would choose for a network this small."""

    def measure(self, task, candidate, cutoff=None):
        self.keys.append(candidate.key)
        if cutoff is None:
            return Timing(0.05)
        return Timing(0.01 / len(candidate.request["decisions"]["pieces"]), reference=0.05)


def test_build_replays_the_records(tmp_path):
    target, size = registry.get("cpu"), (16, 40)
    fused, tasks = find_regions(network(size), target)
    assert [t.shape for t in tasks] == [(1, 16, 40)]
    result = tune(fused, target, tmp_path / "db", TuneOptions(30, population=8), bench=OtherCuts(), regions=tasks)
    decided = found(tmp_path / "db", tasks[0])
    assert len(decided.cuts) == 2 and result.after_ms < result.before_ms
    default = compile_module(network(size), "cpu", tmp_path / "default", options=CompileOptions(use_shipped_log=False))
    tuned = compile_module(network(size), "cpu", tmp_path / "tuned", options=CompileOptions(tmp_path / "db"))
    assert [k["schedule"] for k in default.kernels] == ["default"] and default.schedule == "default"
    assert [k["schedule"] for k in tuned.kernels] == ["tuned"] * 3 and tuned.schedule == "tuned"
    assert any("3 of 3 kernels scheduled by the tuning records db" in note for note in tuned.notes)
    x = np.random.default_rng(1).random((1, 3, *size), "float32")
    device = LocalRunner()
    (a,), (b,) = device.run(default, [x]), device.run(tuned, [x])
    assert np.abs(a - b).max() <= 1e-5
    # The artifact has the records it was built from, and another can be built from them; not of another size.
    options = CompileOptions(tmp_path / "tuned" / "tuning")
    again = compile_module(network(size), "cpu", tmp_path / "again", options=options)
    assert again.schedule == "tuned"
    other = compile_module(network((16, 41)), "cpu", tmp_path / "other", options=CompileOptions(tmp_path / "db"))
    assert other.schedule == "default" and not (tmp_path / "other" / "tuning" / NAME).exists()


def test_equal_regions_are_one_task(tmp_path):
    target = registry.get("cpu")
    fused, tasks = find_regions(network((8, 8)), target)
    assert [(t.weight, t.size) for t in tasks] == [(1, (1, 8, 8))]
    with pytest.raises(SrTvmError, match="nothing to tune"):
        tune(fused, target, tmp_path, TuneOptions(4), bench=FakeBench())
