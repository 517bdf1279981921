"""sr-tvm speed fit, evaluate and predict, from a dataset and from a CSV, as typed."""

import json

import pytest
from click.testing import CliRunner

from sr_tvm.cli.speed import command
from sr_tvm.errors import SrTvmError
from sr_tvm.records.architecture import Architecture
from sr_tvm.records.measurement import Measurement
from sr_tvm.speed.dataset import append
from sr_tvm.speed.sampling import random_architectures

CONDITIONS = {"threads": 1, "schedule": "default", "clock": "thread-cpu"}


def run(*args):
    result = CliRunner().invoke(command, [str(a) for a in args])
    if isinstance(result.exception, SrTvmError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


def add(path, architectures, device="cpu", **extra):
    for a in architectures:
        latency = a.macs(90, 160) / 1e7 + 0.2 * len(a.convolutions)
        record = Measurement(
            device, "cpu", "random", "0" * 64, (1, 3, 90, 160), (latency,), conditions={**CONDITIONS, **extra},
            architecture=a.to_json(),
        )  # fmt: skip
        append(path, record)


@pytest.fixture
def dataset(tmp_path):
    add(tmp_path / "speed.jsonl", random_architectures(10))
    return tmp_path / "speed.jsonl"


def test_fit_evaluate_predict(dataset, tmp_path):
    out = tmp_path / "model.json"
    facts = json.loads(run("fit", dataset, "-o", out, "--json").stdout)
    assert facts["samples"] == 10 and facts["median_relative_error"] < 0.02 and facts["source"] == "measured"
    assert "sr-tvm speed predict" in run("fit", dataset, "-o", out).stdout

    unseen = random_architectures(1, seed=5)[0]
    unseen.save(tmp_path / "arch.json")
    answer = json.loads(
        run("predict", tmp_path / "arch.json", "--model", out, "--input-shape", "1x3x90x160", "--json").stdout
    )
    expected = unseen.macs(90, 160) / 1e7 + 0.2 * len(unseen.convolutions)
    assert answer["predicted"] == pytest.approx(expected, rel=0.02) and answer["fitted_to"]["device"] == "cpu"

    rows = json.loads(run("evaluate", dataset, "--json").stdout)["rows"]
    assert len(rows) == 10
    assert json.loads(run("evaluate", dataset, "--model", out, "--json").stdout)["median_relative_error"] < 0.02


def test_other_groups_are_named_when_left_out(dataset):
    add(dataset, random_architectures(3, seed=2), device="phone")
    result = run("evaluate", dataset)
    assert "left out 3 network(s)" in result.stderr and "phone" in result.stderr
    only = json.loads(run("evaluate", dataset, "--device", "phone", "--json").stdout)
    assert only["samples"] == 3
    with pytest.raises(SrTvmError, match="on device 'tablet'"):
        run("evaluate", dataset, "--device", "tablet")


def test_a_csv_is_called_a_surrogate(tmp_path):
    path = tmp_path / "blocks.csv"
    rows = [f"{n},{6 * n},{n},{0.5 + n * n / 50}" for n in range(4, 40)]
    path.write_text("channels,expand,linear,toy_ms\n" + "\n".join(rows) + "\n")
    out = tmp_path / "m.json"
    assert json.loads(run("fit", path, "-o", out, "--json").stdout)["source"] == "stand-in"
    Architecture.uniform(2, 2, 16).save(tmp_path / "arch.json")
    result = run("predict", tmp_path / "arch.json", "--model", out, "--input-shape", "1x3x360x640")
    assert "surrogate" in result.stderr and "blocks only" not in result.stderr
    args = ("predict", tmp_path / "arch.json", "--input-shape", "1x3x360x640", "--json", "--model", out)
    whole = json.loads(run(*args).stdout)["predicted"]
    run("fit", path, "--blocks-only", "-o", out)
    assert 0 < json.loads(run(*args).stdout)["predicted"] < whole
    assert "blocks only" in run(*args[:4], *args[5:]).stderr


def test_a_csv_of_x4_is_of_its_input(tmp_path):
    path = tmp_path / "blocks.csv"
    path.write_text("channels,expand,linear,toy_x4_ms\n" + "".join(f"{n},{6 * n},{n},{n}\n" for n in range(4, 9)))
    told = json.loads(run("fit", path, "-o", tmp_path / "m.json", "--json").stdout)
    assert told["fitted_to"]["input_shape"] == [1, 3, 180, 320]


def test_half_a_line_is_a_note_not_a_traceback(dataset):
    with open(dataset, "ab") as handle:
        handle.write(b'{"half')
    result = run("evaluate", dataset)
    assert "half a line" in result.stderr and "Warning" not in result.stderr


@pytest.mark.parametrize("shape", ["1x3x90", "2x3x90x160", "1x1x90x160", "1x3x0x160", "axbxcxd", "1x3x90x99999999999"])
def test_bad_shapes_are_usage_errors(tmp_path, shape):
    result = CliRunner().invoke(command, ["predict", "a.json", "--model", "m.json", "--input-shape", shape])
    assert result.exit_code == 2 and "1x3x" in result.output


def test_errors(tmp_path, dataset):
    with pytest.raises(SrTvmError, match="no such file"):
        run("fit", tmp_path / "none.jsonl", "-o", tmp_path / "m.json")
    with pytest.raises(SrTvmError, match="too few"):
        add(tmp_path / "two.jsonl", random_architectures(2))
        run("fit", tmp_path / "two.jsonl", "-o", tmp_path / "m.json")
    assert not (tmp_path / "m.json").exists()
    with pytest.raises(SrTvmError, match="is not a folder"):
        run("fit", tmp_path / "none.jsonl", "-o", dataset / "m.json")
    assert CliRunner().invoke(command, ["fit", str(dataset), "-o", str(tmp_path / "m.txt")]).exit_code == 2
    assert CliRunner().invoke(command, ["fit", str(dataset), "--blocks-only", "-o", "m.json"]).exit_code == 2
    assert CliRunner().invoke(command, ["collect", "--device", "phone", "-o", "x"]).exit_code == 2
