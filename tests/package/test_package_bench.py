"""The benchmark program and the commands: what they print, and what they refuse."""

import json
import subprocess

import pytest
from click.testing import CliRunner
from msgspec import structs

from sr_tvm.cli.bench import command as bench
from sr_tvm.cli.package import command as package_command
from sr_tvm.errors import SrTvmError
from sr_tvm.package.bench import measure, read
from sr_tvm.package.record import Package
from sr_tvm.package.write import default_name, write_package
from sr_tvm.records import program as programs
from sr_tvm.records.artifact import Artifact

SMALL = ("--height", "24", "--width", "40", "--seconds", "0.2")


def _printed(program, *before, options=SMALL):
    done = subprocess.run([*before, program, *options], capture_output=True, text=True, timeout=300)
    return done, json.loads(done.stdout) if done.stdout else None


def test_the_program_checks_itself_and_measures(package):
    done, value = _printed(package.bench)
    assert done.returncode == 0 and value["error"] is None
    assert 0 <= value["error_of_peak"] < 1e-5 and value["replays"] == 20
    assert value["low_ms"] <= value["p50_ms"] <= value["high_ms"] <= value["samples_ms"][-1]
    assert value["p50_ms"] <= value["p90_ms"] and len(value["samples_ms"]) >= 10
    assert value["peak_kb"] * 1024 > value["workspace_bytes"]
    measurement = read(package, done.stdout, "it", "here")
    assert measurement.input_shape == (1, 3, 24, 40) and measurement.median == pytest.approx(value["p50_ms"], rel=0.1)


def test_the_program_for_a_phone(phone, need):
    done, value = _printed(phone.bench, need("qemu-aarch64", "qemu-aarch64-static"))
    assert done.returncode == 0 and value["machine"] == "aarch64" and value["error_of_peak"] < 1e-5


def test_a_program_of_wrong_weights_says_so(package, artifact, tmp_path):
    """The embedded output is the reference's, not the network's own."""
    data = package.bench.read_bytes()
    weights = (artifact.folder / programs.FOLDER / programs.WEIGHTS).read_bytes()
    at = data.index(weights[:256])
    broken = tmp_path / "bench"
    broken.write_bytes(data[: at + 3] + bytes([data[at + 3] ^ 0x40]) + data[at + 4 :])
    broken.chmod(0o755)
    done, value = _printed(broken)
    assert done.returncode == 1 and "reference" in value["error"]


@pytest.mark.parametrize(
    "options", [("--height",), ("--height", "0"), ("--threads", "x"), ("--what", "1"), ("--seconds", "-1")]
)
def test_the_program_refuses_options(package, options):
    done, value = _printed(package.bench, options=options)
    assert done.returncode == 2 and "usage" in done.stderr and value is None


def test_bench_runs_a_package(package):
    result = CliRunner().invoke(bench, [str(package.folder), "--input-shape", "1x3x24x40", "--json"])
    assert result.exit_code == 0, result.output
    value = json.loads(result.output)["measurement"]
    assert value["model"] == "Tiny net.onnx" and value["conditions"]["clock"] == "wall"


def test_bench_reads_what_a_phone_printed(phone, need):
    with pytest.raises(SrTvmError, match="adb push"):
        measure(phone, 24, 40, 1)
    done, _ = _printed(phone.bench, need("qemu-aarch64", "qemu-aarch64-static"))
    (phone.folder / "bench.json").write_text(done.stdout)
    assert measure(phone, 24, 40, 1).input_shape == (1, 3, 24, 40)
    assert CliRunner().invoke(bench, [str(phone.folder), "--isa", "adreno-660"]).exit_code == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"error": "replays differ"}, "replays differ"),
        ({"model_sha256": "0"}, "another model"),
        ({"schema": "x"}, "is not sr-tvm/package-bench"),
        ({"samples_ms": []}, r"field samples_ms is \[\]; a list of at least 1"),
        ({"samples_ms": [-1]}, "samples_ms"),
        ({"samples_ms": None}, "samples_ms"),
        ({"peak_kb": "5"}, "peak_kb"),
        ({"more": 1}, "unknown field"),
    ],
)
def test_other_output_is_refused(package, change, words):
    _, value = _printed(package.bench)
    with pytest.raises(SrTvmError, match=words):
        read(package, json.dumps({**value, **change}), "it", "here")
    with pytest.raises(SrTvmError, match="not one JSON object"):
        read(package, "hello", "it", "here")


def test_the_command(artifact, tmp_path):
    output = tmp_path / "made"
    result = CliRunner().invoke(package_command, [str(artifact.folder), "-o", str(output), "--name", "abc", "--json"])
    assert result.exit_code == 0, result.output
    record = json.loads(result.output)
    assert record["name"] == "abc" and all((output / file).stat().st_size == n for file, n in record["files"].items())
    for file in ("include/abc.h", "lib/libabc.a", "lib/libabc.so", "bin/abc-bench", "README.md", "licences/sr-tvm.txt"):
        assert file in record["files"]
    again = CliRunner().invoke(package_command, [str(artifact.folder), "-o", str(output)])
    assert again.exit_code == 0 and Package.load(output).name == "tiny_net"


def test_refusals(artifact, model, tmp_path):
    from sr_tvm.build.compiler import compile_model

    with pytest.raises(SrTvmError, match="C identifier"):
        write_package(artifact, tmp_path / "a", "no-name")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").touch()
    with pytest.raises(SrTvmError, match="other files"):
        write_package(artifact, tmp_path / "mine")
    fixed = compile_model(model, "cpu", tmp_path / "fixed", {"": (1, 3, 32, 32)})
    with pytest.raises(SrTvmError, match="one size only"):
        write_package(fixed, tmp_path / "b")
    (fixed.folder / "program" / "program.json").unlink()
    with pytest.raises(SrTvmError, match="holds no program"):
        write_package(fixed, tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_a_changed_program_is_refused(model, tmp_path):
    from sr_tvm.build.compiler import compile_model

    made = compile_model(model, "cpu", tmp_path / "made")
    (made.folder / "program" / "weights.bin").write_bytes(b"other")
    with pytest.raises(SrTvmError, match=r"weights.bin: is missing or not the file"):
        write_package(Artifact.load(made.folder), tmp_path / "package")


@pytest.mark.parametrize(
    ("file", "name"), [("Tiny net.onnx", "tiny_net"), ("4x.onnx", "net_4x"), ("Größe.onnx", "gr_e"), ("é.onnx", "net")]
)
def test_names(artifact, file, name):
    assert default_name(structs.replace(artifact, model=file)) == name
