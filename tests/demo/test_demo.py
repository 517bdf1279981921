"""The demo from end to end on a tiny network, a second time on the same folder, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sr_tvm.cli.main import main
from sr_tvm.demo import comparison, every_target, steps
from sr_tvm.demo.run import KEY
from sr_tvm.nets.wdsr import WDSR
from sr_tvm.nets.weights import fold, save_weights
from sr_tvm.records.architecture import Architecture, Block
from sr_tvm.records.artifact import Artifact
from sr_tvm.report import run_folder
from sr_tvm.speed import dataset

ARCHITECTURE = Architecture(2, 4, (Block(8, 3),))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_weights(fold(WDSR(ARCHITECTURE)), path)
    return path


def go(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(["demo", *arguments])
    return int(stop.value.code or 0)


def test_round_the_loop_twice(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (81, 100, 3), dtype=np.uint8)
    monkeypatch.setattr(comparison, "photograph", lambda: photo)
    monkeypatch.setattr(every_target, "GPUS", ())  # tests of their own; here they would take minutes
    for name, value in (("HEIGHT", 24), ("WIDTH", 32), ("NEIGHBOURS", 3), ("REPEATS", 3)):
        monkeypatch.setattr(steps, name, value)
    run = tmp_path / "run"

    assert go("-o", str(run), "--trials", "2", "--weights", str(weights), "--json") == 0
    told = json.loads(capsys.readouterr().out)
    summary = run_folder.load(run)
    assert told["report"] == str(run / "report.html") and summary.complete
    assert len(summary.steps) == 11 and Architecture.from_json(summary.architecture or {}) == ARCHITECTURE
    assert [p.ok for p in summary.parity] == [True] * 3
    assert all(0 <= p.max_abs_err < 1e-5 for p in summary.parity)
    assert summary.passes and summary.passes["kernels_after"] < summary.passes["kernels_before"]
    assert summary.tuning and summary.tuning.trials == len(summary.tuning.history) == 2
    artifact = Artifact.load(run / "artifact")
    assert artifact.architecture == ARCHITECTURE.to_json() and artifact.inputs[0].shape == (1, 3, 24, 32)
    measured = dataset.load(run / "speed.jsonl")
    assert len(measured) >= 4 and {m.input_shape for m in measured} == {(1, 3, 24, 32)}
    assert {m.device for m in measured} == {KEY} and measured[0].conditions["method"].startswith("rpc")
    assert summary.speed and summary.every_target
    rows = summary.speed.rows
    assert len(rows) == 4 and [r.this for r in rows].count(True) == 1
    assert Image.open(run / "enlarged.png").size == (200, 160)
    page = (run / "report.html").read_text()
    targets = [row.target for row in summary.every_target.rows]
    assert targets == ["cpu", "hexagon (hexagon-sim)"] and "The same network on every target" in page
    assert "Predicted against measured" in page and page.count("<svg") == 4 and page.count("<img") == 6

    assert go("-o", str(run), "--trials", "3", "--weights", str(weights)) == 0
    shown = capsys.readouterr().out
    again = run_folder.load(run)
    assert "2 of them in an earlier run" in shown and again.tuning and again.tuning.trials == 3
    assert f"report is {run / 'report.html'}" in shown.replace("\n", "") and "next:" in shown
    assert again.speed and len(again.speed.rows) == 4 and len(dataset.load(run / "speed.jsonl")) < len(measured) + 3
    assert len(again.parity) == 3 and len(again.steps) == 11


def test_a_failed_step_is_one_line_and_names_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "cut.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}")
    assert go("-o", str(tmp_path / "run"), "--weights", str(tmp_path / "cut.safetensors")) == 1
    told = capsys.readouterr().err
    assert told.startswith("error: A trained network:") and "cut.safetensors" in told and told.count("\n") == 1
    assert not run_folder.load(tmp_path / "run").complete


@pytest.mark.parametrize("content", ["notes.txt", "summary.json"])
def test_a_folder_of_other_things_is_left_alone(
    tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / content).write_text("{}")
    assert go("-o", str(tmp_path)) == 1
    assert str(tmp_path) in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == [content] and (tmp_path / content).read_text() == "{}"


def test_usage() -> None:
    assert go("--trials", "0") == 2
    assert go("--help") == 0
