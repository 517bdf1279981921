"""The peers benchmark from end to end on a tiny network, and engines that fail, lie or hang."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks import models, peers, process
from sr_tvm.errors import SrTvmError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("peers") / "wdsr-1x4"
    models.prepare("wdsr-1x4", folder, (12, 20))
    return folder


def test_end_to_end(tmp_path: Path) -> None:
    out = tmp_path / "peers.json"
    command = [sys.executable, "-m", "benchmarks.peers", "--models", "wdsr-1x4", "--engines", "sr-tvm,onnxruntime"]
    done = subprocess.run([*command, "--rounds", "2", "--threads", "1,2", "--input", "12x20", "-o", str(out)],
                          cwd=ROOT, capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    value = json.loads(out.read_text())
    assert value["name"] == "peers" and value["method"]["rounds"] == 2 and value["versions"]["onnxruntime"]
    rows = value["rows"]
    assert [(r["engine"], r["threads"]) for r in rows] == [
        ("sr-tvm", 1), ("onnxruntime", 1), ("sr-tvm", 2), ("onnxruntime", 2)
    ]  # fmt: skip
    for r in rows:
        assert r.keys() == {"model", "engine", "threads", "ms", "ms_low", "ms_high", "max_abs_err"}, r
        assert 0 < r["ms_low"] <= r["ms"] <= r["ms_high"] and 0 <= r["max_abs_err"] < 1e-4
    for ratio in value["summary"]["ratios"]:
        pair = {r["engine"]: r["ms"] for r in rows if r["threads"] == ratio["threads"]}
        assert ratio["vs_best_peer"] == pytest.approx(pair["onnxruntime"] / pair["sr-tvm"], abs=1e-4)
    assert value["summary"]["ours"]["wdsr-1x4"]["schedule"] in ("default", "tuned")
    assert "wdsr-1x4" in done.stdout and "times as fast as onnxruntime" in done.stdout


def test_a_wrong_result_is_a_row_with_its_error(prepared: Path) -> None:
    y = np.load(prepared / "y.npy")
    try:
        np.save(prepared / "y.npy", y + 0.01)
        (row,) = peers.measure(prepared, "wdsr-1x4", ["onnxruntime"], 1, 1, lambda what, runs: None)
    finally:
        np.save(prepared / "y.npy", y)
    assert row["error"].startswith("off by 0.01") and row["max_abs_err"] == pytest.approx(0.01, rel=0.01)


def test_an_engine_that_fails_is_a_row_with_its_error(tmp_path: Path) -> None:
    folder = tmp_path / "wdsr-1x4"
    models.prepare("wdsr-1x4", folder, (12, 20))
    (folder / "model.onnx").write_bytes(b"rubbish")
    (row,) = peers.measure(folder, "wdsr-1x4", ["onnxruntime"], 1, 1, lambda what, runs: None)
    assert row["ms"] is None and "model.onnx" in row["error"] and "\n" not in row["error"]


def test_an_engine_that_dies_says_its_last_words(prepared: Path) -> None:
    with process.EngineProcess("onnxruntime", prepared, 1) as engine:
        engine.ready()
        assert engine.time() > 0
        engine._process.kill()
        engine._process.wait()
        with pytest.raises(SrTvmError, match="onnxruntime died"):
            engine.time()


def test_an_engine_that_hangs_is_given_up(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "READY_SECONDS", 0.01)
    with process.EngineProcess("onnxruntime", prepared, 1) as engine:
        with pytest.raises(SrTvmError, match=r"no answer within 0\.01 s"):
            engine.ready()
    assert engine._process.returncode is not None


@pytest.mark.parametrize(
    "arguments", [["--threads", "0"], ["--threads", "a"], ["--input", "360"], ["--engines", "nope"], ["--rounds", "0"]]
)
def test_usage_errors(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "benchmarks.peers", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "Traceback" not in done.stderr


def test_unknown_network(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.peers", "--models", "resnet", "-o", str(tmp_path / "p.json")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "unknown network 'resnet'" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "p.json").exists()
