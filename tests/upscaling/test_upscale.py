"""Pictures through compiled networks: tiles don't show, every kind of pixel comes out right, nothing half-written."""

import dataclasses
import os
import shutil
import signal

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image

from sr_tvm.architecture import Architecture
from sr_tvm.errors import SrTvmError
from sr_tvm.frontend.export import export_onnx
from sr_tvm.nets.fsrcnn import FSRCNN
from sr_tvm.nets.wdsr import WDSR
from sr_tvm.upscaling import cache, planes, upscale, writing
from sr_tvm.upscaling.images import Picture, read_picture
from sr_tvm.upscaling.model import Model, open_model
from sr_tvm.upscaling.network import Network
from sr_tvm.upscaling.upscale import upscale_file

TILE = 24


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("upscale")


@pytest.fixture(autouse=True)
def own_cache(folder, monkeypatch):
    """One cache for all tests here, and never the user's."""
    monkeypatch.setattr(cache, "cache_folder", lambda: folder / "cache")


def export(folder, name, net, channels, size=None):
    path = folder / name
    export_onnx(net.eval(), path, (1, channels, *(size or (32, 32))), dynamic=size is None, exporter="torchscript")
    return path


def wdsr(scale, depth=2):
    torch.manual_seed(scale)
    return WDSR(Architecture.uniform(scale, depth, 8))


@pytest.fixture(scope="session")
def model(folder):
    return export(folder, "wdsr2.onnx", wdsr(2), 3)


@pytest.fixture(scope="session")
def plain_model(folder):
    """The least that enlarges: one convolution and a shuffle, quick to compile, of no architecture that we know."""
    torch.manual_seed(1)
    return export(
        folder, "plain.onnx", torch.nn.Sequential(torch.nn.Conv2d(3, 12, 3, padding=1), torch.nn.PixelShuffle(2)), 3
    )


@pytest.fixture(scope="session")
def luma_model(folder):
    torch.manual_seed(3)
    return export(folder, "fsrcnn3.onnx", FSRCNN(3), 1)


def noise(height, width, channels, dtype=np.uint8):
    return np.random.default_rng(height * width).integers(0, np.iinfo(dtype).max + 1, (height, width, channels), dtype)


def save(path, pixels):
    writing.write_picture(path, Picture(pixels), writing.output_format(path))
    return path


def reference(model, planar):
    """onnxruntime on the whole picture: (C, H, W) floats to (C, sH, sW)."""
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: planar[None].astype(np.float32)})[0][0]


def reference_rgb(model, pixels):
    """The whole RGB picture, as 0..1 floats (H, W, 3)."""
    x = (pixels / np.iinfo(pixels.dtype).max).transpose(2, 0, 1)
    return reference(model, x).transpose(1, 2, 0)


def assert_same_pixels(got, floats, share=1e-3):
    """Equal to the rounded floats but where these are within float error of a tie."""
    expected = planes.to_pixels(floats, got.dtype)
    assert got.shape == expected.shape
    difference = np.abs(got.astype(int) - expected)
    assert difference.max() <= 1
    assert (difference > 0).mean() <= share


@pytest.mark.parametrize("size", [(61, 83), (1, 1), (1, 40), (40, 1), (23, 24), (24, 24), (25, 24), (2, 2), (47, 53)])
def test_tiled_equals_the_whole_picture(tmp_path, model, size):
    pixels = noise(*size, 3)
    src = save(tmp_path / "a.png", pixels)
    done = upscale_file(src, tmp_path / "b.png", model, tile=TILE)
    got = read_picture(tmp_path / "b.png").pixels
    assert got.shape == (2 * size[0], 2 * size[1], 3)
    assert_same_pixels(got, reference_rgb(model, pixels))
    assert done.output_size == (2 * size[1], 2 * size[0])
    assert (done.tiles == 1) == (max(size) <= TILE)


