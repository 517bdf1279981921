"""tune() with a bench that invents its times: candidates, records, resuming."""

import json
import shutil

import pytest
from tuning_helpers import TARGET, FakeBench, Fixed, module
from tvm.s_tir.meta_schedule.database import JSONDatabase

from sr_tvm.errors import SrTvmError
from sr_tvm.records.schedules import RECORDS, WORKLOADS, open_tables
from sr_tvm.tuning import history
from sr_tvm.tuning.bench import Timing
from sr_tvm.tuning.options import TuneOptions
from sr_tvm.tuning.tune import tune


@pytest.fixture(scope="module")
def mod():
    return module()


def candidates(mod, folder, trials=24, stop_after=None, **options):
    bench = FakeBench(stop_after)
    try:
        result = run(mod, folder, trials, bench, **options)
    except KeyboardInterrupt:
        result = None
    return bench.keys, result


def run(mod, folder, trials, bench, target=TARGET, progress=None, **options):
    options = TuneOptions(trials, **{"population": 8, "per_generation": 4, **options})
    return tune(mod, target, folder, options, bench=bench, progress=progress)


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


class Killed(FakeBench):
    """A third fails. Copies the folder as kill -9 would leave it when the candidate number ``at`` is asked for."""

    def __init__(self, folder, at=None):
        super().__init__()
        self.folder, self.at = folder, at

    def measure(self, task, candidate, cutoff=None):
        if len(self.keys) == self.at and self.keys[-1:] != [candidate.key]:
            shutil.copytree(self.folder, self.folder.with_name("killed"))
        return super().measure(task, candidate, cutoff)

    def cost(self, key):
        return super().cost(key) if int(key, 16) % 3 else Timing(error="crashed: on purpose")


@pytest.mark.parametrize("at", [7, 18])
def test_killed_between_candidates(mod, tmp_path, monkeypatch, at):
    """The last seconds before the kill are not lost, nor which candidates failed then."""
    monkeypatch.setattr(history, "SAVE_EVERY_S", 1e9)
    whole = Killed(tmp_path / "whole", at)
    run(mod, tmp_path / "whole", 24, whole)
    assert any(int(key, 16) % 3 == 0 for key in whole.keys[2:at])
    after = Killed(tmp_path / "killed")
    result = run(mod, tmp_path / "killed", 24, after)
    assert after.keys == whole.keys[at:]
    assert [row["key"] for row in result.history] == whole.keys
    assert [row["trial"] for row in result.history] == list(range(1, 25))


def test_half_a_line_of_the_journal(mod, tmp_path, monkeypatch):
    monkeypatch.setattr(history, "SAVE_EVERY_S", 1e9)
    whole = Killed(tmp_path / "whole", 13)
    run(mod, tmp_path / "whole", 24, whole)
    journal = tmp_path / "killed" / history.JOURNAL
    assert journal.read_bytes().endswith(b"}\n")
    journal.write_bytes(journal.read_bytes()[:-9])
    after = Killed(tmp_path / "killed")
    result = run(mod, tmp_path / "killed", 24, after)
    failed = [k for k in whole.keys[12:13] if int(k, 16) % 3 == 0]
    assert set(after.keys) & set(whole.keys[:13]) == set(failed)
    assert result.trials == 24 and not journal.exists()
    journal.write_text("[]\n")
    with pytest.raises(SrTvmError, match="tuning-journal.jsonl: not a line of ours"):
        run(mod, tmp_path / "killed", 24, FakeBench())


def test_history_lost(mod, tmp_path):
    """The population tells what ran; only what failed is tried again."""
    first, _ = candidates(mod, tmp_path, trials=8)
    (tmp_path / "tuning.json").unlink()
    more, result = candidates(mod, tmp_path, trials=16)
    ran = {k for k in first if int(k, 16) % 11}
    assert not ran & set(more)
    assert result.trials == 16 and result.new_trials == 16 - len(ran)


