"""What `sr-tvm explain`, and `bench --isa`, refuse before they read the model."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from sr_tvm.cli import bench
from sr_tvm.cli.explain import command
from sr_tvm.errors import SrTvmError


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["--target", "bogus"], "unknown target 'bogus'"), (["--dump", "file/phases"], "is not a folder")],
)
def test_before_the_model_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments, words) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    done = CliRunner().invoke(command, ["absent.onnx", *arguments])
    assert isinstance(done.exception, SrTvmError) and words in str(done.exception)


@pytest.mark.parametrize("isa", [[], ["--isa", "adreno-660"]])
@pytest.mark.parametrize("option", [["--input-shape", "1x3x8x8"], ["--dump", "phases"], ["--target", "cpu"]])
def test_options_that_do_nothing_to_an_artifact(tmp_path: Path, isa, option) -> None:
    done = CliRunner().invoke(command, [str(tmp_path), *isa, *option])
    assert done.exit_code == 2 and f"{option[0]} does nothing here, leave it out" in done.output


@pytest.mark.parametrize("option", [["--repeats", "20"], ["--threads", "2"], ["--deadline", "9"]])
def test_options_that_do_nothing_to_an_estimate(option) -> None:
    done = CliRunner().invoke(bench.command, ["out", "--isa", "adreno-660", *option])
    assert done.exit_code == 2 and f"{option[0]} does nothing here, leave it out" in done.output