def test_tiles_of_any_size_give_the_very_same_pixels(tmp_path, model):
    """Compiled at another shape the same kernels give the same numbers, so there is not even rounding at a seam."""
    src = save(tmp_path / "a.png", noise(61, 83, 3))
    results = []
    for tile in (24, 40, 1000):
        upscale_file(src, tmp_path / "b.png", model, tile=tile)
        results.append(read_picture(tmp_path / "b.png").pixels)
    for result in results[:-1]:
        assert np.abs(result.astype(int) - results[-1]).max() <= 1
        assert (result != results[-1]).mean() <= 1e-4


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_do_not_change_the_result(tmp_path, model, threads):
    if threads > len(os.sched_getaffinity(0)):
        pytest.skip("one core only")
    pixels = noise(30, 30, 3)
    done = upscale_file(save(tmp_path / "a.png", pixels), tmp_path / "b.png", model, tile=TILE, threads=threads)
    assert done.threads == threads
    assert_same_pixels(read_picture(tmp_path / "b.png").pixels, reference_rgb(model, pixels))


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_16_bits_are_kept(tmp_path, model, suffix):
    pixels = noise(30, 41, 3, np.uint16)
    upscale_file(save(tmp_path / "a.png", pixels), tmp_path / f"b{suffix}", model, tile=TILE)
    got = read_picture(tmp_path / f"b{suffix}").pixels
    assert got.dtype == np.uint16
    assert_same_pixels(got, reference_rgb(model, pixels), share=0.03)


def test_16_bits_to_a_format_of_8(tmp_path, model):
    y, x = np.mgrid[:30, :30]
    pixels = np.repeat((1000 * (x + y))[..., None], 3, axis=2).astype(np.uint16)
    done = upscale_file(save(tmp_path / "a.png", pixels), tmp_path / "b.jpg", model, tile=TILE)
    assert done.bits == 8
    with Image.open(tmp_path / "b.jpg") as image:
        assert image.size == (60, 60)
        expected = planes.to_pixels(reference_rgb(model, pixels), np.uint8)
        assert np.abs(np.asarray(image).astype(int) - expected).mean() < 8


def test_grey_in_grey_out(tmp_path, model):
    pixels = noise(30, 30, 1)
    upscale_file(save(tmp_path / "a.png", pixels), tmp_path / "b.png", model, tile=TILE)
    got = read_picture(tmp_path / "b.png").pixels
    whole = reference_rgb(model, np.repeat(pixels, 3, axis=2))
    assert_same_pixels(got, whole @ np.array([0.299, 0.587, 0.114])[:, None])


@pytest.mark.parametrize("channels", [2, 4])
def test_alpha_is_enlarged_bicubically_and_tiles_do_not_show(tmp_path, model, channels):
    pixels = noise(61, 50, channels)
    pixels[..., -1] = np.clip(pixels[..., -1], 1, 255)  # nothing hidden
    upscale_file(save(tmp_path / "a.png", pixels), tmp_path / "b.png", model, tile=TILE)
    got = read_picture(tmp_path / "b.png").pixels
    alpha = planes.bicubic(pixels[..., -1:].astype(np.float32) / 255, 2)
    assert (got[..., -1:] == planes.to_pixels(alpha, np.uint8)).all()
    if channels == 4:
        assert_same_pixels(got[..., :3], reference_rgb(model, pixels[..., :3]))


def test_hidden_colour_does_not_bleed(tmp_path, model):
    """A grey disc on transparency: what colour hides around it must not change the disc."""
    y, x = np.mgrid[:40, :40]
    disc = (x - 20) ** 2 + (y - 20) ** 2 < 150
    results = []
    for name, hidden in (("red", (255, 0, 0)), ("blue", (0, 0, 255))):
        pixels = np.empty((40, 40, 4), np.uint8)
        pixels[...] = (*hidden, 0)
        pixels[disc] = 128, 128, 128, 255
        upscale_file(save(tmp_path / f"{name}.png", pixels), tmp_path / "b.png", model, tile=TILE)
        results.append(read_picture(tmp_path / "b.png").pixels)
    assert (results[0] == results[1]).all()
    whole = reference_rgb(model, np.full((40, 40, 3), 128, np.uint8))
    visible = results[0][..., 3] > 0
    assert visible.any() and not visible.all()
    difference = results[0][..., :3].astype(int) - planes.to_pixels(whole, np.uint8)
    assert np.abs(difference[visible]).max() <= 1


def test_opaque_stays_opaque(tmp_path, model):
    pixels = noise(30, 30, 4)
    pixels[..., 3] = 255
    src = save(tmp_path / "a.png", pixels)
    upscale_file(src, tmp_path / "b.png", model, tile=TILE)
    assert (read_picture(tmp_path / "b.png").pixels[..., 3] == 255).all()
    upscale_file(src, tmp_path / "b.jpg", model, tile=TILE)  # an alpha that hides nothing is no loss
    assert read_picture(tmp_path / "b.jpg").pixels.shape == (60, 60, 3)


