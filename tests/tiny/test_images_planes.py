"""Bicubic planes, rounding, luma and hidden colour."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sr_tvm.imaging import planes


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_bicubic_is_pillows_away_from_edges(scale):
    x = np.random.default_rng(0).random((12, 17), np.float32)
    theirs = np.asarray(Image.fromarray(x).resize((17 * scale, 12 * scale), Image.Resampling.BICUBIC))
    ours = planes.bicubic(x[..., None], scale)[..., 0]
    inner = slice(2 * scale, -2 * scale)
    np.testing.assert_allclose(ours[inner, inner], theirs[inner, inner], atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (5, 1)])
def test_bicubic_of_a_flat_plane_is_exactly_flat(shape):
    for value in (0.0, 1.0, 0.3):
        x = np.full((*shape, 1), value, np.float32)
        assert np.abs(planes.bicubic(x, 2) - np.float32(value)).max() <= 1e-7
        assert (planes.to_pixels(planes.bicubic(x, 2), np.uint16) == planes.to_pixels(x, np.uint16).max()).all()


def test_bicubic_does_not_know_where_it_is():
    x = np.random.default_rng(0).random((40, 40, 1), np.float32)
    whole = planes.bicubic(x, 3)
    part = planes.bicubic(x[10:30, 7:25], 3)
    assert (part[6:-6, 6:-6] == whole[36:84, 27:69]).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_float_and_back_is_the_same(dtype):
    every = np.arange(np.iinfo(dtype).max + 1).astype(dtype)
    assert (planes.to_pixels(planes.to_float(every), dtype) == every).all()


def test_rounding_is_to_nearest_and_clipped():
    x = np.array([-1, 0, 0.49 / 255, 0.51 / 255, 254.49 / 255, 254.51 / 255, 1, 2], np.float32)
    assert planes.to_pixels(x, np.uint8).tolist() == [0, 0, 0, 1, 254, 255, 255, 255]


def test_luma_is_bt601():
    from skimage.color import rgb2ycbcr

    x = np.random.default_rng(0).random((5, 6, 3)).astype(np.float32)
    np.testing.assert_allclose(planes.luma(x)[..., 0] * 255, rgb2ycbcr(x)[..., 0], atol=1e-3)


def test_replacing_luma_keeps_chroma():
    from skimage.color import rgb2ycbcr, ycbcr2rgb

    rng = np.random.default_rng(0)
    x, y = rng.random((5, 6, 3)).astype(np.float32), rng.random((5, 6, 1)).astype(np.float32)
    ycc = rgb2ycbcr(x.astype(np.float64))
    ycc[..., :1] = y * 255
    np.testing.assert_allclose(planes.with_luma(x, y), ycbcr2rgb(ycc), atol=1e-4)


def test_grey_and_luma_are_inverse():
    x = np.linspace(0, 1, 65536, dtype=np.float32)
    back = planes.luma_to_grey(planes.grey_to_luma(x))
    assert (planes.to_pixels(back, np.uint8) == planes.to_pixels(x, np.uint8)).mean() > 0.999
    np.testing.assert_allclose(back, x, atol=1e-6)


@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 6), st.integers(0, 999))
def test_hidden_colour_does_not_matter(height, width, reach, seed):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (height, width, 4), np.uint8)
    pixels[..., 3] *= rng.random((height, width)) < 0.2
    other = pixels.copy()
    other[other[..., 3] == 0, :3] = 77
    filled = planes.fill_hidden(pixels, reach)
    assert (filled == planes.fill_hidden(other, reach)).all()
    visible = pixels[..., 3] > 0
    assert (filled[visible] == pixels[visible]).all() and (filled[..., 3] == pixels[..., 3]).all()


def test_visible_colour_grows_into_hidden_pixels(monkeypatch):
    pixels = np.zeros((9, 9, 4), np.uint16)
    pixels[4, 4] = 60000, 30000, 123, 1
    filled = planes.fill_hidden(pixels, 2)
    assert (filled[2:7, 2:7, :3] == pixels[4, 4, :3]).all()
    assert (filled[1] == 0).all() and (filled[..., 3] == pixels[..., 3]).all()


def test_bands_do_not_show(monkeypatch):
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 256, (50, 20, 2), np.uint8)
    pixels[..., 1] *= rng.random((50, 20)) < 0.1
    whole = planes.fill_hidden(pixels, 4)
    monkeypatch.setattr(planes, "FILL_BAND", 7)
    assert (planes.fill_hidden(pixels, 4) == whole).all()


def test_an_opaque_picture_is_not_copied():
    pixels = np.full((3, 3, 2), 255, np.uint8)
    assert planes.fill_hidden(pixels, 5) is pixels
