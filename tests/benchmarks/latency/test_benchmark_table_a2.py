"""Table A2 on a tiny network, and where its PSNR is from."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from benchmarks import models
from benchmarks.latency import table_a2

ROOT = Path(__file__).resolve().parents[3]


def test_end_to_end(tmp_path: Path) -> None:
    out = tmp_path / "a2.json"
    command = [sys.executable, "-m", "benchmarks.latency.table_a2", "--models", "wdsr-1x4", "--rounds", "2"]
    done = subprocess.run([*command, "--threads", "1", "--output-size", "24x40", "-o", str(out)],
                          cwd=ROOT, capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    value = json.loads(out.read_text())
    assert [(r["scale"], r["engine"], r["weights"]) for r in value["rows"]] == [
        (2, "mnn", "random"), (2, "sr-tvm", "random"), (4, "mnn", "random"), (4, "sr-tvm", "random"),
    ]  # fmt: skip
    for r in value["rows"]:
        assert r["fps"] == pytest.approx(1e3 / r["ms"], abs=1e-3) and r["psnr_source"] == "not trained"
    # The same output from a quarter of the pixels.
    assert value["rows"][2]["macs"] < value["rows"][0]["macs"]
    x2 = {r["engine"]: r["ms"] for r in value["rows"][:2]}
    assert value["summary"]["ratios"][0]["vs_mnn"] == pytest.approx(x2["mnn"] / x2["sr-tvm"], abs=1e-4)
    assert "not" in done.stdout and "geomean_vs_mnn_1t" in done.stdout


def test_where_the_quality_is_from(tmp_path: Path) -> None:
    found = table_a2.quality("fsrcnn", 4)
    assert found["psnr_source"] == "published" and found["psnr_y"]["B100"] == 26.98 and found["phone_fps"] == 11.3
    assert table_a2.quality(models.SHIPPED, 4)["psnr_source"] == "not trained"
    results = tmp_path / "quality.json"
    assert table_a2.quality(models.SHIPPED, 2, results)["psnr_source"] == "not measured"
    rows = [{"model": "wdsr_x2_37k", "scale": 2, "set": "Set5", "psnr_y": 37.1},
            {"model": "bicubic", "scale": 2, "set": "Set5", "psnr_y": 33.7}]  # fmt: skip
    results.write_text(json.dumps({"rows": rows}))
    measured = table_a2.quality(models.SHIPPED, 2, results)
    assert measured["psnr_source"] == "measured" and measured["psnr_y"] == {"Set5": 37.1}