@pytest.mark.parametrize("scale", [3, 4])
def test_other_scales(tmp_path, folder, scale):
    model = export(folder, f"wdsr{scale}.onnx", wdsr(scale, depth=0), 3)
    pixels = noise(31, 26, 3)
    assert upscale_file(save(tmp_path / "a.png", pixels), tmp_path / "b.png", model, tile=TILE).scale == scale
    assert_same_pixels(read_picture(tmp_path / "b.png").pixels, reference_rgb(model, pixels))


def test_a_luma_network_on_colour(tmp_path, luma_model):
    """Against scikit-image's YCbCr: luma by the network, chroma bicubic."""
    from skimage.color import rgb2ycbcr, ycbcr2rgb

    pixels = noise(31, 60, 3)
    upscale_file(save(tmp_path / "a.png", pixels), tmp_path / "b.png", luma_model, tile=TILE)
    big = rgb2ycbcr(planes.bicubic(pixels.astype(np.float32) / 255, 3))
    big[..., 0] = reference(luma_model, rgb2ycbcr(pixels)[..., 0][None] / 255)[0] * 255
    assert_same_pixels(read_picture(tmp_path / "b.png").pixels, ycbcr2rgb(big))


@pytest.mark.parametrize("channels", [1, 3])
def test_evaluate_scores_the_pixels_that_upscale_writes(tmp_path, model, luma_model, channels):
    """What is in the tables is what users get: up to the last bits between the two engines."""
    from sr_tvm.training import onnx_model

    path, scale = (luma_model, 3) if channels == 1 else (model, 2)
    colour = noise(31, 45, 3)
    scored = onnx_model.upscaler(path, onnx_model.read(path), scale, 1)
    for name, pixels in (("colour", colour), ("grey", colour[..., :1].repeat(3, 2))):
        upscale_file(save(tmp_path / f"{name}.png", pixels), tmp_path / "b.png", path, tile=TILE)
        difference = np.abs(read_picture(tmp_path / "b.png").pixels.astype(int) - scored(pixels))
        assert difference.max() <= 1
        assert (difference > 0).mean() <= 1e-3


