"""One compiled network for pictures of every size: no seams, no second compilation, no sizes that fail."""

import numpy as np
import pytest
import torch
from msgspec import structs
from upscale_nets import TILE, assert_same_pixels, export, noise, reference_rgb, save

from sr_tvm.build.compiler import compile_model
from sr_tvm.errors import SrTvmError
from sr_tvm.imaging.reading import read_picture
from sr_tvm.targets.cpu.host import Cpu
from sr_tvm.targets.plain.lowering import PlainLowering
from sr_tvm.targets.target import Capabilities
from sr_tvm.upscaling import cache
from sr_tvm.upscaling.model import open_model
from sr_tvm.upscaling.prepare import streams
from sr_tvm.upscaling.upscale import upscale_file


@pytest.fixture(autouse=True)
def plain_lowering(monkeypatch):
    """Kernels that are quick to compile; what is fast does not matter here."""
    monkeypatch.setattr(Cpu, "lowering", lambda self, records=None: PlainLowering())


def test_photos_of_every_size_by_one_compilation(tmp_path, plain_model, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setattr(cache, "cache_folder", lambda: folder)
    for i, size in enumerate([(61, 83), (1, 1), (1, 40), (40, 1), (24, 24), (25, 24), (2, 2)]):
        pixels = noise(*size, 3)
        done = upscale_file(save(tmp_path / "a.png", pixels), tmp_path / "b.png", plain_model, tile=TILE)
        assert_same_pixels(read_picture(tmp_path / "b.png").pixels, reference_rgb(plain_model, pixels))
        assert done.any_size and done.cached == (i > 0)
        assert (done.tiles == 1) == (max(size) <= TILE)
    assert len([entry for entry in folder.iterdir() if entry.name != ".lock"]) == 1


def test_tiles_of_any_size_give_the_same_pixels(tmp_path, model):
    src = save(tmp_path / "a.png", noise(61, 83, 3))
    results = []
    for tile in (24, 40, 1000):
        upscale_file(src, tmp_path / "b.png", model, tile=tile)
        results.append(read_picture(tmp_path / "b.png").pixels)
    for result in results[:-1]:
        assert np.abs(result.astype(int) - results[-1]).max() <= 1
        assert (result != results[-1]).mean() <= 1e-4


def test_an_artifact_folder_for_any_size(tmp_path, plain_model):
    artifact = compile_model(plain_model, "cpu", tmp_path / "artifact")
    assert artifact.inputs[0].shape == (1, 3, "height", "width")
    assert artifact.outputs[0].shape == (1, 3, "2*height", "2*width")
    for size in ((33, 50), (5, 6)):
        pixels = noise(*size, 3)
        upscale_file(save(tmp_path / "a.png", pixels), tmp_path / "b.png", artifact.folder, tile=TILE)
        assert_same_pixels(read_picture(tmp_path / "b.png").pixels, reference_rgb(plain_model, pixels))


def test_a_network_that_needs_its_size_gets_one_for_each(tmp_path, folder):
    """Reflection looks past its own tile: no library for any size, but tiles of a fixed size as before."""
    net = torch.nn.Sequential(torch.nn.ReflectionPad2d(1), torch.nn.Conv2d(3, 12, 3), torch.nn.PixelShuffle(2))
    model = export(folder, "reflection.onnx", net, 3)
    assert not open_model(model).any_size
    pixels = noise(30, 41, 3)
    assert not upscale_file(save(tmp_path / "a.png", pixels), tmp_path / "b.png", model, tile=TILE).any_size
    assert_same_pixels(read_picture(tmp_path / "b.png").pixels, reference_rgb(model, pixels))


def test_plain_loops_for_any_size_are_not_used(tmp_path, plain_model, monkeypatch):
    monkeypatch.setattr(cache, "cache_folder", lambda: tmp_path / "cache")
    artifact, _ = cache.compiled(open_model(plain_model), None)
    slow = [{"kernel": "fused_conv2d_add", "device": "cpu", "calls": 1, "schedule": "default", "reduces": True}]
    fast = [{**slow[0], "kernel": "stream0", "reduces": False}, {**slow[0], "schedule": "tuned"}]
    assert all(not row["reduces"] for row in artifact.kernels)
    assert not streams(structs.replace(artifact, kernels=tuple(slow + fast)))
    assert streams(structs.replace(artifact, kernels=tuple(fast)))
    structs.replace(artifact, kernels=tuple(slow)).save()
    pixels = noise(20, 30, 3)
    done = upscale_file(save(tmp_path / "a.png", pixels), tmp_path / "b.png", plain_model, tile=TILE)
    assert not done.any_size and not done.cached
    assert_same_pixels(read_picture(tmp_path / "b.png").pixels, reference_rgb(plain_model, pixels))


def test_an_artifact_of_one_open_side_is_refused(tmp_path, plain_model):
    import onnx

    proto = onnx.load(plain_model)
    proto.graph.input[0].type.tensor_type.shape.dim[3].dim_value = 16
    onnx.save(proto, tmp_path / "half.onnx")
    compile_model(tmp_path / "half.onnx", "cpu", tmp_path / "artifact")
    with pytest.raises(SrTvmError, match="takes 1x3xheightx16; .* fix both height and width or neither"):
        open_model(tmp_path / "artifact")


def test_without_a_lowering_no_size_is_any(tmp_path, plain_model, monkeypatch):
    monkeypatch.setattr(Cpu, "lowering", lambda self: None)
    monkeypatch.setattr(Cpu, "capabilities", Capabilities("cpu"))
    with pytest.raises(SrTvmError, match="not fixed; fix it, for example --input-shape 1x3x360x640"):
        compile_model(plain_model, "cpu", tmp_path / "artifact")
    pixels = noise(8, 8, 3)
    assert not upscale_file(save(tmp_path / "a.png", pixels), tmp_path / "b.png", plain_model).any_size


def test_the_command_compiles_for_any_size(tmp_path, plain_model):
    from click.testing import CliRunner

    from sr_tvm.cli.compile import command

    for shape, made in (([], "1x3xheightxwidth"), (["--input-shape", "1x3xHxW"], "1x3xHxW")):
        arguments = [str(plain_model), "--target", "cpu", "-o", str(tmp_path / "out"), *shape]
        done = CliRunner().invoke(command, arguments, catch_exceptions=False)
        assert f"input {made}: 1 kernels" in done.output
        assert f"next: sr-tvm bench {tmp_path / 'out'} --input-shape 1x3x360x640" in done.output
