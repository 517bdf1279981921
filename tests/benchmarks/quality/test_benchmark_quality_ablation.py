"""The ablation on steps of milliseconds: rows as they come, nothing made twice, gains seed by seed."""

import json
import shutil
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from benchmarks.quality import quality_ablation
from sr_tvm.errors import SrTvmError
from sr_tvm.nets.wdsr import WDSR
from sr_tvm.nets.weights import save_weights
from sr_tvm.records.architecture import Architecture


@pytest.fixture
def run(folders, tmp_path, monkeypatch):
    monkeypatch.setattr(quality_ablation, "NET", Architecture.uniform(2, 1, 4))
    data = tmp_path / "data"
    for place, source in (("train/T91", folders[0]), ("eval/Set5", folders[1])):
        shutil.copytree(source, data / place)
    shutil.copytree(folders[0], data / "train/cid22")
    (data / "train/cid22/0.png").unlink()
    (data / "train/T91/3.png").unlink()
    for name in ("Set14", "B100"):
        shutil.copytree(folders[1], data / "eval" / name)
    (data / "train/div2k128").mkdir()
    shutil.copy(folders[0] / "2.png", data / "train/div2k128/only.png")

    def call(*more):
        line = ["--data", data, "--work", tmp_path / "work", "--cache", tmp_path / "cache", "--steps", 3, "--seeds", 2]
        line += ["-o", tmp_path / "result.json", *more]
        return CliRunner().invoke(quality_ablation.main, [str(word) for word in line], catch_exceptions=False)

    return call


def test_rows_and_gains(run, tmp_path):
    done = run("--variants", "old,new,detail")
    assert done.exit_code == 0, done.output
    value = json.loads((tmp_path / "result.json").read_text())
    assert [(r["variant"], r["seed"], r["pictures"]) for r in value["rows"]] == [
        ("old", 0, 3), ("old", 1, 3), ("new", 0, 4), ("new", 1, 4), ("detail", 0, 4), ("detail", 1, 4),
    ]  # fmt: skip


def test_nothing_is_made_twice(run, tmp_path, monkeypatch):
    run("--variants", "new")
    before = json.loads((tmp_path / "result.json").read_text())["rows"]
    monkeypatch.setattr(quality_ablation, "score", lambda *_: pytest.fail("scored again"))
    run("--variants", "new")
    assert json.loads((tmp_path / "result.json").read_text())["rows"] == before


def test_a_teacher_must_be_named(run, tmp_path):
    with pytest.raises(SrTvmError, match="name a teacher's weights file with --teacher"):
        run("--variants", "taught")
    save_weights(WDSR(Architecture.uniform(2, 1, 6)), tmp_path / "teacher.safetensors")
    done = run("--variants", "taught", "--teacher", tmp_path / "teacher.safetensors")
    assert done.exit_code == 0, done.output


def test_the_gain_is_of_the_same_seeds():
    def row(variant, seed, *psnr):
        scores = dict(zip(("Set5", "Set14", "B100", "mean"), psnr, strict=True))
        return {"variant": variant, "seed": seed, "psnr_y": scores}

    rows = [row("new", 0, 1.0, 2, 3, 4), row("new", 1, 2.0, 2, 3, 4), row("detail", 1, 2.5, 2, 3, 5)]
    told = quality_ablation.summarize(rows)
    assert told["new"]["psnr_y"]["Set5"] == {"mean": 1.5, "spread": 0.707} and told["new"]["gain"]["Set5"] is None
    gain = told["detail"]["gain"]
    assert gain["Set5"] == {"mean": 0.5, "spread": 0.0} and gain["mean"] == {"mean": 1.0, "spread": 0.0}


def test_pictures_count_alike():
    psnr = {"Set5": 119.0, "Set14": 0.0, "B100": 0.0}
    assert quality_ablation.mean_of_pictures(psnr) == pytest.approx(5.0)
