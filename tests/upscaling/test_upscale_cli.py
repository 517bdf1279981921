"""``sr-tvm upscale`` as it is typed: results, and one clear line for everything that is wrong."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from sr_tvm.cli.main import main
from sr_tvm.frontend.export import export_onnx
from sr_tvm.nets.wdsr import WDSR
from sr_tvm.records.architecture import Architecture
from sr_tvm.upscaling import cache


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "small.onnx"
    torch.manual_seed(0)
    export_onnx(WDSR(Architecture.uniform(2, 1, 4)).eval(), path, (1, 3, 16, 16), dynamic=True, exporter="torchscript")
    return path


@pytest.fixture(autouse=True)
def place(tmp_path_factory, tmp_path, monkeypatch, model):
    monkeypatch.setattr(cache, "cache_folder", lambda: model.parent / "cache")
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 4), np.uint8)
    Image.fromarray(pixels[..., :3]).save("photo.png")
    Image.fromarray(pixels).save("alpha.png")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("hello")
    (tmp_path / "cut.png").write_bytes((tmp_path / "photo.png").read_bytes()[:900])
    (tmp_path / "folder").mkdir()
    return tmp_path


def run(*argv):
    with pytest.raises(SystemExit) as stop:
        main(["upscale", *map(str, argv)])
    return stop.value.code


def test_json(model, capsys, place):
    assert run("photo.png", "-o", "sub/big.webp", "--model", model, "--threads", 1, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["input_size"] == [30, 20] and told["output_size"] == [60, 40] and told["scale"] == 2
    assert told["tiles"] == 1 and told["threads"] == 1 and told["peak_memory_mb"] > 1
    assert set(told["seconds"]) == {"read", "network", "enlarge", "write"}
    with Image.open("sub/big.webp") as image:
        assert image.size == (60, 40)
    assert [p.name for p in (place / "sub").iterdir()] == ["big.webp"]


def test_plain_output_ends_with_the_file(model, capsys):
    assert run("alpha.png", "-o", "big.png", "--model", model) == 0
    out = capsys.readouterr().out.splitlines()
    assert "30x20 to 60x40 in 1 tiles" in out[-2] and out[-1] == "big.png"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["none.jpg", "-o", "b.png"], "none.jpg: no such file"),
        (["empty.jpg", "-o", "b.png"], "empty.jpg: is empty"),
        (["text.jpg", "-o", "b.png"], "text.jpg: not a picture"),
        (["cut.png", "-o", "b.png"], "cut.png: damaged or truncated"),
        (["folder", "-o", "b.png"], "folder: is a folder"),
        (["photo.png", "-o", "b.gif"], "'.gif' is not known; use .png"),
        (["photo.png", "-o", "b"], "no extension"),
        (["photo.png", "-o", "folder"], "no extension"),
        (["photo.png", "-o", "photo.png"], "is the input picture"),
        (["photo.png", "-o", "text.jpg/b.png"], "cannot write text.jpg/b.png"),
        (["alpha.png", "-o", "b.jpg"], "use .png"),
        (["photo.png", "-o", "b.png", "--max-megapixels", "0.0001"], "over the limit of 0.0001; raise it with"),
        (["photo.png", "-o", "b.png", "--tile", "6"], "use tiles of 7 or more"),
        (["photo.png", "-o", "b.png", "--threads", "9999"], "threads is 9999"),
        (["photo.png", "-o", "b.png", "--model", "none.onnx"], "none.onnx: no such file"),
        (["photo.png", "-o", "b.png", "--model", "text.jpg"], "text.jpg: not "),
        (["photo.png", "-o", "b.png", "--model", "empty.jpg"], "empty.jpg: is empty"),
        (["photo.png", "-o", "b.png", "--model", "folder"], "folder without artifact.json"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(model, capsys, place, argv, message):
    before = sorted(place.rglob("*"))
    if "--model" not in argv:
        argv = [*argv, "--model", model]
    assert run(*argv) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and message in lines[0]
    assert sorted(place.rglob("*")) == before


@pytest.mark.parametrize(
    "argv", [["photo.png"], ["photo.png", "-o", "b.png", "--tile", "0"], ["photo.png", "-o", "b.png", "--threads", "x"]]
)
def test_usage_errors(argv, place):
    assert run(*argv) == 2


def test_help_shows_an_example(capsys):
    assert run("--help") == 0
    assert "sr-tvm upscale photo.jpg -o big.png" in capsys.readouterr().out
