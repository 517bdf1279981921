"""Layouts: shapes, packing and its inverse; values of a region."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sr_tvm.regions.region import Conv, Region, Result, Source
from sr_tvm.regions.value import NCHW, NHCW, Layout, Value

LAYOUTS = ("NCHW", "NHCW", "NHWC", "NHWC4c", "NCHW4c", "NHCW16c", "CHWN", "NH32cCW")


@given(st.sampled_from(LAYOUTS), st.tuples(*(st.integers(1, n) for n in (3, 37, 4, 5))))
def test_what_is_packed_is_unpacked(axes, shape):
    layout = Layout(axes)
    array = np.arange(np.prod(shape), dtype="float32").reshape(shape)
    packed = layout.pack(array)
    assert packed.shape == layout.shape(*shape) and packed.flags.c_contiguous
    assert np.array_equal(layout.unpack(packed, shape[1]), array)
    assert packed.sum(dtype="float64") == array.sum(dtype="float64")  # what pads a group is zero


def test_where_a_pixel_lies():
    array = np.random.default_rng(0).random((2, 7, 3, 5), "float32")
    assert np.array_equal(NHCW.pack(array)[1, 2, 6], array[1, 6, 2])
    assert np.array_equal(Layout("NHWC4c").pack(array)[1, 2, 3, 1, :3], array[1, 4:7, 2, 3])
    assert NCHW.group == 1 and Layout("NHWC4c").group == 4


@pytest.mark.parametrize("axes", ["", "NCH", "NCHWW", "NCHWc", "NCHW4c4c", "NCHW0c", "nchw", "NCHW4h", "NCHW 4c"])
def test_what_is_no_layout_is_refused(axes):
    with pytest.raises(ValueError, match="N, C, H and W once each"):
        Layout(axes)


def test_values_of_a_region():
    conv = Conv("y", ("x",), np.zeros((12, 3, 3, 3), "float32"), np.zeros(12, "float32"), dtype="float16")
    region = Region((Source("x", 3), conv), (Result("y", 2),))
    assert region.value("x") == Value("x", 3) and region.value("x").shape(1, 5, 7) == (1, 3, 5, 7)
    shuffled = region.value("y", 2)
    assert (shuffled.channels, shuffled.dtype, shuffled.key) == (3, "float16", ("y", 2))
    assert shuffled.shape(1, 5, 7) == (1, 3, 10, 14)
    assert (
        region.describe()
        != Region((Source("x", 3), Conv("y", ("x",), conv.weight, conv.bias)), (Result("y", 2),)).describe()
    )
