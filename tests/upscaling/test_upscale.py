"""Pictures through compiled networks: tiles don't show, every kind of pixel comes out right, nothing half-written."""

import os
import signal

import numpy as np
import pytest
from PIL import Image
from upscale_nets import TILE, assert_same_pixels, export, noise, reference, reference_rgb, save, wdsr

from sr_tvm.imaging import planes, tiles
from sr_tvm.imaging.reading import MAX_MEGAPIXELS, read_picture
from sr_tvm.upscaling.upscale import upscale_file


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
    from sr_tvm.evaluation import onnx_model

    path, scale = (luma_model, 3) if channels == 1 else (model, 2)
    colour = noise(31, 45, 3)
    scored = onnx_model.upscaler(path, onnx_model.read(path), scale, 1)
    for name, pixels in (("colour", colour), ("grey", colour[..., :1].repeat(3, 2))):
        upscale_file(save(tmp_path / f"{name}.png", pixels), tmp_path / "b.png", path, tile=TILE)
        difference = np.abs(read_picture(tmp_path / "b.png").pixels.astype(int) - scored(pixels))
        assert difference.max() <= 1
        assert (difference > 0).mean() <= 1e-3


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


def test_the_defaults_are_told_in_the_help():
    from click.testing import CliRunner

    from sr_tvm.cli.upscale import command

    told = " ".join(CliRunner().invoke(command, ["--help"]).output.split())
    assert f"[default: {tiles.ANY_SIZE_TILE}, or {tiles.TILE} where" in told
    assert f"[default: {MAX_MEGAPIXELS};" in told
