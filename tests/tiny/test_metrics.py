import math

import numpy as np
import pytest
from skimage import data

from sr_tvm.errors import SrTvmError
from sr_tvm.imaging.metrics import luma, psnr_y, ssim_y


def test_luma_is_bt601_studio_range():
    colours = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    assert luma(colours)[0] == pytest.approx([16, 235, 81.481, 144.553, 40.966])


def test_psnr_of_a_known_difference():
    dark = np.full((20, 20, 3), 100, np.uint8)
    bright = np.full((20, 20, 3), 101, np.uint8)
    # one step of grey is 219/255 of a step of Y
    assert psnr_y(dark, bright, 2) == pytest.approx(20 * math.log10(255 / (219 / 255)))


def test_a_grey_picture_is_its_own_luma():
    grey = np.full((20, 20), 100, np.uint8)
    output = np.full((20, 20, 3), 101, np.uint8)
    assert psnr_y(grey, output, 2) == pytest.approx(20 * math.log10(255))


def test_the_border_does_not_count():
    a = data.astronaut()[:64, :64]
    b = a.copy()
    b[:2], b[-2:], b[:, :2], b[:, -2:] = 0, 0, 0, 0
    assert psnr_y(a, b, 2) == math.inf
    assert ssim_y(a, b, 2) == pytest.approx(1)
    assert psnr_y(a, b, 1) < 40


def test_ssim_against_its_definition():
    """The mean over all whole 11x11 Gaussian windows, written out (Wang et al. 2004)."""
    rng = np.random.default_rng(0)
    a = rng.integers(0, 256, (17, 19), np.uint8)
    b = np.clip(a + rng.normal(0, 20, a.shape), 0, 255).astype(np.uint8)
    t = np.arange(-5, 6)
    g = np.exp(-(t**2) / (2 * 1.5**2))
    window = np.outer(g, g) / g.sum() ** 2
    c1, c2, values = (0.01 * 255) ** 2, (0.03 * 255) ** 2, []
    for y in range(1, 17 - 11):
        for x in range(1, 19 - 11):
            p, q = (i[y : y + 11, x : x + 11].astype(float) for i in (a, b))
            mp, mq = (window * p).sum(), (window * q).sum()
            vp, vq = (window * p * p).sum() - mp**2, (window * q * q).sum() - mq**2
            cov = (window * p * q).sum() - mp * mq
            values.append((2 * mp * mq + c1) * (2 * cov + c2) / ((mp**2 + mq**2 + c1) * (vp + vq + c2)))
    assert ssim_y(a, b, 1) == pytest.approx(np.mean(values), abs=1e-9)


def test_refusals():
    a = np.zeros((20, 20, 3), np.uint8)
    with pytest.raises(SrTvmError, match="the reference"):
        psnr_y(a, a[:18], 2)
    with pytest.raises(SrTvmError, match="nothing left"):
        psnr_y(a[:4, :4], a[:4, :4], 2)
    with pytest.raises(SrTvmError, match="11 x 11"):
        ssim_y(a[:12, :12], a[:12, :12], 2)


def test_psnr_is_scikit_images():
    from skimage.metrics import peak_signal_noise_ratio

    rng = np.random.default_rng(0)
    a, b = (rng.integers(0, 256, (40, 50, 3), np.uint8) for _ in range(2))
    inside = np.s_[3:-3, 3:-3]
    wanted = peak_signal_noise_ratio(luma(a)[inside], luma(b)[inside], data_range=255)
    assert psnr_y(a, b, 3) == pytest.approx(wanted, rel=1e-12)
