"""What goes wrong is told in one line, and nothing half-written stays."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from sr_tvm.build.compiler import compile_model
from sr_tvm.build.options import CompileOptions
from sr_tvm.cli.compile import command
from sr_tvm.errors import SrTvmError
from sr_tvm.records.artifact import Artifact
from sr_tvm.targets import link


def tree(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


def test_interrupt_while_linking_leaves_nothing(
    tiny_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(link.programs.subprocess, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        compile_model(tiny_onnx, "cpu", tmp_path / "out", options=CompileOptions(use_shipped_log=False))
    assert tree(tmp_path) == []


def test_failure_after_linking_keeps_the_older_artifact(
    tiny_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    compile_model(tiny_onnx, "cpu", out, options=CompileOptions(use_shipped_log=False))
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    names = tree(tmp_path)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Artifact, "save", full)
    with pytest.raises(SrTvmError, match="cannot write .*out: No space left"):
        compile_model(tiny_onnx, "android-cpu", out, options=CompileOptions(use_shipped_log=False))
    assert tree(tmp_path) == names
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before
    assert Artifact.load(out).target == "cpu"


def test_linker_that_refuses_is_quoted(tiny_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = subprocess.run

    def with_bad_option(command: list[str], **kwargs: Any) -> Any:
        return real([*command, "--no-such-option"], **kwargs)

    monkeypatch.setattr(link.programs.subprocess, "run", with_bad_option)
    with pytest.raises(SrTvmError, match="cannot link model.so: .*no-such-option"):
        compile_model(tiny_onnx, "hexagon", tmp_path / "out", options=CompileOptions(use_shipped_log=False))
    assert tree(tmp_path) == []


def test_missing_ziglang_is_named(tiny_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SrTvmError, match="ziglang"):
        compile_model(tiny_onnx, "cpu", tmp_path / "out", options=CompileOptions(use_shipped_log=False))
    assert tree(tmp_path) == []


@pytest.mark.parametrize("content", [b"", b"not a model", None])
def test_bad_models_leave_nothing(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SrTvmError, match="model.onnx"):
        compile_model(path, "cpu", tmp_path / "out")
    assert tree(tmp_path) == (["model.onnx"] if content is not None else [])


def test_wrong_input_shape_is_refused(tiny_onnx: Path, tmp_path: Path) -> None:
    with pytest.raises(SrTvmError):
        compile_model(tiny_onnx, "cpu", tmp_path / "out", {"x": (1, 4, 16, 12)})
    assert tree(tmp_path) == []


def test_output_that_cannot_be_written_is_named(tiny_onnx: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(SrTvmError, match="cannot write .*out"):
        compile_model(tiny_onnx, "cpu", tmp_path / "file" / "out", options=CompileOptions(use_shipped_log=False))
    assert tree(tmp_path) == ["file"] and (tmp_path / "file").read_text() == "mine"


def test_missing_records_are_named(tiny_onnx: Path, tmp_path: Path) -> None:
    with pytest.raises(SrTvmError, match="nowhere"):
        compile_model(tiny_onnx, "cpu", tmp_path / "out", options=CompileOptions(tmp_path / "nowhere"))
    assert tree(tmp_path) == []


def test_command_compiles_and_prints_json(tiny_onnx: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    done = CliRunner().invoke(command, [str(tiny_onnx), "--target", "mali", "-o", out, "--no-shipped-log", "--json"])
    assert done.exit_code == 0, done.output
    value = json.loads(done.stdout)
    assert value["folder"] == out and value["target"] == "mali" and value["seconds"] > 0
    assert Artifact.load(out).library_sha256 == value["library_sha256"]


def test_command_fixes_the_input_shape(tiny_onnx: Path, tmp_path: Path) -> None:
    from sr_tvm.frontend.onnx_file import load_onnx

    model = load_onnx(tiny_onnx)
    for dim, name in zip(model.graph.input[0].type.tensor_type.shape.dim[2:], ("height", "width"), strict=True):
        dim.dim_param = name
    for dim, name in zip(model.graph.output[0].type.tensor_type.shape.dim[2:], ("oh", "ow"), strict=True):
        dim.dim_param = name
    del model.graph.value_info[:]
    path = tmp_path / "symbolic.onnx"
    path.write_bytes(model.SerializeToString())
    out = tmp_path / "out"
    with pytest.raises(SrTvmError, match="--input-shape"):  # the cpu would take it as a model for any size
        compile_model(path, "mali", out)
    arguments = [str(path), "--target", "cpu", "-o", str(out), "--input-shape", "1x3x8x10", "--no-shipped-log"]
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == 0, done.output
    artifact = Artifact.load(out)
    assert artifact.inputs[0].shape == (1, 3, 8, 10) and artifact.outputs[0].shape == (1, 3, 16, 20)
    assert "next: sr-tvm bench" in done.stdout
