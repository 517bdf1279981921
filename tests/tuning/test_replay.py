"""Searches on recorded times: the same on one device and on several, whatever is measured side by side."""

from __future__ import annotations

import json

import pytest
from test_tune_regions import task
from tuning_helpers import TARGET, FakeBench

from sr_tvm.build.builder import NoBuilder
from sr_tvm.errors import SrTvmError
from sr_tvm.runners.replay import ReplayRunner, ReplaySession
from sr_tvm.tuning.bench import DeviceBench, Timing
from sr_tvm.tuning.options import TuneOptions
from sr_tvm.tuning.tune import tune

OPTIONS = TuneOptions(24, population=8, per_generation=6)


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """The history of a search with invented times, all of which succeed."""

    class Sound(FakeBench):
        def cost(self, key):
            if key == task().default.key:
                return Timing(self.default, reference=self.default)
            return super().cost(f"{int(key, 16) // 11 * 11 + 1:x}")

    folder = tmp_path_factory.mktemp("recorded")
    tune(None, TARGET, folder, OPTIONS, bench=Sound(), regions=[task()])
    return folder / "tuning.json"


def replay(recording, folder, **how):
    runner = ReplayRunner.of_history(recording, task().default.key, **how)
    with DeviceBench(NoBuilder(), runner) as bench:
        result = tune(None, TARGET, folder, OPTIONS, bench=bench, regions=[task()])
        return result, bench


def rows(history):
    return sorted((r["generation"], r["place"], r["key"], round(r["ms"], 9)) for r in history)


def test_several_devices_find_what_one_finds(recording, tmp_path):
    one, _ = replay(recording, tmp_path / "one")
    four, bench = replay(recording, tmp_path / "four", capacity=4, delay=0.01)
    recorded = json.loads(recording.read_text())["history"]
    assert rows(one.history) == rows(four.history) == rows(recorded)
    assert one.after_ms == four.after_ms and bench.parallel == 4 and bench.sessions_opened <= 4
    assert [r["trial"] for r in four.history] == list(range(1, 25))


@pytest.mark.parametrize("cut", [5, 13])
def test_a_search_on_several_devices_goes_on(recording, tmp_path, cut):
    """Stopped in the middle of a generation, whatever of it was measured by then."""
    runner = ReplayRunner.of_history(recording, task().default.key, capacity=3, delay=0.005)
    with DeviceBench(NoBuilder(), runner) as bench:
        for trials in (cut, 24):
            options = TuneOptions(trials, population=8, per_generation=6)
            result = tune(None, TARGET, tmp_path, options, bench=bench, regions=[task()])
    assert rows(result.history) == rows(json.loads(recording.read_text())["history"])


def test_what_was_not_recorded_is_an_error_of_the_candidate(recording, tmp_path):
    runner = ReplayRunner({task().default.key: 0.05})
    with DeviceBench(NoBuilder(), runner) as bench:
        result = tune(None, TARGET, tmp_path, OPTIONS, bench=bench, regions=[task()])
    assert {r["error"] is None for r in result.history if r["key"] != task().default.key} == {False}
    assert any("the recording has no time of" in (r["error"] or "") for r in result.history)


def test_a_device_that_is_lost_loses_no_candidate(recording, tmp_path):
    class Leaving(ReplayRunner):
        """The third session can't be had."""

        opened = 0

        def open(self, hold=0.0):
            self.opened += 1
            if self.opened == 3:
                raise SrTvmError("every server is busy")
            return super().open(hold)

    runner = Leaving.of_history(recording, task().default.key, capacity=3, delay=0.005)
    with DeviceBench(NoBuilder(), runner) as bench:
        result = tune(None, TARGET, tmp_path, OPTIONS, bench=bench, regions=[task()])
    assert rows(result.history) == rows(json.loads(recording.read_text())["history"])


def test_a_device_that_is_given_up_is_let_go(monkeypatch):
    closed = []

    def refuse(self, module, seconds=None):
        raise SrTvmError("it lacks what the module needs")

    monkeypatch.setattr(ReplaySession, "expect", refuse)
    monkeypatch.setattr(ReplaySession, "close", lambda self: closed.append(self))
    with DeviceBench(NoBuilder(), ReplayRunner({}, capacity=2)) as bench:
        with pytest.raises(SrTvmError, match="no device is left to measure on: it lacks what the module needs"):
            bench.measure(task(), task().default)
        assert len(closed) == bench.sessions_opened == 2
