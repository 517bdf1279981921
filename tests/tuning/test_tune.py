"""tune() with a measurer that invents its times: candidates, records, resuming."""

import json

import pytest
from tuning_helpers import TARGET, FakeMeasurer, module
from tvm.s_tir.meta_schedule.database import JSONDatabase

from sr_tvm.errors import SrTvmError
from sr_tvm.tuning.database import RECORDS, WORKLOADS
from sr_tvm.tuning.tune import tune


@pytest.fixture(scope="module")
def mod():
    return module()


def candidates(mod, folder, trials=24, stop_after=None, **options):
    measurer = FakeMeasurer(stop_after)
    try:
        result = tune(mod, TARGET, folder, trials, measurer=measurer, population=8, per_generation=4, **options)
    except KeyboardInterrupt:
        result = None
    return measurer.keys, result


def test_same_seed_same_candidates_and_none_twice(mod, tmp_path):
    first, result = candidates(mod, tmp_path / "a", seed=5)
    second, _ = candidates(mod, tmp_path / "b", seed=5)
    other, _ = candidates(mod, tmp_path / "c", seed=6)
    assert len(first) == len(set(first)) == 24 == result.trials == result.new_trials
    assert first == second
    assert first != other


@pytest.mark.parametrize("stop_after", [3, 4, 13])
def test_interrupted_run_goes_on_as_if_it_had_not_been(mod, tmp_path, stop_after):
    whole, _ = candidates(mod, tmp_path / "whole")
    before, nothing = candidates(mod, tmp_path / "parts", stop_after=stop_after)
    after, result = candidates(mod, tmp_path / "parts")
    assert nothing is None and len(before) == stop_after
    assert before + after == whole
    assert (result.trials, result.new_trials) == (24, 24 - stop_after)


def test_more_trials_go_on_and_done_ones_are_not_repeated(mod, tmp_path):
    first, _ = candidates(mod, tmp_path, trials=10)
    again, result = candidates(mod, tmp_path, trials=10)
    more, _ = candidates(mod, tmp_path, trials=18)
    assert again == [] and result.new_trials == 0 and result.trials == 10
    assert not set(first) & set(more) and len(more) == 8


def test_killed_before_the_history_was_written(mod, tmp_path):
    """tuning.json is written now and then; the population is the truth."""
    first, _ = candidates(mod, tmp_path, trials=8)
    (tmp_path / "tuning.json").unlink()
    more, result = candidates(mod, tmp_path, trials=16)
    ran = {k for k in first if int(k, 16) % 11}
    assert not ran & set(more)
    assert result.trials == 16 and result.new_trials == 16 - len(ran)


def test_history_and_records(mod, tmp_path):
    events = []
    keys, result = candidates(mod, tmp_path, progress=events.append)
    history = json.loads((tmp_path / "tuning.json").read_text())
    assert (history["schema"], history["version"], history["seed"]) == ("sr-tvm/tuning", 1, 0)
    assert [row["key"] for row in history["history"]] == keys
    assert [e.trial for e in events] == list(range(1, 25))
    assert [row["trial"] for row in history["history"]] == list(range(1, 25))
    totals = [e.total_ms for e in events]
    assert totals == sorted(totals, reverse=True) and totals[-1] == pytest.approx(result.after_ms)
    assert result.before_ms == pytest.approx(3 * 50)
    assert sum(t.weight * t.best_ms for t in result.tasks) == pytest.approx(result.after_ms)
    for row in history["history"]:
        assert (row["ms"] is None) == (row["error"] is not None) == (int(row["key"], 16) % 11 == 0)
    # Records hold what beat the default schedule (50 ms), the population whatever ran.
    slow = sum(row["ms"] is not None and row["ms"] >= 50 for row in history["history"])
    ran = sum(row["ms"] is not None for row in history["history"])
    assert slow > 0
    assert len(JSONDatabase(work_dir=str(tmp_path)).get_all_tuning_records()) == ran - slow
    assert len(JSONDatabase(work_dir=str(tmp_path / "population")).get_all_tuning_records()) == ran


def test_tasks_are_unique_and_weighted(mod, tmp_path):
    _, result = candidates(mod, tmp_path, trials=1)
    assert sorted(t.weight for t in result.tasks) == [1, 2]
    flops = {t.weight: t.flops for t in result.tasks}
    assert flops[1] == pytest.approx(2 * 3 * 8 * 9 * 16 * 16, rel=0.1)
    assert flops[2] == pytest.approx(2 * 8 * 8 * 9 * 16 * 16, rel=0.1)


def test_time_limit_stops_between_candidates(mod, tmp_path):
    keys, result = candidates(mod, tmp_path, max_seconds=1e-6)
    assert len(keys) == result.trials == 1


def test_all_candidates_fail(mod, tmp_path):
    class Broken(FakeMeasurer):
        def measure(self, mod, cutoff=None):
            self.keys.append("x")
            return type(self.open_task(mod))(error="crashed: SIGSEGV")

    result = tune(mod, TARGET, tmp_path, 10, measurer=Broken(), per_generation=4)
    assert sum(t.failed for t in result.tasks) == 10
    assert result.after_ms == result.before_ms


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trials": 0}, "trials is 0"),
        ({"threads": -1}, "threads is -1"),
        ({"population": 1}, "population is 1"),
        ({"seed": -3}, "seed is -3"),
    ],
)
def test_bad_options_are_named(mod, tmp_path, options, message):
    with pytest.raises(SrTvmError, match=message):
        tune(mod, TARGET, tmp_path, **{"trials": 4, "measurer": FakeMeasurer(), **options})


def test_folder_of_another_target_or_thread_count(mod, tmp_path):
    candidates(mod, tmp_path, trials=1)
    with pytest.raises(SrTvmError, match="tuned for .*x86-64-v3.*give another folder"):
        tune(mod, {**TARGET, "mcpu": "x86-64"}, tmp_path, 4, measurer=FakeMeasurer())
    with pytest.raises(SrTvmError, match="1 thread"):
        tune(mod, TARGET, tmp_path, 4, threads=2, measurer=FakeMeasurer())
    tune(mod, {**TARGET, "num-cores": 7}, tmp_path, 1, measurer=FakeMeasurer())


def test_nothing_to_tune(tmp_path):
    import tvm

    with pytest.raises(SrTvmError, match="nothing to tune"):
        tune(tvm.IRModule(), TARGET, tmp_path, 4, measurer=FakeMeasurer())


def test_folder_is_a_file(mod, tmp_path):
    (tmp_path / "f").write_text("")
    with pytest.raises(SrTvmError, match="cannot use .*for tuning records"):
        tune(mod, TARGET, tmp_path / "f", 4, measurer=FakeMeasurer())


def test_foreign_history_is_refused(mod, tmp_path):
    (tmp_path / "tuning.json").write_text('{"schema": "other"}')
    with pytest.raises(SrTvmError, match="not a sr-tvm/tuning file"):
        tune(mod, TARGET, tmp_path, 4, measurer=FakeMeasurer())


def test_empty_records_can_be_opened_for_a_build(mod, tmp_path):
    """Nothing beat the default: the folder is a database without records, not an error."""
    from sr_tvm.tuning.database import open_database

    class Slow(FakeMeasurer):
        def measure(self, mod, cutoff=None):
            return type(self.open_task(mod))(1.0)

    tune(mod, TARGET, tmp_path, 4, measurer=Slow())
    assert (tmp_path / WORKLOADS).exists() and (tmp_path / RECORDS).exists()
    assert len(open_database(tmp_path, create=False).get_all_tuning_records()) == 0
