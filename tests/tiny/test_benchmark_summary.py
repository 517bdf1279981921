"""What the rows of peers come to, and which rows may stand in one file."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.engines import cell
from benchmarks.latency import merge
from benchmarks.latency.summary import summarize


def row(engine: str, ms: float | None, model: str = "wdsr-1x4", threads: int = 1, **more: Any) -> dict[str, Any]:
    found = {"model": model, "engine": engine, "threads": threads, "ms": ms, "macs": 10**9, "max_abs_err": 1e-7}
    return found | {"ok": "error" not in more, "date": "2026-01-01", **more}


def test_ratios_are_against_the_best_sound_peer() -> None:
    rows = [
        row("sr-tvm", 10.0), row("a", 40.0), row("b", 5.0, error="off by 3"), row("c", None, error="died"),
        row("sr-tvm", 10.0, "wdsr-2x4"), row("a", 10.0, "wdsr-2x4"),
        row("sr-tvm", None, "wdsr-1x4", 2, error="died"), row("a", 5.0, "wdsr-1x4", 2),
        row("sr-tvm", 10.0, "vgg16"), row("a", 1.0, "vgg16"),
        row("sr-tvm", 10.0, "carn-m", 2), row("a", 15.0, "carn-m", 2),
    ]  # fmt: skip
    summary = summarize(rows)
    assert summary["ratios"] == [
        {"model": "wdsr-1x4", "threads": 1, "best_peer": "a", "vs_best_peer": 4.0},
        {"model": "wdsr-2x4", "threads": 1, "best_peer": "a", "vs_best_peer": 1.0},
        {"model": "wdsr-1x4", "threads": 2, "best_peer": "a", "vs_best_peer": None},
        {"model": "vgg16", "threads": 1, "best_peer": "a", "vs_best_peer": 0.1},
        {"model": "carn-m", "threads": 2, "best_peer": "a", "vs_best_peer": 1.5},
    ]
    assert summary["geomean_vs_best_peer_1t"] == pytest.approx(2.0)
    assert summary["worst_vs_best_peer_1t"] == 1.0  # of the WDSRs
    assert summary["geomean_vs_best_peer_2t"] is None and summary["worst_vs_best_peer_2t"] is None
    assert (summary["vgg16_vs_best_peer"], summary["vgg16_vs_best_peer_2t"]) == (0.1, None)
    assert (summary["carn_m_vs_best_peer"], summary["carn_m_vs_best_peer_2t"]) == (None, 1.5)
    assert summary["fsrcnn_vs_best_peer"] is None and summary["peak_fraction"] is None
    assert len(summary["failed"]) == 3 and summary["ok"] is False


def test_share_of_the_peak_and_the_roofline() -> None:
    # 1 GMAC in 20 ms is 100 GFLOPS; at 125 it would take 16 ms.
    rows = [
        row("sr-tvm", 20.0, **cell.share(20.0, 10**9, 125.0)),
        row("a", 48.0, **cell.share(48.0, 10**9, 125.0)),
        row("sr-tvm", 2.0, "fsrcnn", **cell.share(2.0, 10**8, 125.0)),  # counts in no share: no WDSR
    ]
    summary = summarize(rows)
    assert rows[0]["gflops"] == 100.0 and rows[0]["peak_fraction"] == 0.8
    assert summary["peak_fraction"] == 0.8 and summary["peak_gflops"] == 125.0 and summary["ok"]
    assert summary["ratios"][0]["roofline_vs_best_peer"] == summary["roofline_vs_best_peer_1t"] == 3.0


def test_ours_is_held_to_a_closer_bound_than_peers() -> None:
    ours, peer, wrong, large = row("sr-tvm", 1.0), row("a", 1.0), row("a", 1.0), row("sr-tvm", 1.0)
    cases = ((ours, 2e-5, 0.5), (peer, 2e-5, 0.5), (wrong, 2e-3, 0.5), (large, 2e-5, 4.0))
    for r, error, peak in cases:
        bound = cell.EXACT if r["engine"] == "sr-tvm" else cell.TOLERANCE
        cell.judge(r, bound, error, peak)
    assert [r["ok"] for r in (ours, peer, wrong, large)] == [False, False, False, True]
    assert ["error" in r for r in (ours, peer, wrong, large)] == [True, False, True, False]


RESULT: dict[str, Any] = {
    "name": "peers", "machine": {"cpu": "x"}, "versions": {"torch": "1", "ncnn": "1"}, "rows": [row("a", 1.0)],
    "method": {"input": "1x1", "database": "none"}, "summary": {},
}  # fmt: skip


@pytest.mark.parametrize(
    ("where", "key", "value", "words"),
    [("machine", "cpu", "y", "cpu: y, now x"), ("versions", "torch", "2", "torch: 2, now 1"),
     ("method", "input", "2x2", "its input was 2x2"), ("method", "database", "d", "its database was d")],
)  # fmt: skip
def test_rows_of_another_machine_version_or_input_are_not_kept(
    tmp_path: Path, where: str, key: str, value: Any, words: str
) -> None:
    path, old = tmp_path / "peers.json", copy.deepcopy(RESULT)
    del old["versions"]["ncnn"]  # not used in the first run: no reason
    path.write_text(json.dumps(old))
    assert merge.earlier(path, RESULT) == (old, None)
    old[where][key] = value
    path.write_text(json.dumps(old))
    found, why = merge.earlier(path, RESULT)
    assert found is None and why is not None and words in why


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"name": "peers"}', '{"name": "peers", "rows": [{}]}'])
def test_a_file_of_another_form_is_not_kept(tmp_path: Path, text: str) -> None:
    (tmp_path / "p.json").write_text(text)
    found, why = merge.earlier(tmp_path / "p.json", RESULT)
    assert found is None and why
    assert merge.earlier(tmp_path / "none.json", RESULT) == (None, None)


def test_rows_of_one_network_and_thread_count_come_from_one_run() -> None:
    old = [
        row("a", 1.0),
        row("b", 1.0),
        row("a", 1.0, threads=2),
        row("a", 1.0, "wdsr-seed1-1"),
        row("a", 1.0, "vgg16"),
    ]
    new = [row("a", 2.0), row("a", 2.0, "wdsr-seed0-1")]
    found = merge.rows(old, new, ("wdsr-1x4", "wdsr-seed0-1", "vgg16"), 0)
    assert [(r["model"], r["engine"], r["threads"], r["ms"]) for r in found] == [
        ("wdsr-1x4", "a", 1, 2.0), ("wdsr-1x4", "a", 2, 1.0), ("wdsr-seed0-1", "a", 1, 2.0), ("vgg16", "a", 1, 1.0),
    ]  # fmt: skip
    assert merge.by_model([{"model": "m", "n": 1}, {"model": "k"}], [{"model": "m", "n": 2}], {"m"}) == [
        {"model": "m", "n": 2}
    ]
