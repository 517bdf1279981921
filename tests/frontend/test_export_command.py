"""``sr-tvm export``: names, weights files, and what it refuses."""

import json
import sys
from pathlib import Path

import onnx
import pytest
import torch
from click.testing import CliRunner

import sr_tvm
from sr_tvm.cli.export import command
from sr_tvm.errors import SrTvmError
from sr_tvm.nets import registry
from sr_tvm.nets.weights import fold, save_weights


def run(*args: object) -> str:
    result = CliRunner().invoke(command, [str(a) for a in args], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def dims(path: Path) -> list:
    shape = onnx.load(path).graph.input[0].type.tensor_type.shape.dim
    return [d.dim_param or d.dim_value for d in shape]


def test_a_named_network_has_random_weights_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    said = run("wdsr-1x4", "-o", path, "--exporter", "torchscript")
    assert "random weights" in said
    assert f"sr-tvm compile {path}" in said
    assert dims(path) == [1, 3, "height", "width"]
    model = onnx.load(path)
    assert (model.graph.input[0].name, model.graph.output[0].name) == ("x", "y")
    props = {p.key: p.value for p in model.metadata_props}
    assert json.loads(props["sr_tvm.architecture"])["channels"] == 4


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_nothing_of_this_machine_is_in_the_file(exporter: str, tmp_path: Path) -> None:
    """dynamo notes the source lines of every node, with absolute paths."""
    path = tmp_path / "net.onnx"
    run("wdsr-1x4", "-o", path, "--exporter", exporter)
    content = path.read_bytes()
    for place in (sr_tvm.__file__, torch.__file__, sys.executable, path):
        assert str(Path(place).parent).encode() not in content
    assert b".py" not in content
    assert [p.key for p in onnx.load(path).metadata_props] == ["sr_tvm.architecture"]


def test_weights_file_with_a_fixed_shape_as_json(tmp_path: Path) -> None:
    save_weights(fold(registry.build("wdsr-1x4")), tmp_path / "w.safetensors")
    path = tmp_path / "net.onnx"
    args = ("--exporter", "torchscript", "--input-shape", "1x3x8x12", "--json", "--opset", 13)
    said = json.loads(run(tmp_path / "w.safetensors", "-o", path, *args))
    assert said["parity"]["ok"] is True
    assert said["random_weights"] is False
    assert said["input_shape"] == dims(path) == [1, 3, 8, 12]
    assert onnx.load(path).opset_import[0].version == 13


@pytest.mark.parametrize(
    "args",
    [["edsr"], ["none.safetensors"], ["fsrcnn", "--input-shape", "1x3x8x8"], ["wdsr-1x4", "--input-shape", "8x8"],
     ["vgg16", "--dynamic"]],
)  # fmt: skip
def test_what_it_refuses_leaves_nothing(args: list[str], tmp_path: Path) -> None:
    with pytest.raises(SrTvmError):
        run(*args, "-o", tmp_path / "net.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_scale_that_the_network_has_not_is_refused(tmp_path: Path) -> None:
    weights, path = tmp_path / "w.safetensors", tmp_path / "net.onnx"
    save_weights(fold(registry.build("wdsr-1x4")), weights)
    with pytest.raises(SrTvmError, match="is of scale 2, not 3"):
        run(weights, "-o", path, "--scale", 3)
    with pytest.raises(SrTvmError, match="leave out --scale"):
        run("vgg16", "-o", path, "--scale", 2)
    assert not path.exists()
    run(weights, "-o", path, "--scale", 2, "--exporter", "torchscript")


def test_a_bad_place_is_known_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(registry, "build", lambda *_: pytest.fail("the network was made first"))
    with pytest.raises(SrTvmError, match="is not a folder"):
        run("wdsr-1x4", "-o", tmp_path / "file" / "net.onnx")


def test_usage_errors_exit_with_2() -> None:
    given = ["wdsr-1x4", "-o", "n.onnx", "--dynamic", "--input-shape", "1x3x8x8"]
    assert CliRunner().invoke(command, given).exit_code == 2
