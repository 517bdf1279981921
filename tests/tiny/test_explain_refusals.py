"""What `sr-tvm explain` refuses before it reads the model."""

from pathlib import Path

import pytest
from click.testing import CliRunner

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