def test_new_weights_in_another_file_are_used(tmp_path, plain_model):
    """The .onnx stays byte for byte as it was; only the external data changes."""
    import onnx

    path, src = tmp_path / "net.onnx", save(tmp_path / "a.png", noise(8, 8, 3))
    proto = onnx.load(plain_model)
    onnx.save(proto, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    before = path.read_bytes()
    opened = open_model(path)
    assert opened.sha256 != open_model(plain_model).sha256
    upscale_file(src, tmp_path / "old.png", path)
    weights = np.fromfile(tmp_path / "w.bin", np.float32)
    (0.5 * weights).tofile(tmp_path / "w.bin")
    assert path.read_bytes() == before and open_model(path).sha256 != opened.sha256
    assert not upscale_file(src, tmp_path / "new.png", path).cached
    assert (read_picture(tmp_path / "new.png").pixels != read_picture(tmp_path / "old.png").pixels).any()
    artifact, _ = cache.compiled(open_model(path), (8, 8))
    assert artifact.model_sha256 == open_model(path).sha256


def test_a_luma_network_on_grey_is_as_on_the_same_in_colour(tmp_path, luma_model):
    pixels = noise(20, 20, 1)
    upscale_file(save(tmp_path / "a.png", pixels), tmp_path / "b.png", luma_model, tile=TILE)
    upscale_file(save(tmp_path / "c.png", np.repeat(pixels, 3, 2)), tmp_path / "d.png", luma_model, tile=TILE)
    grey, colour = (read_picture(tmp_path / name).pixels.astype(int) for name in ("b.png", "d.png"))
    assert grey.shape == (60, 60, 1)
    assert np.abs(colour - grey).max() <= 1


def test_exif_rotation(tmp_path, model):
    pixels = noise(20, 30, 3)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    upscale_file(tmp_path / "a.png", tmp_path / "b.png", model, tile=TILE)
    with Image.open(tmp_path / "b.png") as image:
        assert 0x0112 not in image.getexif()
        got = np.asarray(image)
    assert_same_pixels(got, reference_rgb(model, np.ascontiguousarray(np.rot90(pixels, -1))))


def test_an_artifact_folder_as_the_model(tmp_path, model):
    """An artifact knows its halo; its shape is fixed."""
    from sr_tvm.compiler import compile_model

    compile_model(model, "cpu", tmp_path / "artifact", {open_model(model).input_name: (1, 3, 20, 28)})
    pixels = noise(33, 50, 3)
    done = upscale_file(save(tmp_path / "a.png", pixels), tmp_path / "b.png", tmp_path / "artifact")
    assert done.tile == (20, 28) and done.tiles > 1
    assert_same_pixels(read_picture(tmp_path / "b.png").pixels, reference_rgb(model, pixels))
    with pytest.raises(SrTvmError, match="28x20 pixels and takes no smaller picture; this one is 10x33"):
        upscale_file(save(tmp_path / "c.png", noise(33, 10, 3)), tmp_path / "d.png", tmp_path / "artifact")


def test_an_artifact_that_does_not_say_how_far_it_looks(tmp_path, plain_model):
    compiled, _ = cache.compiled(open_model(plain_model), (24, 24), tmp_path / "cache")
    artifact = dataclasses.replace(compiled, halo=None)
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


def test_the_cache_is_used_and_mended(plain_model, tmp_path):
    opened = open_model(plain_model)
    first, cached = cache.compiled(opened, (8, 8), tmp_path)
    assert not cached
    assert cache.compiled(opened, (8, 8), tmp_path) == (first, True)
    assert cache.compiled(opened, (8, 9), tmp_path)[0].folder != first.folder
    first.library_path.write_bytes(b"damaged")
    again, cached = cache.compiled(opened, (8, 8), tmp_path)
    assert not cached and again.folder == first.folder
    Network(again)
    (again.folder / "artifact.json").write_text("{")
    assert not cache.compiled(opened, (8, 8), tmp_path)[1]
    assert len(list(tmp_path.iterdir())) == 2


def test_using_an_entry_saves_it_from_the_next_pruning(plain_model, tmp_path, monkeypatch):
    opened = open_model(plain_model)
    old, _ = cache.compiled(opened, (8, 8), tmp_path)
    idle, _ = cache.compiled(opened, (8, 9), tmp_path)
    for artifact in (old, idle):
        os.utime(artifact.folder, (1, 1))
    assert cache.compiled(opened, (8, 8), tmp_path)[1]
    monkeypatch.setattr(cache, "LIMIT_BYTES", 1)
    new, _ = cache.compiled(opened, (8, 10), tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([old.folder, new.folder])


def test_two_processes_may_fill_the_cache_at_once(plain_model, tmp_path, monkeypatch):
    """While this one compiles, another finishes the same entry."""
    from sr_tvm import compiler

    real = compiler.compile_model
    entries = []

    def slower(path, target, out, shapes):
        result = real(path, target, out, shapes)
        entry = out.with_name(out.name.rsplit(".", 1)[0])
        shutil.copytree(out, entry)
        entries.append(entry)
        return result

    monkeypatch.setattr(compiler, "compile_model", slower)
    artifact, _ = cache.compiled(open_model(plain_model), (9, 9), tmp_path)
    assert [artifact.folder] == entries == list(tmp_path.iterdir())


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


@pytest.mark.parametrize("stage", ["compiling", "enlarging", "writing"])
def test_ctrl_c_leaves_nothing(tmp_path, model, stage):
    src = save(tmp_path / "a.png", noise(61, 50, 3))

    def stop(now, done, total):
        if now == stage:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        upscale_file(src, tmp_path / "b.png", model, tile=TILE, progress=stop)
    assert os.listdir(tmp_path) == ["a.png"]


def test_progress_counts_every_tile(tmp_path, model):
    seen = []
    src = save(tmp_path / "a.png", noise(61, 50, 3))
    done = upscale_file(src, tmp_path / "b.png", model, tile=TILE, progress=lambda *a: seen.append(a))
    assert seen[0] == ("compiling", 0, 0)
    assert [d for s, d, _ in seen if s == "enlarging"] == list(range(1, done.tiles + 1))
    assert seen[-1] == ("writing", 122, 122)


def test_the_default_tile_is_told_in_the_help():
    from sr_tvm.cli.upscale import command

    default = {p.name: p.default for p in command.params}
    assert default["tile"] == upscale.TILE and default["max_megapixels"] == upscale.MAX_MEGAPIXELS


def test_a_model_record_is_plain_data(model):
    assert isinstance(open_model(model), Model) and open_model(model) == open_model(model)
