"""The two commands as a user types them, in processes of their own."""

import json
import os
import re
import signal
import subprocess
import sys

import pytest

from sr_tvm.nets.wdsr import WDSR
from sr_tvm.nets.weights import load_weights, save_weights
from sr_tvm.records.architecture import Architecture

ENV = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}


def sr_tvm(*args, **more):
    line = [sys.executable, "-m", "sr_tvm", *map(str, args)]
    return subprocess.run(line, capture_output=True, text=True, env=ENV, timeout=120, **more)


def arguments(folders, tmp_path, *more):
    return [
        *("train", "--arch", "wdsr-1x4", "--data", folders[0], "--validate", folders[1], "-o", tmp_path / "run"),
        *("--batch", 2, "--patch", 16, "--threads", 1, "--device", "cpu", "--cache", tmp_path / "cache", *more),
    ]


def test_ctrl_c_then_the_same_command_goes_on(folders, tmp_path):
    line = [sys.executable, "-m", "sr_tvm", *map(str, arguments(folders, tmp_path, "--steps", 400))]
    line += ["--validate-every", "20"]
    with subprocess.Popen(line, stderr=subprocess.PIPE, text=True, env=ENV) as process:
        told = ""
        for text in process.stderr:  # the first validation says that training is under way
            told += text
            if text.startswith("step 20/400"):
                process.send_signal(signal.SIGINT)
        assert process.wait(60) == 1
    stopped = re.search(r"stopped at step (\d+) of 400; go on with:  sr-tvm train --arch wdsr-1x4", told)
    assert stopped and 20 <= int(stopped[1]) < 400, told
    assert "interrupted" in told and "Traceback" not in told
    again = subprocess.run(line, capture_output=True, text=True, env=ENV, timeout=120)
    assert again.returncode == 0, again.stderr
    assert "sr-tvm evaluate" in again.stderr and "step 20/400" not in again.stderr
    history = json.loads((tmp_path / "run/history.json").read_text())
    assert [row["step"] for row in history["rows"]] == list(range(20, 401, 20))
    assert load_weights(tmp_path / "run/weights.safetensors").architecture == Architecture.uniform(2, 1, 4)
    other = sr_tvm(*arguments(folders, tmp_path, "--steps", 500, "--validate-every", 20))
    assert other.returncode == 1 and "resume with 400" in other.stderr and other.stderr.count("\n") == 1


def test_training_without_validation(folders, tmp_path):
    place = tmp_path / "run"
    done = sr_tvm(
        *("train", "--arch", "wdsr-1x4", "--data", folders[0], "-o", place, "--steps", 6, "--validate-every", 4),
        *("--batch", 2, "--patch", 16, "--threads", 1, "--device", "cpu", "--cache", tmp_path / "cache"),
    )
    assert done.returncode == 0, done.stderr
    assert " dB" not in done.stderr and "step 4/6  loss" in done.stderr
    assert re.search(r"trained 6 steps, loss 0\.\d+: .*weights\.safetensors\n", done.stderr)
    assert (place / "weights.safetensors").is_file()


def test_what_is_drawn_is_told_in_the_history(folders, tmp_path):
    more = ["--steps", 4, "--detail", 0.5, "--shuffle", "--weigh", "train=2", "--late-patch", 24, "--late-share", 0.5]
    done = sr_tvm(*arguments(folders, tmp_path, *more))
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "run/history.json").read_text())["run"]
    assert told["detail"] == 0.5 and told["shuffle"] is True and told["weights"] == {"train": 2.0}
    assert (told["late_patch"], told["late_share"]) == (24, 0.5)


