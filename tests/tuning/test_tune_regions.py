"""Streaming regions in the tuner: the search without a device, the worker that measures, and builds that replay."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal

import numpy as np
import pytest
import tvm
from tuning_helpers import TARGET, FakeMeasurer, module
from tvm import relax

from sr_tvm.build.compiler import compile_module
from sr_tvm.errors import SrTvmError
from sr_tvm.regions.data import to_data
from sr_tvm.regions.region import Conv, Pointwise, Region, Result, Source
from sr_tvm.runners.local import LocalDevice
from sr_tvm.targets import registry
from sr_tvm.targets.cpu.rows.decisions import Decisions
from sr_tvm.targets.cpu.rows.lowering import RowLowering
from sr_tvm.targets.cpu.rows.machine import Processor, processor_of
from sr_tvm.targets.cpu.rows.space import RowSpace, key_of
from sr_tvm.tuning import history
from sr_tvm.tuning.database import export_best, shipped_folders
from sr_tvm.tuning.region_bench import RegionBench
from sr_tvm.tuning.region_task import RegionTask, find_regions
from sr_tvm.tuning.row_records import NAME, RowRecords
from sr_tvm.tuning.runner import Timing, WorkerMeasurer
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
    machine = machine or Processor(8, 16, l2_bytes=1 << 15)
    return RegionTask("stream0", region(**how), shape, size, RowLowering(machine))


class Recorded(FakeMeasurer):
    """Invents the times of decisions: from what they are, without meaning. One in eleven fails."""

    default = 0.05

    def open_region(self, task, default):
        self.task = task
        return Timing(self.default)

    def measure_region(self, decisions, cutoff=None):
        if self.stop_after is not None and len(self.keys) >= self.stop_after:
            raise KeyboardInterrupt
        key = key_of(decisions)
        if self.keys[-1:] != [key]:  # what seems the best so far is measured twice
            self.keys.append(key)
        if int(key, 16) % 11 == 0:
            return Timing(error="crashed: on purpose")
        return Timing((int(key, 16) % 10_007 + 1) * 1e-5, reference=self.default)


def search(folder, trials=24, stop_after=None, tasks=None, mod=None, measurer=None, **options):
    measurer = measurer or Recorded(stop_after)
    options = {"population": 8, "per_generation": 4, "measurer": measurer, **options}
    try:
        result = tune(mod, TARGET, folder, trials, regions=tasks or [task()], **options)
    except KeyboardInterrupt:
        result = None
    return measurer.keys, result


def found(folder, of=None):
    of = of or task()
    return RowRecords.open([folder]).lookup(of.lowering.processor)(of.region, of.shape)


def test_same_seed_same_candidates_and_none_twice(tmp_path):
    first, result = search(tmp_path / "a", seed=5)
    assert len(first) == len(set(first)) == 24 == result.trials == result.new_trials
    assert first == search(tmp_path / "b", seed=5)[0] != search(tmp_path / "c", seed=6)[0]
    assert first[0] == key_of(RowSpace(task().lowering, region(), SHAPE).default)


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

    class Killed(Recorded):
        def measure_region(self, decisions, cutoff=None):
            if len(self.keys) == 9:
                shutil.copytree(tmp_path / "whole", tmp_path / "killed", dirs_exist_ok=True)
            return super().measure_region(decisions, cutoff)

    whole, _ = search(tmp_path / "whole", measurer=Killed())
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
    assert found(tmp_path) == Decisions.from_json(best["decisions"], "here")
    (record,) = RowRecords.open([tmp_path]).records.values()
    assert (record.ms, record.default_ms) == (pytest.approx(best["ms"]), pytest.approx(50))


def test_other_defaults_begin_a_new_search_with_the_old_record(tmp_path):
    """As after a change of the cost model: times relative to the old default say nothing any more."""
    before, _ = search(tmp_path)
    old = found(tmp_path)
    other = task()
    other.lowering.processor = dataclasses.replace(other.lowering.processor, l2_bytes=1 << 22)
    other.lowering.decide = lambda *of: RowSpace(task().lowering, region(), SHAPE).build((1, 3, 5), lambda _: plain)
    plain = {"width": 64, "phases": 1, "registers": 4, "winograd": 0, "lines": 1}
    plain |= {"pairs": False, "chunk": 48, "unroll": 1}
    after, result = search(tmp_path, trials=1, tasks=[other])
    assert result.trials == 1 and after != before[:1] and found(tmp_path) == old
    after, result = search(tmp_path, trials=2, tasks=[other])
    assert after == [key_of(old)] and found(tmp_path) == old
    assert result.after_ms < result.before_ms


def test_nothing_beats_the_default(tmp_path):
    class Fast(Recorded):
        default = 1e-6

    _, result = search(tmp_path, measurer=Fast())
    assert not (tmp_path / NAME).exists() and result.after_ms == result.before_ms


def test_times_are_relative_to_the_default_beside_them(tmp_path):
    """A machine that gets slower while it measures changes no times."""

    class Slower(Recorded):
        def measure_region(self, decisions, cutoff=None):
            timing, factor = super().measure_region(decisions, cutoff), 1 + len(self.keys)
            if timing.seconds is None:
                return timing
            return Timing(timing.seconds * factor, reference=self.default * factor)

    keys, steady = search(tmp_path / "a")
    again, slower = search(tmp_path / "b", measurer=Slower())
    assert keys == again
    assert [r["ms"] for r in slower.history] == pytest.approx([r["ms"] for r in steady.history])


def test_lucky_measurement_does_not_win(tmp_path):
    """Each candidate looks a hundred times faster than it is, the first time."""

    class Lucky(Recorded):
        def measure_region(self, decisions, cutoff=None):
            before = len(self.keys)
            timing = super().measure_region(decisions, cutoff)
            if timing.seconds is None or len(self.keys) == before:
                return timing
            return dataclasses.replace(timing, seconds=timing.seconds / 100)

    _, steady = search(tmp_path / "a", trials=3)
    _, lucky = search(tmp_path / "b", trials=3, measurer=Lucky())
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
    folders = shipped_folders("cpu", tmp_path / "logs", file=NAME)
    assert [f.name for f in folders] == ["toy"] and shipped_folders("cpu", tmp_path / "logs") == ()
    assert found(folders[0]) == found(tmp_path / "work")


@pytest.fixture(scope="module")
def here():
    return processor_of(registry.get("cpu").tvm_target())


@pytest.fixture(scope="module")
def measurer():
    with WorkerMeasurer(registry.get("cpu").tvm_target()) as worker:
        yield worker


def test_worker_measures_decisions(measurer, here):
    of = task(machine=here)
    space = RowSpace(of.lowering, of.region, of.shape)
    opened = measurer.open_region(of, space.default)
    assert opened.error is None and 0 < opened.seconds < 0.1
    cut = space.build(space.candidates, lambda span: space.nearest(space.default, span) | {"phases": 1})
    assert cut.cuts
    timing = measurer.measure_region(cut)
    assert timing.error is None and timing.seconds > 0 and timing.reference > 0
    assert measurer.open_region(of, space.default).error is None and measurer.starts == 1
    broken = dataclasses.replace(cut, cuts=())
    assert measurer.measure_region(broken).error == "SrTvmError: a candidate: 0 cuts make 1 pieces, but it has 4"


def test_worker_dies_and_hangs_alone(here):
    of = task(shape=(None, None, None), machine=here, layers=1)
    space = RowSpace(of.lowering, of.region, of.shape)
    with WorkerMeasurer(registry.get("cpu").tvm_target()) as worker:
        assert worker.open_region(of, space.default).error is None
        os.kill(worker._process.pid, signal.SIGKILL)
        assert worker.measure_region(space.default).error == "crashed: SIGKILL"
        assert worker.measure_region(space.default).error is None
        worker.region_deadline = 1e-3
        other = space.build((), lambda span: space.nearest(space.default, span) | {"registers": 4})
        assert worker.measure_region(other).error.startswith("too slow")
        worker.region_deadline = 60.0
        assert worker.measure_region(other).error is None


def test_wrong_result_is_refused(here):
    of = task(machine=here)
    default = RowSpace(of.lowering, of.region, of.shape).default
    message = {
        "target": str(registry.get("cpu").tvm_target()), "threads": 1, "region": to_data(of.region), "shape": SHAPE,
        "size": SHAPE, "processor": dataclasses.asdict(here), "winograd": True, "default": default.to_json(),
    }  # fmt: skip
    bench = RegionBench(tvm, json.loads(json.dumps(message)))
    assert "error" not in bench.measure(bench.default, None)
    bench.region = region(seed=1)  # other weights, as a wrong kernel would compute
    assert bench.measure(bench.default, None)["error"].startswith("wrong result: result relu3 is off by")


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


class OtherCuts(Recorded):
    """The more pieces the faster: what no cost model would choose for a network this small."""

    def measure_region(self, decisions, cutoff=None):
        self.keys.append(key_of(decisions))
        return Timing(0.01 / len(decisions.pieces), reference=0.05)


def test_build_replays_the_records(tmp_path):
    target, size = registry.get("cpu"), (16, 40)
    fused, tasks = find_regions(network(size), target)
    assert [t.shape for t in tasks] == [(1, 16, 40)]
    result = tune(fused, target, tmp_path / "db", 30, measurer=OtherCuts(), regions=tasks, population=8)
    decided = found(tmp_path / "db", tasks[0])
    assert len(decided.cuts) == 2 and result.after_ms < result.before_ms
    default = compile_module(network(size), "cpu", tmp_path / "default", use_shipped_log=False)
    tuned = compile_module(network(size), "cpu", tmp_path / "tuned", database_dir=tmp_path / "db")
    assert [k["schedule"] for k in default.kernels] == ["default"] and default.schedule == "default"
    assert [k["schedule"] for k in tuned.kernels] == ["tuned"] * 3 and tuned.schedule == "tuned"
    assert any("3 of 3 kernels scheduled by the tuning records db" in note for note in tuned.notes)
    x = np.random.default_rng(1).random((1, 3, *size), "float32")
    device = LocalDevice()
    (a,), (b,) = device.run(default, [x]), device.run(tuned, [x])
    assert np.abs(a - b).max() <= 1e-5
    # The artifact has the records it was built from, and another can be built from them; not of another size.
    again = compile_module(network(size), "cpu", tmp_path / "again", database_dir=tmp_path / "tuned" / "tuning")
    assert again.schedule == "tuned"
    other = compile_module(network((16, 41)), "cpu", tmp_path / "other", database_dir=tmp_path / "db")
    assert other.schedule == "default" and not (tmp_path / "other" / "tuning" / NAME).exists()


def test_equal_regions_are_one_task(tmp_path):
    target = registry.get("cpu")
    fused, tasks = find_regions(network((8, 8)), target)
    assert [(t.weight, t.size) for t in tasks] == [(1, (1, 8, 8))]
    with pytest.raises(SrTvmError, match="nothing to tune"):
        tune(fused, target, tmp_path, 4, measurer=Recorded())
