"""The command as a user types it, in processes of its own."""

import json
import os
import re
import signal
import socket
import subprocess
import sys

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from sr_tvm.nets.weights import load_weights
from sr_tvm.records.architecture import Architecture
from sr_tvm.training.loop import CHECKPOINT

ENV = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "300"}
NAMES = ["architecture.json", "architecture.png", "architecture.svg", "checkpoint.safetensors", "history.json",
         "supernet.safetensors", "weights.safetensors"]  # fmt: skip


@pytest.fixture(scope="module")
def supernet(tmp_path_factory):
    path = tmp_path_factory.mktemp("supernet") / "arch.json"
    Architecture.uniform(2, 3, 6).save(path)
    return path


def arguments(folders, supernet, place, *more):
    return [
        *("search", "--scale", 2, "--latency", 8, "--device", "galaxy-s21", "--arch", supernet, "--data", folders[0]),
        *("--supernet-steps", 4, "--width-steps", 6, "--race-steps", 0, "--depth-steps", 6, "--finetune-steps", 4),
        *("--batch", 2, "--patch", 16, "--threads", 1, "--compute", "cpu", "--precision", "float32"),
        *("--validate-every", 5, "--cache", place / "cache", "-o", place / "run", *more),
    ]


def line(arguments):
    return [sys.executable, "-m", "sr_tvm", *map(str, arguments)]


def test_a_search_tells_what_it_found_and_what_to_type_next(folders, supernet, tmp_path):
    args = arguments(folders, supernet, tmp_path, "--validate", folders[1], "--halving-steps", 6)
    done = subprocess.run(line(args), capture_output=True, text=True, env=ENV, timeout=200)
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == NAMES
    assert "8 ms on galaxy-s21 (surrogate) for 360x640" in done.stderr
    assert re.search(r"step 5/26  width  loss 0\.\d+  \d+\.\d -> \d+\.\d ms  \d+\.\d\d dB  3 blocks of 6", done.stderr)
    assert re.search(r"step 16/26  halving  loss 0\.\d+  \d+\.\d ms .* [123] blocks of ", done.stderr)
    tells = r"predicted (\d\.\d\d) ms on galaxy-s21 \(surrogate\), ([0-3]\.\d)% under the budget"
    found = re.search(tells, done.stderr)
    assert found and 7.76 <= float(found[1]) <= 8
    a = Architecture.load(tmp_path / "run/architecture.json")
    assert load_weights(tmp_path / "run/weights.safetensors").architecture == a
    assert json.loads((tmp_path / "run/history.json").read_text())["result"]["speed_model"]["source"] == "stand-in"
    assert (tmp_path / "run/architecture.svg").read_text().count("</svg>") == 1
    assert (tmp_path / "run/architecture.png").read_bytes()[:4] == b"\x89PNG"
    for command in ("sr-tvm evaluate", "sr-tvm train --arch", f"--teacher {tmp_path / 'run/supernet.safetensors'}"):
        assert command in done.stderr
    assert "Traceback" not in done.stderr


def test_after_kill_9_the_same_command_ends_with_the_same(folders, supernet, tmp_path):
    """Killed in the middle of the depth phase; the checkpoint is that of the phase's beginning or later."""
    args = arguments(folders, supernet, tmp_path, "--depth-steps", 12)
    with subprocess.Popen(line(args), stderr=subprocess.PIPE, text=True, env=ENV) as process:
        for text in process.stderr:
            if text.startswith("step 15/"):
                process.kill()
        assert process.wait(60) == -signal.SIGKILL
    assert (tmp_path / "run" / CHECKPOINT).exists() and not (tmp_path / "run/weights.safetensors").exists()
    again = subprocess.run(line(args), capture_output=True, text=True, env=ENV, timeout=200)
    assert again.returncode == 0, again.stderr
    assert "step 5/" not in again.stderr and "step 15/26" in again.stderr
    args[args.index("-o") + 1] = tmp_path / "whole"
    whole = subprocess.run(line(args), capture_output=True, text=True, env=ENV, timeout=200)
    assert whole.returncode == 0, whole.stderr
    for name in ("weights.safetensors", "history.json", "architecture.svg"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "run" / name).read_bytes(), name


