from fractions import Fraction
from math import ceil, floor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sr_tvm.errors import SrTvmError
from sr_tvm.imaging.resize import contributions, imresize, low_resolution, modcrop

pictures = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9))


def cubic(x: Fraction) -> Fraction:
    x = abs(x)
    if x <= 1:
        return Fraction(3, 2) * x**3 - Fraction(5, 2) * x**2 + 1
    return Fraction(-1, 2) * x**3 + Fraction(5, 2) * x**2 - 4 * x + 2 if x < 2 else Fraction(0)


def exact_column(values: list[int], scale: Fraction) -> list[int]:
    """MATLAB's rule for one line of pixels, in exact arithmetic and one pixel at a time."""
    n, shrink, out = len(values), min(scale, Fraction(1)), []
    for x in range(1, ceil(n * scale) + 1):
        centre = Fraction(x) / scale + Fraction(1, 2) * (1 - 1 / scale)
        total = norm = Fraction(0)
        for p in range(floor(centre - 3 / shrink), ceil(centre + 3 / shrink) + 1):
            q = (p - 1) % (2 * n)
            weight = cubic(shrink * (centre - p))
            total += weight * values[q if q < n else 2 * n - 1 - q]
            norm += weight
        out.append(min(255, max(0, floor(total / norm + Fraction(1, 2)))))
    return out


def exact(image: np.ndarray, scale: Fraction) -> np.ndarray:
    tall = np.array([exact_column(list(map(int, c)), scale) for c in image.T]).T
    return np.array([exact_column(list(map(int, r)), scale) for r in tall])


def test_published_weights_of_half_size():
    read, weight = contributions(16, Fraction(1, 2))
    assert (weight[3] * 256).tolist() == [-3, -9, 29, 111, 111, 29, -9, -3]
    assert read[3].tolist() == [3, 4, 5, 6, 7, 8, 9, 10]


def test_published_weights_of_double_size():
    _, weight = contributions(16, Fraction(2))
    assert sorted((weight[8] * 128).tolist()) == [-9, -3, 29, 111]


def test_the_border_is_mirrored():
    read, _ = contributions(16, Fraction(1, 2))
    assert read[0].tolist() == [2, 1, 0, 0, 1, 2, 3, 4]


# Half, quarter, double: the weights are binary fractions, so ties and all, every bit must agree.
@settings(max_examples=60, deadline=None)
@given(pictures, st.sampled_from([Fraction(1, 2), Fraction(1, 4), Fraction(2)]))
def test_agrees_with_exact_arithmetic(image, scale):
    assert np.array_equal(imresize(image, scale), exact(image, scale))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_constant_stays(scale):
    image = np.full((12, 24, 3), 77, np.uint8)
    assert (imresize(low_resolution(image, scale), scale) == image).all()


def test_rows_are_rounded_before_columns():
    # Rounding in between makes the order of the two passes visible on such pixels.
    rng = np.random.default_rng(3)
    image = rng.integers(0, 256, (8, 8), np.uint8)
    swapped = imresize(image.T.copy(), Fraction(1, 2)).T
    assert not np.array_equal(imresize(image, Fraction(1, 2)), swapped)
    assert np.array_equal(imresize(image, Fraction(1, 2)), exact(image, Fraction(1, 2)))


def test_channels_are_independent():
    image = np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8)
    together = imresize(image, Fraction(1, 3))
    assert together.shape == (3, 4, 3)
    for c in range(3):
        assert np.array_equal(together[..., c], imresize(image[..., c], Fraction(1, 3)))


def test_modcrop_cuts_the_end():
    image = np.arange(7 * 5, dtype=np.uint8).reshape(7, 5)
    assert np.array_equal(modcrop(image, 3), image[:6, :3])


@pytest.mark.parametrize("bad", [np.zeros((3, 3)), np.zeros((0, 3), np.uint8), np.zeros(3, np.uint8)])
def test_refuses_what_is_not_a_picture(bad):
    with pytest.raises(SrTvmError, match="uint8"):
        imresize(bad, 2)


def test_refuses_a_scale_of_zero():
    with pytest.raises(SrTvmError, match="above zero"):
        imresize(np.zeros((3, 3), np.uint8), 0)
