"""Tiles cover a picture exactly once and keep their distance from edges that are not the picture's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sr_tvm.errors import SrTvmError
from sr_tvm.imaging.tiles import VECTOR, Rect, even_side, plan, side, spans

sizes = st.integers(1, 90)


@st.composite
def cases(draw):
    halo = draw(st.integers(0, 8))
    return draw(sizes), draw(sizes), draw(st.integers(2 * halo + 1, 40)), halo


@given(cases())
def test_every_pixel_is_kept_exactly_once(case):
    height, width, tile, halo = case
    count = np.zeros((height, width), int)
    for _, kept in plan(height, width, tile, halo):
        assert kept.height > 0 and kept.width > 0
        count[kept.slices] += 1
    assert (count == 1).all()


@given(cases())
def test_tiles_have_one_shape_and_lie_inside(case):
    height, width, tile, halo = case
    for read, _ in plan(height, width, tile, halo):
        assert (read.height, read.width) == (min(tile, height), min(tile, width))
        assert read.top >= 0 and read.left >= 0 and read.bottom <= height and read.right <= width


@given(cases())
def test_kept_pixels_are_a_halo_away_from_inner_edges(case):
    height, width, tile, halo = case
    for read, kept in plan(height, width, tile, halo):
        assert kept.top - read.top >= halo or read.top == 0
        assert kept.left - read.left >= halo or read.left == 0
        assert read.bottom - kept.bottom >= halo or read.bottom == height
        assert read.right - kept.right >= halo or read.right == width
        inside = kept.within(read)
        assert inside.top >= 0 and inside.left >= 0 and inside.bottom <= read.height and inside.right <= read.width


@given(sizes, st.integers(0, 8), st.integers(1, 40))
def test_no_tile_is_wasted(length, halo, extra):
    """Every tile but the shifted last one keeps all that the halo rule allows."""
    tile = 2 * halo + extra
    for start, end, y0, y1 in spans(length, tile, halo)[:-1]:
        assert y1 == end - halo and y0 == (0 if start == 0 else start + halo)


def test_a_box_filter_by_tiles_equals_the_whole():
    """The rule stated as what it is for: a zero-padded filter with that reach gives the same on tiles."""
    halo, tile = 3, 16
    picture = np.random.default_rng(0).integers(0, 99, (37, 50))

    def blur(x):
        padded = np.pad(x, halo)
        return np.lib.stride_tricks.sliding_window_view(padded, (2 * halo + 1, 2 * halo + 1)).sum((2, 3))

    result = np.full(picture.shape, -1)
    for read, kept in plan(*picture.shape, tile, halo):
        result[kept.slices] = blur(picture[read.slices])[kept.within(read).slices]
    assert (result == blur(picture)).all()


def test_tiles_too_small_for_the_halo_are_refused_only_when_needed():
    assert plan(10, 10, 10, 50) == [(Rect(0, 0, 10, 10), Rect(0, 0, 10, 10))]
    with pytest.raises(SrTvmError, match="use tiles of 11 or more"):
        plan(10, 100, 10, 5)


def test_nonsense_sizes_are_a_bug_of_the_caller():
    with pytest.raises(ValueError):
        spans(0, 8, 1)


def test_scaled():
    assert Rect(1, 2, 3, 5).scaled(3) == Rect(3, 6, 9, 15)


def test_tiles_need_not_be_square():
    tiles = plan(30, 50, (10, 20), 2)
    assert {(read.height, read.width) for read, _ in tiles} == {(10, 20)}
    assert sum(kept.height * kept.width for _, kept in tiles) == 30 * 50


@given(st.integers(1, 600), st.integers(1, 300), st.integers(0, 40))
def test_sides_of_tiles_are_whole_vectors_where_they_can_be(length, wanted, halo):
    tile = side(length, wanted, halo)
    assert 1 <= tile <= min(length, wanted)
    if length >= wanted:
        assert tile == wanted
    elif tile != length:
        assert tile % VECTOR == 0
        assert len(spans(length, tile, halo)) == 2
    else:
        shorter = range(VECTOR, length, VECTOR)
        assert length <= 2 * VECTOR or length % VECTOR == 0 or not any(2 * t >= length + 2 * halo for t in shorter)


def test_small_pictures_share_compiled_shapes():
    assert {side(length, 256, 5) for length in range(33, 256)} <= set(range(VECTOR, 257, VECTOR)) | {33, 34, 35, 36, 37}


@given(cases())
def test_tiles_for_any_size_are_as_few_and_no_longer_than_needed(case):
    length, _, wanted, halo = case
    tile = even_side(length, wanted, halo)
    assert tile <= wanted
    tiles = len(spans(length, tile, halo))
    assert tiles == len(spans(length, wanted, halo))
    if tiles > 1 and tile - 1 > 2 * halo:
        assert len(spans(length, tile - 1, halo)) > tiles


def test_a_picture_below_a_tile_is_one_of_any_size():
    assert even_side(83, 256, 5) == 83 and even_side(1, 256, 5) == 1
    assert even_side(1000, 256, 5) == 208
    with pytest.raises(SrTvmError, match="use tiles of 11 or more"):
        spans(1000, even_side(1000, 10, 5), 5)
