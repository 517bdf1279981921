"""sr-tvm bench, devices, doctor and speed collect, as typed, on this machine and over RPC."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from sr_tvm import doctor as checks
from sr_tvm.cli import bench, devices, doctor, speed
from sr_tvm.errors import SrTvmError
from sr_tvm.runners.local import LocalRunner
from sr_tvm.speed.dataset import load


def run(command, *args, code=0):
    result = CliRunner().invoke(command, [str(a) for a in args])
    if isinstance(result.exception, SrTvmError):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def test_bench_here(artifact, tmp_path):
    dataset = tmp_path / "speed.jsonl"
    out = run(bench.command, artifact.folder, "--repeats", 3, "--append", dataset, "--per-operator").stdout
    assert "3 samples" in out and "conv2d" in out and "sr-tvm speed fit" in out
    answer = json.loads(run(bench.command, artifact.folder, "--repeats", 2, "--json").stdout)
    assert len(answer["measurement"]["samples"]) == 2
    assert [m.model for m in load(dataset)] == ["tiny.onnx"]


def test_bench_over_rpc(artifact, tracker, server, tmp_path):
    dataset = tmp_path / "speed.jsonl"
    run(bench.command, artifact.folder, "--tracker", tracker, "--key", "box", "--repeats", 2, "--append", dataset)
    (record,) = load(dataset)
    assert record.device == "box" and record.conditions["clock"] == "wall"


def test_bench_refuses(artifact, tmp_path, tracker, monkeypatch):
    assert CliRunner().invoke(bench.command, [str(artifact.folder), "--key", "box"]).exit_code == 2
    assert CliRunner().invoke(bench.command, [str(artifact.folder), "--repeats", "0"]).exit_code == 2
    with pytest.raises(SrTvmError, match=r"artifact.json: no such file"):
        run(bench.command, tmp_path)
    (tmp_path / "file").write_text("")
    for place in (tmp_path, tmp_path / "file" / "speed.jsonl"):  # said before anything is measured
        with monkeypatch.context() as patch, pytest.raises(SrTvmError, match=f"cannot write {place}"):
            patch.setattr(LocalRunner, "measure", lambda *_: pytest.fail("measured"))
            run(bench.command, artifact.folder, "--append", place)
    with pytest.raises(SrTvmError, match="threads is 4096"):
        run(bench.command, artifact.folder, "--threads", 4096)


def test_devices(tracker, server):
    answer = json.loads(run(devices.command, "--tracker", tracker, "--json").stdout)
    assert answer["local"]["cores"] >= 1 and [s["address"] for s in answer["servers"]] == [server.address]
    assert f"--tracker {tracker} --key box" in run(devices.command, "--tracker", tracker).stdout
    with pytest.raises(SrTvmError, match="127.0.0.1:1:"):
        run(devices.command, "--tracker", "127.0.0.1:1")


def test_devices_needs_no_tvm():
    code = "import sys; from sr_tvm.cli.devices import command; command(['--json'], standalone_mode=False)"
    done = subprocess.run(
        [sys.executable, "-c", code + "; assert 'tvm' not in sys.modules"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_collect_measures_once(tmp_path):
    pytest.importorskip("torch")
    dataset = tmp_path / "speed.jsonl"
    args = ["collect", "--count", 1, "--seed", 3, "--input-shape", "1x3x12x16", "--repeats", 2, "-o", dataset, "--json"]
    assert json.loads(run(speed.command, *args).stdout)["measured"] == 1
    assert json.loads(run(speed.command, *args).stdout) == {
        "dataset": str(dataset), "measured": 0, "there_already": 1
    }  # fmt: skip
    (record,) = load(dataset)
    assert record.architecture is not None and record.input_shape == (1, 3, 12, 16)


def test_doctor_is_well(monkeypatch):
    rows = json.loads(run(doctor.command, "--json").stdout)
    (cache,) = [r["found"] for r in rows["checks"] if r["check"] == "cache folder"]
    assert "artifacts: " in cache and "MB of at most 500" in cache
    assert rows["ok"] and {r["check"] for r in rows["checks"]} >= {"TVM's ffi", "TVM and LLVM", "linker", "disk"}


def test_doctor_names_what_is_wrong(monkeypatch, tmp_path):
    monkeypatch.setattr(checks, "version", lambda name: "0.1.15.post2")
    assert checks.tvm_ffi_pin().state == "fail" and "0.1.14.post1" in checks.tvm_ffi_pin().remedy
    monkeypatch.undo()

    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert checks.cache().state == "fail"

    def broken():
        """A check."""
        raise RuntimeError("first line\nlast line")

    assert checks.run(broken).state == "fail" and "last line" in checks.run(broken).found

    find = checks.importlib.util.find_spec
    monkeypatch.setattr(checks.importlib.util, "find_spec", lambda name: None if name == "ziglang" else find(name))
    assert checks.linker().state == "fail"
    monkeypatch.setattr(checks, "CHECKS", (checks.linker,))
    result = run(doctor.command, code=1)
    assert "pip install" in result.stdout
