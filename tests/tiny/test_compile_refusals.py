"""What `sr-tvm compile` refuses before any heavy import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from sr_tvm.build import compiler, output
from sr_tvm.cli._input_shapes import merge
from sr_tvm.cli.compile import command
from sr_tvm.errors import SrTvmError
from sr_tvm.targets import registry


def test_names_cost_no_import_of_tvm() -> None:
    assert registry.names() == ("cpu", "android-cpu", "adreno", "mali", "hexagon", "hexagon-float", "plain")
    done = CliRunner().invoke(command, ["--help"])
    assert done.exit_code == 0 and all(name in done.stdout for name in registry.names())
    # In a process of its own: other tests of this one may have imported TVM.
    code = "import sys, sr_tvm.cli.compile, sr_tvm.build.compiler; sys.exit('tvm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_unknown_target_lists_the_known(tmp_path: Path) -> None:
    known = ", ".join(registry.names())
    with pytest.raises(SrTvmError, match=f"unknown target 'gpu'; known are {known}"):
        compiler.compile_model(tmp_path / "absent.onnx", "gpu", tmp_path / "out")


def test_output_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(SrTvmError, match="name a folder"):
        output.check_output(tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"


def test_folder_of_other_things_is_not_replaced(tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_text("mine")
    with pytest.raises(SrTvmError, match="holds other files"):
        output.check_output(tmp_path)
    assert photo.exists()
    (tmp_path / "artifact.json").write_text("{}")
    output.check_output(tmp_path)


def test_empty_and_new_folders_are_fine(tmp_path: Path) -> None:
    output.check_output(tmp_path)
    output.check_output(tmp_path / "new" / "folder")


@pytest.mark.parametrize("records", ["out", "out/tuning", "out/../out/deep/er"])
def test_records_inside_the_output_are_not_destroyed(tmp_path: Path, records: str) -> None:
    with pytest.raises(SrTvmError, match="is replaced"):
        output.check_output(tmp_path / "out", tmp_path / records)
    output.check_output(tmp_path / "out", tmp_path / "outside")


def test_folders_that_cannot_be_replaced_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / "a" / "artifact.json").write_text("{}")
    (tmp_path / "link").symlink_to(inner)
    monkeypatch.chdir(inner)
    for place in (".", "..", inner, tmp_path / "link", tmp_path / "a"):
        with pytest.raises(SrTvmError, match="current folder"):
            output.check_output(place)
    monkeypatch.chdir(tmp_path)
    output.check_output(inner)
    monkeypatch.setattr(Path, "is_mount", lambda self: True)
    with pytest.raises(SrTvmError, match="mount point"):
        output.check_output(inner)


def test_bad_places_and_shapes_are_known_before_the_model_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    start = [str(tmp_path / "absent.onnx"), "--target", "cpu", "-o"]
    done = CliRunner().invoke(command, [*start, str(tmp_path / "file" / "out")])
    assert isinstance(done.exception, SrTvmError) and "is not a folder" in str(done.exception)
    shapes = {
        ("1x3x8x8", "y:1x3x8x8"): "must name its input",
        ("x:1x8", "x:1x8"): "'x' twice",
        ("8y",): "not of the form",
    }
    for texts, words in shapes.items():
        given = [part for text in texts for part in ("--input-shape", text)]
        done = CliRunner().invoke(command, [*start, str(tmp_path / "out"), *given])
        assert isinstance(done.exception, SrTvmError) and words in str(done.exception)


def test_shapes_of_several_inputs_are_merged() -> None:
    assert merge(("x:1x8", "y:2x4")) == {"x": (1, 8), "y": (2, 4)}
    assert merge(("1x8",)) == {"": (1, 8)} and merge(()) is None


def test_missing_option_is_a_usage_error() -> None:
    assert CliRunner().invoke(command, ["model.onnx", "--target", "cpu"]).exit_code == 2
