"""The timetable of streamed regions, by hand."""

from __future__ import annotations

import numpy as np

from sr_tvm.regions.delays import delays
from sr_tvm.regions.region import Add, Conv, Pointwise, Region, Result, Source


def conv(name: str, source: str, kh: int, kw: int = 1) -> Conv:
    return Conv(name, (source,), np.zeros((1, 1, kh, kw), "float32"), np.zeros(1, "float32"))


# x -> a (3 rows) -> b (1 row) -> c (5 rows) -> sum with x
SKIP = Region(
    (
        Source("x", 1),
        conv("a", "x", 3),
        Pointwise("b", ("a",), "relu", (), 1),
        conv("c", "b", 5),
        Add("sum", ("c", "x"), 1),
    ),
    (Result("sum"),),
)


def test_a_row_a_step():
    times = delays(SKIP)
    assert times.delay == {"x": 0, "a": 1, "b": 1, "c": 3, "sum": 3}
    # x waits for the sum, three steps later; b's five rows are one above its oldest reader's middle to its newest.
    assert times.live == {"x": 4, "a": 1, "b": 5, "c": 1, "sum": 1}
    assert times.steps(10) == 13


def test_rows_in_groups():
    times = delays(SKIP, 4)
    # A halo of any height up to the group's costs a whole step.
    assert times.delay == {"x": 0, "a": 1, "b": 1, "c": 2, "sum": 2}
    assert times.live == {"x": 12, "a": 4, "b": 10, "c": 4, "sum": 4}
    assert times.line_buffer("b") == 12
    assert times.steps(10) == 5


def test_a_wide_kernel_has_no_halo_of_rows():
    region = Region((Source("x", 1), conv("a", "x", 1, 9)), (Result("a"),))
    assert delays(region).live == {"x": 1, "a": 1} and delays(region).last == 0


def test_a_halo_higher_than_the_group():
    region = Region((Source("x", 1), conv("a", "x", 9)), (Result("a"),))
    times = delays(region, 3)
    assert times.delay["a"] == 2  # rows 0 to 2 need row 6
    assert times.live["x"] == 13  # rows -4 to 8
