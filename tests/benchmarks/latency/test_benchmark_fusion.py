"""The fusion benchmark on a tiny network: fewer kernels and bytes with each depth, the same output."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from benchmarks.latency import depths, fusion, fusion_figure
from sr_tvm.errors import SrTvmError

ROOT = Path(__file__).resolve().parents[3]


def test_end_to_end(tmp_path: Path) -> None:
    out = tmp_path / "fusion.json"
    command = [
        sys.executable,
        "-m",
        "benchmarks.latency.fusion",
        "--model",
        "wdsr-1x4",
        "--depths",
        "none,fuse-ops,elementwise",
    ]
    done = subprocess.run([*command, "--rounds", "2", "--input", "12x20", "-o", str(out)],
                          cwd=ROOT, capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    value = json.loads(out.read_text())
    none, ops, elementwise = value["rows"]
    assert none["kernels"] > ops["kernels"] > elementwise["kernels"] > 1
    assert none["intermediate_bytes"] > ops["intermediate_bytes"] > elementwise["intermediate_bytes"] > 0
    for r in value["rows"]:
        assert r["ok"] and "error" not in r and 0 < r["ms_low"] <= r["ms"] <= r["ms_high"]
    assert value["summary"]["deepest"] == "elementwise"
    assert value["summary"]["times_the_deepest"]["none"] == pytest.approx(none["ms"] / elementwise["ms"], abs=1e-4)
    assert "| none: one kernel for each operator |" in done.stdout
    text = (tmp_path / "fusion.svg").read_text()
    assert ElementTree.fromstring(text).tag.endswith("svg") and "elementwise" in text and "kernels" in text


def row(depth: str, ms: float | None, **more: Any) -> dict[str, Any]:
    found = {"depth": depth, "kernels": 3, "intermediate_bytes": 2**20, "ms": ms, "ms_low": ms, "ms_high": ms}
    return found | more


def test_a_depth_that_failed_counts_in_no_ratio(tmp_path: Path) -> None:
    rows = [row("none", 8.0), row("block", 2.0), row("net", None, error="not there", kernels=None,
            intermediate_bytes=None)]  # fmt: skip
    assert fusion.summarize(rows) == {
        "deepest": "block", "times_the_deepest": {"none": 4.0, "block": 1.0, "net": None}, "failed": ["net"]
    }  # fmt: skip
    lines = fusion.markdown(rows).splitlines()
    assert (
        len(lines) == 5 and lines[2].endswith("| 3 | 1.0 | 8.0 | 8.0 to 8.0 |") and lines[4].endswith("| not there |")
    )
    fusion_figure.draw(rows, tmp_path / "f.svg", "a & b")
    text = (tmp_path / "f.svg").read_text()
    assert text.count("not measured") == 2 and not any(stand_in in text for stand_in in fusion_figure.COLOURS)


def test_an_unknown_depth(tmp_path: Path) -> None:
    from benchmarks import models

    models.prepare("wdsr-1x4", tmp_path, (12, 20))
    with pytest.raises(SrTvmError, match="unknown depth 'deep'; known are none, "):
        depths.compile_at_depth(tmp_path / "model.onnx", "deep", tmp_path / "deep")