def test_two_processes_are_one_search(folders, supernet, tmp_path):
    """Under torchrun, on this machine alone: one prints and writes; up to rounding it is the search of one process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    args = arguments(folders, supernet, tmp_path, "--validate", folders[1])
    runner = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-addr", "127.0.0.1",
              "--master-port", str(port), "-m", "sr_tvm", *map(str, args)]  # fmt: skip
    done = subprocess.run(runner, capture_output=True, text=True, env=ENV, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("found ") == 1 and "2 processes" in done.stderr
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == NAMES
    args[args.index("-o") + 1] = tmp_path / "alone"
    alone = subprocess.run(line(args), capture_output=True, text=True, env=ENV, timeout=200)
    assert alone.returncode == 0, alone.stderr
    one, other = (load_file(tmp_path / name / "supernet.safetensors") for name in ("run", "alone"))
    # Adam divides a gradient by its size: where that is rounding alone, so is the step.
    close = torch.cat([(one[k] - other[k]).abs().flatten() for k in one])
    assert (close < 1e-5).float().mean() > 0.99
    rows = [json.loads((tmp_path / n / "history.json").read_text())["rows"][0] for n in ("run", "alone")]
    assert rows[0]["loss"] == pytest.approx(rows[1]["loss"], rel=1e-4)


@pytest.mark.parametrize(
    "change, message",
    [
        (("--latency", 500), "a latency of 500 cannot be reached: .*largest 12.74"),
        (("--latency", 0), "budget is 0.0"),
        (("--device", "pixel"), "no speed model of a device 'pixel'; known are .*galaxy-s21"),
        (("--supernet", "{arch}"), "leave out --arch"),
        (("--data", "nowhere"), "nowhere: no such folder"),
        (("--validate", "{train}"), "worthless"),
        (("--arch", "resnet"), "wdsr-3x24"),
        (("-o", "/dev/null/o"), "cannot write"),
        (("--width-steps", 0, "--depth-steps", 0), "there would be no search"),
        (("--supernet-steps", 0), "untrained supernet would be searched; give a trained --supernet"),
        (("--validate", "{tiny}"), "none of its 1 pictures can be used"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_1(folders, supernet, tmp_path, capsys, change, message):
    from sr_tvm.cli.main import main

    names = {"arch": supernet, "train": folders[0], "tiny": tmp_path / "tiny"}
    (tmp_path / "tiny").mkdir()
    Image.new("RGB", (10, 10)).save(tmp_path / "tiny/0.png")
    args = arguments(folders, supernet, tmp_path, *(str(c).format(**names) for c in change))
    if change[0] == "--data":
        args[args.index("--data") + 1] = "nowhere"
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in args])
    told = [text for text in capsys.readouterr().err.splitlines() if text.startswith("error: ")]
    assert stop.value.code == 1 and len(told) == 1 and re.search(message, told[0])


@pytest.mark.parametrize("size", ["360", "0x640", "360x640x3", "-3x5"])
def test_an_input_size_is_two_numbers(folders, supernet, tmp_path, size, capsys):
    from sr_tvm.cli.main import main

    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments(folders, supernet, tmp_path, f"--input={size}")])
    assert stop.value.code == 2 and "HxW" in capsys.readouterr().err


@pytest.mark.parametrize(
    "size, here, told", [(1, None, "sr-tvm"), (4, None, "torchrun --nproc-per-node 4 -m sr_tvm"),
                         (4, "2", "torchrun --nproc-per-node 2 -m sr_tvm")]
)  # fmt: skip
def test_what_goes_on_with_it_is_what_began_it(monkeypatch, size, here, told):
    from sr_tvm.cli.search import _again
    from sr_tvm.search.ddp import ProcessGroup

    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    if here:
        monkeypatch.setenv("LOCAL_WORLD_SIZE", here)
    monkeypatch.setattr(sys, "argv", ["/x/sr_tvm/__main__.py", "search", "--data", "my pictures"])
    assert _again(ProcessGroup(0, size)) == f"{told} search --data 'my pictures'"


def test_without_matplotlib_the_search_says_so(folders, supernet, tmp_path, capsys, monkeypatch):
    from sr_tvm.cli.main import main
    from sr_tvm.search import figure

    monkeypatch.setattr(figure, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments(folders, supernet, tmp_path)])
    assert stop.value.code == 0 and "matplotlib is not installed" in capsys.readouterr().err
    assert not (tmp_path / "run/architecture.svg").exists()
