"""The package benchmark on the smallest shipped network, and what its rows come to."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from benchmarks.phones import package

ROOT = Path(__file__).resolve().parents[3]


def test_end_to_end(tmp_path: Path) -> None:
    out = tmp_path / "package.json"
    command = [sys.executable, "-m", "benchmarks.phones.package", "--models", "wdsr_x2_s21_40ms", "--engines"]
    command += ["package,sr-tvm,onnxruntime", "--rounds", "2", "--threads", "1", "--input", "24x40", "-o", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    value = json.loads(out.read_text())
    here, phone, *timed = value["rows"]
    assert phone["machine"] == "aarch64" and "max_abs_err" not in phone and "ms" not in phone
    assert here["max_abs_err"] == 0
    assert 0 < here["code_kb"] < 150 and 0 < phone["code_kb"] < 150
    assert 0 < here["peak_mb_360p"] < here["peak_mb_4k"] < 32 and here["start_ms"] > 0
    assert [row["engine"] for row in timed] == ["package", "sr-tvm", "onnxruntime"]
    assert all(row["ok"] and row["ms"] > 0 for row in timed)
    assert value["summary"]["vs_vm"] == here["vs_vm"] > 0 and here["vm_cpu_ms"] > 0
    assert value["summary"]["vs_vm_wall"] == timed[0]["vs_vm_wall"] > 0
    assert value["summary"]["max_abs_err"] == 0


def _row(engine: str, ms: float | None, **more: Any) -> dict[str, Any]:
    return {"model": "m", "threads": 1, "engine": engine, "ms": ms, "max_abs_err": 1e-6, **more}


def test_the_summary_takes_the_worst() -> None:
    rows = [
        {"model": "m", "machine": "x86_64", "code_kb": 90.0, "peak_mb_4k": 20.0, "max_abs_err": 0.0, "vs_vm": 1.1},
        {"model": "m", "machine": "aarch64", "code_kb": 110.0, "emulated_error_of_peak": 1e-7},
        {"model": "n", "machine": "x86_64", "code_kb": 80.0, "peak_mb_4k": 25.0, "max_abs_err": 0.5},
        _row("package", 10.0, vs_vm_wall=1.02),
        _row("onnxruntime", 25.0),
        _row("mnn", 20.0, error="off by 1"),
        _row("ncnn", None, error="does not start"),
        {**_row("package", 10.0, vs_vm_wall=0.97), "threads": 2},
    ]
    found = package.summarize(rows)
    assert found["max_code_kb"] == 110 and found["peak_mb_4k"] == 25 and found["max_abs_err"] == 0.5
    assert found["vs_vm"] == 1.1 and found["vs_vm_wall"] == 0.97 and found["worst_vs_best_peer"] == 2.5


def test_an_empty_summary_says_nothing() -> None:
    assert set(package.summarize([]).values()) == {None}
