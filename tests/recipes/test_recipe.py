"""The recipe: what it asks for, and all of it for one model on small pictures, killed on the way."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from skimage import data as pictures

from recipes import MODELS, recipe, ship
from recipes import pictures as looked_at
from recipes import train as command
from sr_tvm.cli import export, search, train
from sr_tvm.errors import SrTvmError
from sr_tvm.nets.weights import load_weights
from sr_tvm.records.architecture import Architecture

COMMANDS = {"train": train.command, "search": search.command, "export": export.command}
SCRIPT = MODELS / "train.py"
PLACES = recipe.RecipePlaces([Path("T91")], Path("Set5"), Path("work"), Path("models"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    for folder in ("train/T91", "eval/Set5"):
        (root / folder).mkdir(parents=True)
    for i in range(2):
        picture = np.ascontiguousarray(pictures.astronaut()[i * 130 : i * 130 + 80, 100:180])
        Image.fromarray(picture).save(root / f"train/T91/{i}.png")
    Image.fromarray(np.ascontiguousarray(pictures.coffee()[100:140, 100:150])).save(root / "eval/Set5/a.png")
    return root


def test_every_command_is_one_that_the_command_line_takes():
    for job in recipe.jobs(recipe.Recipe(), PLACES):
        for step in job.steps:
            python, dash, module, name, *words = step.argv
            assert (python, dash, module) == (sys.executable, "-m", "sr_tvm")
            COMMANDS[name].make_context(name, words)
    with pytest.raises(click.NoSuchOption):
        COMMANDS["train"].make_context("train", [*words, "--nonsense"])


def test_what_is_trained():
    asked = recipe.Recipe(supernet_steps=50, search_steps=60, race_steps=0, steps=900)
    jobs = {job.name: job for job in recipe.jobs(asked, PLACES)}
    assert len(jobs) == 2 + 9 + 9 + 2
    steps = {name: [s.asked.get("steps") for s in job.steps] for name, job in jobs.items()}
    assert steps["supernet_x2"] == [50] and steps["wdsr_x2_s21_100ms"] == [None, 900, None]
    assert steps["wdsr_x2_s21_100ms_plain"] == [960] and steps["wdsr_x2_8x24"] == steps["wdsr_x2_37k"] == [960, None]
    assert steps["wdsr_x2_37k_tenth"] == [96] and steps["wdsr_x2_37k_hundredth"] == [9]
    assert jobs["supernet_x4"].needs == ("supernet_x2",) and jobs["wdsr_x4_s21_70ms"].needs == ("supernet_x4",)
    argv = jobs["wdsr_x4_s21_70ms"].steps[0].argv
    assert argv[argv.index("--width-steps") + 1] == "20" and argv[argv.index("--depth-steps") + 1] == "40"
    for job in jobs.values():
        for step in job.steps[: -1 if len(job.steps) > 1 else None]:
            taught = "--teacher" in step.argv
            assert taught == ("train" in step.argv and not job.name.startswith("supernet"))
            assert ("--teacher-ensemble" in step.argv) == taught and step.asked.get("teacher_ensemble", False) == taught
    halving = recipe.jobs(recipe.Recipe(search_steps=60, race_steps=40, steps=900), PLACES)
    searched, plain = (next(j for j in halving if j.name == n).steps[0] for n in ("wdsr_x2_s21_40ms", "wdsr_x2_8x24"))
    assert searched.asked["race_steps"] == 40 and plain.asked["steps"] == 1000
    single = recipe.jobs(recipe.Recipe(teacher_ensemble=False), PLACES)
    assert not any("--teacher-ensemble" in step.argv for job in single for step in job.steps)
    assert single[-1].steps[0].asked["teacher_ensemble"] is False
    alone = recipe.jobs(recipe.Recipe(teacher_share=None), PLACES)
    assert not any(word.startswith("--teacher") for job in alone for step in job.steps for word in step.argv)


def test_what_a_result_must_tell():
    """All that is known before, so that a change of the recipe is noticed."""
    jobs = {job.name: job for job in recipe.jobs(recipe.Recipe(), PLACES)}
    asked = jobs["supernet_x4"].steps[0].asked
    assert asked["architecture"] == Architecture.uniform(4, 16, 24).to_json()
    assert jobs["wdsr_x2_37k_tenth"].steps[0].asked["architecture"] == Architecture.uniform(2, 3, 24).to_json()
    search, train, export = jobs["wdsr_x4_s21_70ms"].steps
    assert search.asked["supernet_weights"] == Path("work/supernet_x4/weights.safetensors")
    assert "architecture" not in train.asked and not export.asked
    assert export.source == Path("work/wdsr_x4_s21_70ms/weights.safetensors")


def test_plain_networks():
    found = {target.plain_name: recipe.plain_network(target) for target in recipe.TARGETS}
    assert found["wdsr_x2_8x24"] == Architecture.uniform(2, 8, 24)
    assert found["wdsr_x2_37k"] == Architecture.uniform(2, 3, 24)
    assert found["wdsr_x4_s21_70ms_plain"].scale == 4


def test_choosing():
    jobs = recipe.jobs(recipe.Recipe(), PLACES)
    assert [j.name for j in command.choose(jobs, "wdsr_x4_s21_70ms")] == [
        "supernet_x2",
        "supernet_x4",
        "wdsr_x4_s21_70ms",
    ]
    assert command.choose(jobs, "") == jobs
    with pytest.raises(SrTvmError, match="no job is named 'wdsr'; there are supernet_x2, "):
        command.choose(jobs, "wdsr")


def arguments(data, folder, *more):
    only = ["--only", "wdsr_x2_dsp_40ms"]
    size = [
        "--supernet",
        "wdsr-6x8",
        "--supernet-steps",
        "9",
        "--search-steps",
        "6",
        "--race-steps",
        "8",
        "--steps",
        "40",
    ]
    places = ["--data", str(data), "--work", str(folder / "work"), "--models", str(folder / "models")]
    return [*places, *only, *size, "--device", "cpu", "--jobs", "2", *more]


def call(data, folder, *more):
    return CliRunner().invoke(command.main, arguments(data, folder, *more))


def test_the_whole_recipe_killed_on_the_way(data, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    work, models = tmp_path / "work", tmp_path / "models"
    listed = call(data, tmp_path, "--list")
    assert listed.exit_code == 0 and "search 6 steps" in listed.output and not work.exists()
    line = [sys.executable, str(SCRIPT), *arguments(data, tmp_path)]
    with subprocess.Popen(line, stderr=subprocess.DEVNULL) as first:
        begin = time.monotonic()
        while not (work / "supernet_x2/checkpoint.safetensors").exists():
            assert first.poll() is None and time.monotonic() - begin < 120
            time.sleep(0.02)
        os.kill(first.pid, signal.SIGKILL)
    done = call(data, tmp_path)
    assert done.exit_code == 0, (done.output, done.exception)
    name = "wdsr_x2_dsp_40ms"
    net = load_weights(models / f"{name}.safetensors")
    assert Architecture.load(models / f"{name}.json") == net.architecture and (models / f"{name}.onnx").is_file()
    histories = {h["name"]: h for h in ship.read(models)}
    assert histories.keys() == {name, "supernet_x2"}
    assert not (models / "supernet_x2.safetensors").exists()
    told = histories[name]
    assert told["weights"] == ship.digest(models / f"{name}.safetensors") and told["params"] == net.architecture.params
    assert told["search"]["result"]["budget"] == 40 and told["training"]["rows"][-1]["step"] == 40
    assert told["role"] == "searched" and histories["supernet_x2"]["search"] is None
    # All that a step leaves is known by name, so that what it says to remove is enough to make it anew.
    left = {p.name for p in (work / name).iterdir() if p.is_file()}
    assert left == {*recipe.TRAINED, ship.ONNX}
    assert {p.name for p in (work / name / "search").iterdir()} <= {*recipe.FOUND}
    # Nothing is done again, and other settings do not pass for these.
    stamps = {p: p.stat().st_mtime_ns for p in [*models.rglob("*"), *work.rglob("*.safetensors")]}
    assert call(data, tmp_path).exit_code == 0
    assert stamps == {p: p.stat().st_mtime_ns for p in stamps}
    other = call(data, tmp_path, "--steps", "50")
    assert isinstance(other.exception, SrTvmError) and "1 failed" in str(other.exception)
    assert "was made with steps 40, now it is 50" in other.output
    # What is trained again is exported again, and an export that was never begun does not say so.
    weights, onnx = work / name / "weights.safetensors", work / name / ship.ONNX
    os.utime(weights, ns=(onnx.stat().st_mtime_ns + 1,) * 2)
    assert "older than" in call(data, tmp_path, "--list").output
    before = onnx.stat().st_mtime_ns
    assert call(data, tmp_path).exit_code == 0 and onnx.stat().st_mtime_ns > before


def test_results_go_elsewhere_unless_asked(data, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "run", lambda runner, console: None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    seen = []
    monkeypatch.setattr(command, "jobs", lambda asked, places: seen.append(places.models) or [])
    for more in ([], ["--models", str(tmp_path / "m")]):
        found = CliRunner().invoke(command.main, ["--data", str(data), "--work", str(tmp_path / "w"), *more])
        assert found.exit_code == 0, (found.output, found.exception)
    assert seen == [tmp_path / "w/shipped", tmp_path / "m"]


def test_no_test_picture_in_training(data, tmp_path, monkeypatch):
    """Of any set and in any folder below it, not of the one that is scored on alone."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shutil.copytree(data, tmp_path / "data")
    hidden = tmp_path / "data/eval/Urban100/HR"
    hidden.mkdir(parents=True)
    # As test sets are cut for x4: two rows less than in training, which x2 alone would not notice.
    picture = np.asarray(Image.open(tmp_path / "data/train/T91/1.png"))
    Image.fromarray(np.concatenate([picture, picture[:2]])).save(tmp_path / "data/train/T91/1.png")
    Image.fromarray(picture).save(hidden / "x.png")
    started = []
    monkeypatch.setattr(command, "run", lambda *_: started.append(1))
    found = CliRunner().invoke(command.main, ["--data", str(tmp_path / "data"), "--work", str(tmp_path / "w")])
    assert isinstance(found.exception, SrTvmError) and "1.png is the validation picture" in str(found.exception)
    assert str(hidden / "x.png") in str(found.exception) and not started


def test_the_commands_of_the_readme_are_ones_that_work():
    text = SCRIPT.with_name("README.md").read_text()
    lines = re.findall(r"^ *\.venv/bin/python models/train\.py (.*?) *(?:#.*)?$", text, re.MULTILINE)
    assert len(lines) >= 4 and any("--models models" in line for line in lines)
    for line in lines:
        command.main.make_context("train.py", shlex.split(line))


def test_bad_places(tmp_path, data):
    with pytest.raises(SrTvmError, match="no folder of training pictures"):
        looked_at.train_folders(tmp_path)
    (tmp_path / "file").write_text("")
    found = call(data, tmp_path, "--work", str(tmp_path / "file" / "work"))
    assert isinstance(found.exception, SrTvmError) and "name another --work" in str(found.exception)


def test_a_work_folder_in_use(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "PATIENCE", 0.0)
    with command.alone(tmp_path, print), pytest.raises(SrTvmError, match="another run is at work there"):
        with command.alone(tmp_path, print):
            pass
    with command.alone(tmp_path, print):
        pass