def test_two_runs_in_one_folder(mod, tmp_path):
    """Records name workloads by line number: two writers would mix them up."""
    with open_tables(tmp_path / "records"):
        with pytest.raises(SrTvmError, match=r"records: another 'sr-tvm tune' is at work there"):
            candidates(mod, tmp_path / "records", trials=1)
        assert not (tmp_path / "records" / "tuning.json").exists()
        candidates(mod, tmp_path / "elsewhere", trials=1)
    assert candidates(mod, tmp_path / "records", trials=1)[1].trials == 1


def test_history_and_records(mod, tmp_path):
    events = []
    keys, result = candidates(mod, tmp_path, progress=events.append)
    written = json.loads((tmp_path / "tuning.json").read_text())
    assert (written["schema"], written["version"], written["seed"]) == ("sr-tvm/tuning", 1, 0)
    assert [row["key"] for row in written["history"]] == keys
    assert [e.trial for e in events] == list(range(1, 25))
    assert [row["trial"] for row in written["history"]] == list(range(1, 25))
    totals = [e.total_ms for e in events]
    assert totals == sorted(totals, reverse=True) and totals[-1] == pytest.approx(result.after_ms)
    assert result.before_ms == pytest.approx(3 * 50)
    assert sum(t.weight * t.best_ms for t in result.tasks) == pytest.approx(result.after_ms)
    for row in written["history"]:
        assert (row["ms"] is None) == (row["error"] is not None) == (int(row["key"], 16) % 11 == 0)
    # Records hold what beat the default schedule (50 ms), the population whatever ran.
    slow = sum(row["ms"] is not None and row["ms"] >= 50 for row in written["history"])
    ran = sum(row["ms"] is not None for row in written["history"])
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
    class Broken(FakeBench):
        def cost(self, key):
            return Timing(error="crashed: SIGSEGV")

    result = run(mod, tmp_path, 10, Broken())
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
def test_bad_options_are_named(options, message):
    with pytest.raises(SrTvmError, match=message):
        TuneOptions(**{"trials": 4, **options})


def test_folder_of_another_target_or_thread_count(mod, tmp_path):
    candidates(mod, tmp_path, trials=1)
    with pytest.raises(SrTvmError, match="tuned for .*x86-64-v3.*give another folder"):
        run(mod, tmp_path, 4, FakeBench(), Fixed(mcpu="x86-64"))
    with pytest.raises(SrTvmError, match="1 thread"):
        run(mod, tmp_path, 4, FakeBench(), threads=2)
    run(mod, tmp_path, 1, FakeBench(), Fixed(cores=7))


def test_nothing_to_tune(tmp_path):
    import tvm

    with pytest.raises(SrTvmError, match="nothing to tune"):
        run(tvm.IRModule(), tmp_path, 4, FakeBench())


def test_folder_is_a_file(mod, tmp_path):
    (tmp_path / "f").write_text("")
    with pytest.raises(SrTvmError, match="cannot use .*for tuning records"):
        run(mod, tmp_path / "f", 4, FakeBench())


def test_foreign_history_is_refused(mod, tmp_path):
    (tmp_path / "tuning.json").write_text('{"schema": "other"}')
    with pytest.raises(SrTvmError, match="not a sr-tvm/tuning file"):
        run(mod, tmp_path, 4, FakeBench())


def test_empty_records_can_be_opened_for_a_build(mod, tmp_path):
    """Nothing beat the default: the folder is a database without records, not an error."""
    from sr_tvm.records.schedules import open_database

    class Slow(FakeBench):
        def cost(self, key):
            return Timing(1.0, reference=self.default)

    run(mod, tmp_path, 4, Slow())
    assert (tmp_path / WORKLOADS).exists() and (tmp_path / RECORDS).exists()
    assert len(open_database(tmp_path, create=False).get_all_tuning_records()) == 0
