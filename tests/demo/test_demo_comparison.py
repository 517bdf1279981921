"""The crop that is shown, and the photograph."""

from __future__ import annotations

import numpy as np

from sr_tvm.demo.comparison import best_crop, photograph


def test_crop_is_where_the_second_picture_gains_most() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(60, 200, (70, 90, 3), dtype=np.uint8)
    before = truth + np.uint8(10)
    after = before.copy()
    after[30:50, 41:61] = truth[30:50, 41:61]
    after[:20, :20] += np.uint8(20)
    assert best_crop(truth, before, after, 20) == (41, 30, 20, 20)


def test_crop_of_a_small_picture_is_all_of_it() -> None:
    tiny = np.zeros((5, 9, 3), np.uint8)
    assert best_crop(tiny, tiny, tiny)[2:] == (5, 5)


def test_photograph() -> None:
    assert photograph().shape == (512, 512, 3) and photograph().dtype == np.uint8
