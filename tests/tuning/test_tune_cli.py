"""sr-tvm tune, as typed: what it refuses before any work."""

import pytest
from click.testing import CliRunner

from sr_tvm.cli.tune import command
from sr_tvm.errors import SrTvmError


def run(*args):
    return CliRunner().invoke(command, [str(a) for a in args])


@pytest.mark.parametrize("option", ["--tracker", "--key"])
def test_no_option_is_offered_that_is_always_refused(option):
    assert option not in run("--help").output
    assert run("none.onnx", "--target", "cpu", option, "x").exit_code == 2


def test_only_what_is_measured_here_can_be_tuned():
    error = run("none.onnx", "--target", "adreno").exception
    assert isinstance(error, SrTvmError) and "only cpu can be tuned" in str(error)


def test_folder_is_looked_at_before_the_model(tmp_path):
    (tmp_path / "file").write_text("")
    error = run("none.onnx", "--target", "cpu", "-o", tmp_path / "file").exception
    assert isinstance(error, SrTvmError) and "file is not a folder" in str(error)
