"""The peers benchmark from end to end on tiny networks, and engines that fail, lie or hang."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from benchmarks import common, models
from benchmarks.engines import cell, memory, process
from sr_tvm.errors import SrTvmError

ROOT = Path(__file__).resolve().parents[3]
ONE = common.Rounds(1, 1)
About = dict[str, Any]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, About]:
    folder = tmp_path_factory.mktemp("peers") / "wdsr-1x4"
    return folder, models.prepare("wdsr-1x4", folder, (12, 20))


def peers(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.latency.peers", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_end_to_end_and_a_second_run_beside_the_first(tmp_path: Path) -> None:
    out = tmp_path / "peers.json"
    how = ("--rounds", "2", "--input", "12x20", "-o", str(out))
    done = peers("--models", "wdsr-1x4", "--engines", "sr-tvm,onnxruntime", "--threads", "1,2", *how)
    assert done.returncode == 0, done.stderr
    value = json.loads(out.read_text())
    assert value["name"] == "peers" and value["method"]["arch_seed"] == 0 and value["versions"]["onnxruntime"]
    rows = value["rows"]
    assert [(r["engine"], r["threads"]) for r in rows] == [
        ("sr-tvm", 1), ("onnxruntime", 1), ("sr-tvm", 2), ("onnxruntime", 2)
    ]  # fmt: skip
    common_keys = {
        "model",
        "engine",
        "threads",
        "date",
        "ms",
        "ms_low",
        "ms_high",
        "rounds",
        "macs",
        "max_abs_err",
        "ok",
    }
    for r in rows:
        assert r.keys() - {"gflops", "peak_gflops", "peak_fraction"} == common_keys, r
        assert 0 < r["ms_low"] <= r["ms"] <= r["ms_high"] and r["rounds"] == 2 and r["ok"]
        assert ("peak_fraction" in r) == (r["threads"] == 1)
    summary = value["summary"]
    for ratio in summary["ratios"]:
        pair = {r["engine"]: r["ms"] for r in rows if r["threads"] == ratio["threads"]}
        assert ratio["vs_best_peer"] == pytest.approx(pair["onnxruntime"] / pair["sr-tvm"], abs=1e-4)
    ours = summary["ours"]["wdsr-1x4"]
    assert summary["ok"] and ours["schedule"] in ("default", "tuned") and ours["build_s"] > 0
    assert [(m["engine"], m["bytes"] is not None) for m in summary["memory"]] == [(e, True) for e in memory.ENGINES]
    assert "times as fast as onnxruntime" in done.stdout and "geomean_vs_best_peer_1t" in done.stdout

    more = ("--models", "wdsr-seed0-2", "--engines", "onnxruntime", "--threads", "1", "--no-memory", *how)
    assert peers(*more).returncode == 0
    second = json.loads(out.read_text())
    assert [r for r in second["rows"] if r["model"] == "wdsr-1x4"] == rows
    assert [(r["engine"], r["threads"]) for r in second["rows"] if r["model"] != "wdsr-1x4"] == [("onnxruntime", 1)]
    assert second["summary"]["memory"] == summary["memory"] and second["summary"]["ours"] == summary["ours"]


def test_a_wrong_result_is_a_row_with_its_error(prepared: tuple[Path, About]) -> None:
    folder, about = prepared
    y = np.load(folder / "y.npy")
    try:
        np.save(folder / "y.npy", y + 0.01)
        (row,) = cell.measure(folder, about, ["onnxruntime"], 1, ONE)
    finally:
        np.save(folder / "y.npy", y)
    assert row["error"].startswith("off by 0.01") and row["max_abs_err"] == pytest.approx(0.01, rel=0.01)
    assert not row["ok"]


def test_an_engine_that_fails_is_a_row_with_its_error(tmp_path: Path) -> None:
    folder = tmp_path / "wdsr-1x4"
    about = models.prepare("wdsr-1x4", folder, (12, 20))
    (folder / "model.onnx").write_bytes(b"rubbish")
    (row,) = cell.measure(folder, about, ["onnxruntime"], 1, ONE)
    assert row["ms"] is None and "model.onnx" in row["error"] and "\n" not in row["error"] and not row["ok"]
    used = memory.measure(folder, "onnxruntime")
    assert used["bytes"] is None and "model.onnx" in used["error"]


def test_an_engine_that_dies_says_its_last_words(prepared: tuple[Path, About]) -> None:
    with process.EngineProcess("onnxruntime", prepared[0], 1) as engine:
        engine.ready()
        assert engine.time() > 0
        os.kill(engine.child.pid, signal.SIGKILL)
        with pytest.raises(SrTvmError, match="onnxruntime crashed: signal SIGKILL"):
            engine.time()


def test_an_engine_that_hangs_is_given_up(prepared: tuple[Path, About], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "READY_SECONDS", 0.01)
    with process.EngineProcess("onnxruntime", prepared[0], 1) as engine:
        with pytest.raises(SrTvmError, match=r"did not finish within 0\.01 s"):
            engine.ready()


@pytest.mark.parametrize(
    "arguments",
    [["--threads", "0"], ["--threads", "a"], ["--input", "360"], ["--engines", "nope"], ["--rounds", "0"],
     ["--budget", "-1"], ["--arch-seed", "-1"]],
)  # fmt: skip
def test_usage_errors(arguments: list[str]) -> None:
    done = peers(*arguments)
    assert done.returncode == 2 and "Traceback" not in done.stderr


def test_unknown_network(tmp_path: Path) -> None:
    done = peers("--models", "resnet", "-o", str(tmp_path / "p.json"))
    assert done.returncode == 1 and "unknown network 'resnet'" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "p.json").exists()


def test_memory_grows_by_what_is_held() -> None:
    # In a process of its own: its malloc must give back what is freed, and nothing else may run.
    run = "print(grown(lambda: np.ones(1 << 22).sum()))"
    code = f"import numpy as np; from benchmarks.engines.memory import grown; {run}"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(done.stdout) == pytest.approx(8 << 22, rel=0.05)
