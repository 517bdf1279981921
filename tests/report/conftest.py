"""A synthetic run folder, with everything that a page can show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from report_runs import write_summary

from sr_tvm.records.architecture import Architecture
from sr_tvm.records.measurement import Measurement


def summary_of(folder: Path) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 256, (96, 128, 3), dtype=np.uint8)
    for name, noise in (("truth", 0), ("bicubic", 30), ("ours", 10)):
        pixels = np.clip(truth.astype(int) + rng.integers(-noise, noise + 1, truth.shape), 0, 255)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{name}.png")
    measured = Measurement("local", "cpu", "wdsr", "0" * 64, (1, 3, 90, 160), (9.0, 10.0, 12.0), "ms", {"threads": 1})
    history = [{"task": f"conv{t}", "trial": i, "generation": 0, "ms": None if i == 3 else 9.0 - i / 4 + t,
                "best_ms": 9.0 - i / 4 + t} for t in range(8) for i in range(6)]  # fmt: skip
    return {
        "title": "Once round the loop",
        "lead": "A test.",
        "model": {"name": "wdsr", "params": 36720, "macs": 527_000_000},
        "architecture": Architecture.uniform(2, 3, 24).to_json(),
        "parity": [{"name": "ONNX", "max_abs_err": 2e-7, "tolerance": 1e-5, "ok": True},
                   {"name": "Relax", "max_abs_err": 2e-3, "tolerance": 1e-5, "ok": False}],
        "passes": {"kernels_before": 30, "kernels_after": 12, "intermediate_bytes_before": 1000,
                   "intermediate_bytes_after": 400,
                   "fusions": [{"kernel": "fused_conv", "operators": ["conv2d", "relu"], "rule": "one-to-one"}]},
        "tuning": {"trials": 48, "seed": 0, "default_ms": 20.0, "tuned_ms": 10.0, "history": history},
        "measurement": measured.to_json(),
        "per_operator": [{"kernel": f"fused_conv{i}", "ms": 0.1 * i} for i in range(20)],
        "speed": {"method": ["Left out one by one."],
                  "rows": [{"name": f"w{i}", "measured": 10.0 + i, "predicted": 10.5 + i, "this": i == 2}
                           for i in range(5)]},
        "pictures": {"compare": {"truth": "truth.png", "bicubic": "bicubic.png", "ours": "ours.png",
                                 "psnr_bicubic": 30.0, "psnr_ours": 32.0, "crop": [10, 20, 60, 50]},
                     "enlarged": {"file": "ours.png"}},
        "every_target": {"note": "One network.", "rows": [
            {"target": "cpu", "time": "10 ms", "how": "measured here", "seconds": None},
            {"target": "adreno (adreno-660)", "time": "", "how": "not there; run 'make system-deps'", "seconds": 0.1}]},
        "steps": [{"name": "export", "seconds": 1.5}],
        "machine": {"cpu": "test"}, "versions": {"python": "3"}, "method": ["Wall clock."],
    }  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    summary = summary_of(tmp_path)
    write_summary(tmp_path, summary)
    return tmp_path, summary
