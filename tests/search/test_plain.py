"""The plain network of a budget, found here by a brute comparison: the slowest of the largest that fit."""

import pytest

from sr_tvm.errors import SrTvmError
from sr_tvm.records.architecture import Architecture
from sr_tvm.search.plain import latency_of, plain, under
from sr_tvm.speed.model import SURROGATE, SpeedModel
from sr_tvm.speed.physical import Physical

# One price for every MAC and one for each kernel.
MODEL = SpeedModel("physical", Physical((1e-9, 1e-9, 1e-9, 1e-9, 0.0, 0.5, 0.0)), SURROGATE, "ms", ends=False)


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("budget", [3.0, 7.0, 20.0])
def test_the_slowest_of_the_largest_that_fit(scale, budget):
    found = plain(MODEL, scale, budget, 180, 320)
    took = latency_of(MODEL, found, 180, 320)
    assert found.scale == scale and took <= budget
    for depth in range(1, 17):
        for channels in range(4, 25):
            other = Architecture.uniform(scale, depth, channels)
            latency = latency_of(MODEL, other, 180, 320)
            if latency <= budget:
                assert found.params >= 0.97 * other.params
                assert latency <= took or other.params < 0.97 * under(MODEL, scale, budget, 180, 320)[0][0].params


def test_fixed_channels_mean_most_blocks():
    found = plain(MODEL, 2, 7.0, 180, 320, channels=24)
    one = latency_of(MODEL, Architecture.uniform(2, 1, 24), 180, 320)
    assert found == Architecture.uniform(2, int(7.0 // one), 24)


def test_within_a_supernet():
    supernet = Architecture.uniform(2, 2, 12)
    assert plain(MODEL, 2, 100.0, 180, 320, within=supernet) == supernet
    small = plain(MODEL, 2, 3.0, 180, 320, within=supernet)
    assert small.channels <= 12 and len(small.blocks) <= 2 and latency_of(MODEL, small, 180, 320) <= 3.0


def test_all_that_fit_are_in_order():
    found = under(MODEL, 2, 7.0, 180, 320)
    assert [a.params for a, _ in found] == sorted((a.params for a, _ in found), reverse=True)
    assert all(ms <= 7.0 and ms == latency_of(MODEL, a, 180, 320) for a, ms in found)


def test_nothing_fits():
    with pytest.raises(SrTvmError, match=r"takes 0\.1 ms or less; one block takes 1\.5"):
        plain(MODEL, 2, 0.1, 180, 320)


@pytest.mark.parametrize(
    ("name", "scale", "budget", "size", "expected"),
    [
        # As docs/speed.md has them; the first two are the paper's own networks of 47K and 91K parameters.
        ("galaxy-s21", 2, 100, (360, 640), (4, 24)),
        ("galaxy-s10-dsp", 2, 100, (360, 640), (8, 24)),
        ("galaxy-s10-dsp", 2, 40, (360, 640), (3, 24)),
        # 5x24 has 400 parameters more, and leaves 10 ms unused.
        ("galaxy-s10-dsp", 2, 70, (360, 640), (6, 22)),
        ("galaxy-s21", 2, 40, (360, 640), (2, 21)),
        ("galaxy-s21", 4, 70, (180, 320), (10, 24)),
        ("galaxy-s10-dsp-x4", 4, 40, (180, 320), (10, 24)),
    ],
)
def test_of_the_shipped_surrogates(name, scale, budget, size, expected):
    pytest.importorskip("torch")
    from sr_tvm.speed import known

    assert plain(known.find(name), scale, budget, *size) == Architecture.uniform(scale, *expected)
