"""What the seams benchmark makes of its rows, and which checkouts it refuses; nothing is compiled."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from benchmarks import common
from benchmarks.latency import seams, seams_before
from sr_tvm.errors import SrTvmError


def row(model: str, engine: str, *pairs: tuple[float, float], output: str = "a", library: str = "l") -> dict[str, Any]:
    """A sound row, its pairs given as milliseconds and seconds of the build."""
    made = [{"ms": ms, "build_s": build, "output": output, "library": library} for ms, build in pairs]
    return {"model": model, "engine": engine, "ms": pairs[0][0], "max_abs_err": 1e-7, "ok": True, "pairs": made}


def both(model: str, **now: str) -> list[dict[str, Any]]:
    """Rows of a network that runs twice as fast now and builds in the same time, each by the median of three pairs."""
    before = row(model, "before", (10.0, 3.0), (20.0, 2.0), (30.0, 3.0))
    return [before, row(model, "now", (5.0, 3.0), (10.0, 4.0), (1.0, 3.0), **now)]


def test_ratios_are_medians_over_pairs() -> None:
    found = seams.summarize(both("x") + both("y", library="m"), ["x", "y"])
    assert (found["geomean_vs_before"], found["build_vs_before"], found["equal_bits"]) == (2.0, 1.0, 1.0)
    assert found["reached"] and found["ok"] and found["missing"] == found["failed"] == []
    assert [r["equal_library"] for r in found["ratios"]] == [True, False]


def test_a_missing_or_failed_row_counts_nothing() -> None:
    for rows in ([], both("y")[:1], both("y")[1:]):
        found = seams.summarize(both("x") + rows, ["x", "y"])
        assert (found["geomean_vs_before"], found["build_vs_before"], found["equal_bits"]) == (0.0, 0.0, 0.5)
        assert not found["reached"] and found["missing"] == ([] if rows else ["y"])
    failed = both("y")
    failed[1] |= {"error": "now died", "ok": False}
    found = seams.summarize(both("x") + failed, ["x", "y"])
    assert (found["geomean_vs_before"], found["worst_build_vs_before"], found["equal_bits"]) == (0.0, 0.0, 0.5)
    assert found["failed"] == ["now on y"] and not found["ok"]
    nothing = seams.summarize([], [])
    assert not nothing["reached"] and not nothing["ok"] and nothing["equal_bits"] == 0


def test_other_bits_are_not_equal() -> None:
    found = seams.summarize(both("x") + both("y", output="b"), ["x", "y"])
    assert found["equal_bits"] == 0.5 and not found["reached"] and found["geomean_vs_before"] == 2.0
    changing = both("x")
    for side in changing:  # both sides alike, but not from one build to the next
        side["pairs"][1]["output"] = "b"
    assert seams.summarize(changing, ["x"])["equal_bits"] == 0


def test_slower_is_told() -> None:
    slower = [row("x", "before", (97.0, 1.0)), row("x", "now", (100.0, 1.0))]
    assert not seams.summarize(slower, ["x"])["reached"]
    slower = [row("x", "before", (1.0, 94.0)), row("x", "now", (1.0, 100.0))]
    assert not seams.summarize(slower, ["x"])["reached"]


def test_a_digest_is_of_bits() -> None:
    zero = np.zeros((2, 2), np.float32)
    assert seams.digest(zero) == seams.digest(zero.copy()) != seams.digest(-zero)
    assert len({seams.digest(a) for a in (zero, zero.reshape(4), zero.view(np.int32), zero + 1e-45)}) == 4


def test_a_side_that_fails_has_a_row_that_says_so(tmp_path: Path) -> None:
    """A process that dies before it is ready: no pair more is tried, and the result is none."""
    sides = [seams.Side(name, tmp_path, Path("/bin/false"), tmp_path) for name in ("before", "now")]
    rows = seams.measure(tmp_path, {"model": "x", "macs": 1}, sides, common.Rounds(3, 3), common.Rounds(1, 1))
    assert [r["engine"] for r in rows] == ["before", "now"]
    assert all("does not start: exit code 1" in r["error"] for r in rows)
    assert seams.summarize(rows, ["x"])["geomean_vs_before"] == 0


def test_a_checkout_of_another_commit_is_refused(tmp_path: Path) -> None:
    def git(*words: str) -> None:
        subprocess.run(["git", "-c", "user.name=x", "-c", "user.email=x@x", *words], cwd=tmp_path, check=True)

    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "x")
    with pytest.raises(SrTvmError, match="not at 1abac71"):
        seams_before.check(tmp_path)
    with pytest.raises(SrTvmError, match=r"no commit 1abac71 .* git fetch --unshallow"):
        seams_before.make(tmp_path / "clone", tmp_path)
    assert not (tmp_path / "clone").exists()


def test_some_networks_need_a_file_of_their_own() -> None:
    found = CliRunner().invoke(seams.main, ["--models", "fsrcnn"])
    assert found.exit_code == 2 and "with -o" in found.output
