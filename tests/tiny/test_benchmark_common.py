"""Interleaving, quartiles and the outer shape of result files."""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks import common
from sr_tvm.errors import SrTvmError


class Fake:
    """An engine that notes when it was asked, and fails from the ``fails``-th time on."""

    def __init__(self, name: str, log: list[str], fails: int = 99) -> None:
        self.name, self.log, self.fails = name, log, fails

    def time(self) -> float:
        if self.log.count(self.name) >= self.fails:
            raise SrTvmError(f"{self.name} died")
        self.log.append(self.name)
        return float(len(self.log))


def test_rounds_are_interleaved_in_changing_order() -> None:
    log: list[str] = []
    engines = [Fake(name, log) for name in "abc"]
    samples, errors = common.interleave(engines, 12, pause=0.0)
    rounds = [tuple(log[i : i + 3]) for i in range(0, 36, 3)]
    assert not errors and {len(v) for v in samples.values()} == {12}
    assert all(sorted(r) == ["a", "b", "c"] for r in rounds)
    assert len(set(rounds)) > 2


def test_an_engine_that_fails_on_the_way_does_not_stop_the_others() -> None:
    log: list[str] = []
    steps: list[int] = []
    engines = [Fake("good", log), Fake("bad", log, fails=2)]
    samples, errors = common.interleave(engines, 5, lambda: steps.append(1), pause=0.0)
    assert errors == {"bad": "bad died"} and len(samples["good"]) == 5 and len(samples["bad"]) == 2
    assert len(steps) == 10


def test_quartiles_are_those_of_the_standard_library() -> None:
    samples = [3.0, 9.0, 1.0, 4.0, 4.0, 7.0, 20.0]
    low, middle, high = statistics.quantiles(samples, n=4, method="inclusive")
    assert common.timing(samples) == {"ms": middle, "ms_low": low, "ms_high": high}
    assert common.timing([5.0]) == {"ms": 5.0, "ms_low": 5.0, "ms_high": 5.0}


def test_geomean() -> None:
    assert common.geomean([2.0, 8.0]) == pytest.approx(4.0)
    assert common.geomean([]) is None


def test_result_file(tmp_path: Path) -> None:
    value = common.result("x", {"clock": "wall"}, [{"ms": 1.0}], {"best": 1}, ("rich",))
    path = common.write_result(value, tmp_path / "deep" / "x.json")
    read = json.loads(path.read_text())
    assert {"name", "machine", "versions", "method", "rows", "summary"} <= read.keys()
    assert read["versions"]["rich"] and read["versions"]["python"] and read["machine"]["cores"] >= 1
    with pytest.raises(ValueError):
        common.write_result({**value, "rows": [float("nan")]}, path)
    assert json.loads(path.read_text()) == read and list(path.parent.iterdir()) == [path]


def test_rounds_within_a_budget() -> None:
    assert common.Rounds(5, 20, 60.0).another(4, 500.0)
    assert common.Rounds(5, 20, 60.0).another(5, 49.0) and not common.Rounds(5, 20, 60.0).another(5, 51.0)
    assert not common.Rounds(5, 20, 60.0).another(20, 1.0)
    log: list[str] = []
    common.interleave([Fake("a", log)], common.Rounds(3, 10, 0.0), pause=0.0)
    assert len(log) == 3
