"""What may be given as a model: ONNX files of fixed size, artifacts, and what is refused."""

import pytest
import torch
from msgspec import structs
from upscale_nets import assert_same_pixels, export, noise, reference_rgb, save, wdsr

from sr_tvm.errors import SrTvmError
from sr_tvm.frontend.export import export_onnx
from sr_tvm.imaging.reading import read_picture
from sr_tvm.upscaling import cache
from sr_tvm.upscaling.model import Model, open_model
from sr_tvm.upscaling.upscale import upscale_file


def test_an_artifact_folder_as_the_model(tmp_path, model):
    """An artifact knows its halo; its shape is fixed."""
    from sr_tvm.build.compiler import compile_model

    compile_model(model, "cpu", tmp_path / "artifact", {open_model(model).input_name: (1, 3, 20, 28)})
    pixels = noise(33, 50, 3)
    done = upscale_file(save(tmp_path / "a.png", pixels), tmp_path / "b.png", tmp_path / "artifact")
    assert done.tile == (20, 28) and done.tiles > 1
    assert_same_pixels(read_picture(tmp_path / "b.png").pixels, reference_rgb(model, pixels))
    with pytest.raises(SrTvmError, match="28x20 pixels and takes no smaller picture; this one is 10x33"):
        upscale_file(save(tmp_path / "c.png", noise(33, 10, 3)), tmp_path / "d.png", tmp_path / "artifact")


def test_an_artifact_that_does_not_say_how_far_it_looks(tmp_path, plain_model):
    compiled, _ = cache.compiled(open_model(plain_model), (24, 24), tmp_path / "cache")
    artifact = structs.replace(compiled, halo=None)
    artifact.save()
    pixels = noise(24, 24, 3)
    upscale_file(save(tmp_path / "a.png", pixels), tmp_path / "b.png", artifact.folder)
    assert_same_pixels(read_picture(tmp_path / "b.png").pixels, reference_rgb(plain_model, pixels))
    with pytest.raises(SrTvmError, match="does not say how far"):
        upscale_file(save(tmp_path / "a.png", noise(48, 48, 3)), tmp_path / "b.png", artifact.folder)


def test_a_model_of_fixed_size(tmp_path, folder):
    model = export(folder, "fixed.onnx", wdsr(2, depth=0), 3, size=(16, 22))
    pixels = noise(40, 45, 3)
    done = upscale_file(save(tmp_path / "a.png", pixels), tmp_path / "b.png", model)
    assert done.tile == (16, 22)
    whole = export(folder, "free.onnx", wdsr(2, depth=0), 3)
    assert_same_pixels(read_picture(tmp_path / "b.png").pixels, reference_rgb(whole, pixels))


def test_what_is_not_a_network_for_pictures(tmp_path, folder):
    flat = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 4))
    export_onnx(flat, tmp_path / "flat.onnx", (1, 3, 2, 2), exporter="torchscript")
    two = torch.nn.Conv2d(2, 2, 3, padding=1)
    export_onnx(two, tmp_path / "two.onnx", (1, 2, 8, 8), exporter="torchscript")
    for name, message in (("flat.onnx", "sees the whole picture"), ("two.onnx", "1x2x8x8; 1x3xHxW")):
        with pytest.raises(SrTvmError, match=message):
            open_model(tmp_path / name)


def test_damaged_weights_are_noticed(tmp_path, folder):
    net = torch.nn.Conv2d(3, 3, 3, padding=1)
    torch.nn.init.constant_(net.weight, 3e38)
    path = tmp_path / "bad.onnx"
    torch.onnx.export(net, (torch.zeros(1, 3, 8, 8),), path, dynamo=False, input_names=["x"])
    with pytest.raises(SrTvmError, match="NaN or infinite"):
        upscale_file(save(tmp_path / "a.png", noise(8, 8, 3)), tmp_path / "b.png", path)
    assert not (tmp_path / "b.png").exists()


def test_a_model_record_is_plain_data(model):
    assert isinstance(open_model(model), Model) and open_model(model) == open_model(model)