def test_a_slice_taught_by_what_it_was_cut_from(folders, tmp_path):
    from click.testing import CliRunner

    from sr_tvm.cli.train import command

    large, place = tmp_path / "large.safetensors", tmp_path / "run"
    save_weights(WDSR(Architecture.uniform(2, 2, 6)), large)
    line = ["--arch", "wdsr-1x4", "--data", folders[0], "-o", place, "--steps", 3, "--batch", 2, "--patch", 16]
    line += ["--device", "cpu", "--cache", tmp_path / "cache", "--init", large, "--teacher", large, "--no-graph"]
    done = CliRunner().invoke(command, [str(word) for word in line])
    assert done.exit_code == 0, done.output
    told = json.loads((place / "history.json").read_text())["run"]
    assert told["init"] == told["teacher"] and told["init"].startswith("large.safetensors (sha256 ")
    assert told["precision"] in ("float32", "bfloat16") and told["precision"] in done.output
    assert load_weights(place / "weights.safetensors").architecture == Architecture.uniform(2, 1, 4)


def test_evaluate_prints_one_json_object(folders, tmp_path):
    architecture = Architecture.uniform(2, 1, 4)
    path = tmp_path / "w.safetensors"
    save_weights(WDSR(architecture), path)
    done = sr_tvm("evaluate", path, "--data", folders[1], "--scale", 2, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["params"] == architecture.params
    assert told["macs_input"] == {"height": 360, "width": 640} and told["macs"] == architecture.macs(360, 640)
    assert told["images"] == 2 and told["scale"] == 2 and told["model"] == str(path)
    assert 0 < told["psnr_y"] < 60 and -1 <= told["ssim_y"] <= 1


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["evaluate", "bicubic", "--data", "nowhere"], "nowhere: no such folder"),
        (["evaluate", "missing.safetensors", "--data", "{validate}"], "no such file"),
        (["evaluate", "missing.onnx", "--data", "{validate}"], "no such file"),
        (["evaluate", "model.pth", "--data", "{validate}"], "bicubic"),
        (["train", "--arch", "resnet", "--data", "a", "--validate", "b", "-o", "{tmp}/o"], "wdsr-3x24"),
        (["train", "--arch", "wdsr-3x0", "--data", "a", "--validate", "b", "-o", "{tmp}/o"], "linear|expand|channels"),
        (["train", "--arch", "no.json", "--data", "a", "--validate", "b", "-o", "{tmp}/o"], "no such file"),
        (["train", "--arch", "wdsr-1x4", "--data", "nowhere", "--validate", "{validate}", "-o", "{tmp}/o"], "nowhere"),
        (["train", "--arch", "wdsr-1x4", "--data", "{train}", "--validate", "{train}", "-o", "{tmp}/o"], "worthless"),
        (["train", "--arch", "wdsr-1x4", "--data", "a", "--validate", "b", "-o", "/dev/null/o"], "cannot write"),
        (["train", "--arch", "wdsr-1x4", "--data", "a", "-o", "{tmp}/o", "--init", "w.safetensors"], "no such file"),
        (["train", "--arch", "wdsr-1x4", "--data", "a", "-o", "{tmp}/o", "--teacher", "{train}/0.png"], "not a safe"),
        (["train", "--arch", "wdsr-1x4", "--data", "a", "-o", "{tmp}/o", "--weigh", "cid22"], "cid22=2 is|=WEIGHT is"),
        (["train", "--arch", "wdsr-1x4", "--data", "{train}", "-o", "{tmp}/o", "--weigh", "x=2"], "given to 'x'"),
        (["train", "--arch", "wdsr-9x99", "--data", "a", "-o", "{tmp}/o", "--init", "{weights}"], "channels is 99"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_1(folders, tmp_path, monkeypatch, capsys, arguments, message):
    from sr_tvm.cli.main import main

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    weights = tmp_path / "w.safetensors"
    save_weights(WDSR(Architecture.uniform(2, 1, 4)), weights)
    names = {"weights": weights, "validate": folders[1], "train": folders[0], "tmp": tmp_path}
    with pytest.raises(SystemExit) as stop:
        main([a.format(**names) for a in arguments])
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert stop.value.code == 1 and len(told) == 1 and re.search(message, told[0])
