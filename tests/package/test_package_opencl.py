"""A package for OpenCL: the CPU's results within rounding, whatever the size, and the CPU where there is no device."""

import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from package_library import DEVICE, ORDER, SCALE, TILE, Library

HEIGHT, WIDTH = TILE
SLOW = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
# Of the same size as a tile, a pixel more, and with several tiles of which the last overlap much or little.
SIZES = [(24, 40), (25, 40), (24, 41), (37, 61), (40, 72), (41, 73), (70, 130)]


@pytest.fixture(params=["adreno", "mali"])
def library(request) -> Library:
    return request.getfixturevalue(request.param)


def on_cpu(library: Library) -> Library:
    """The same library, asked for its CPU's kernels."""
    return library.with_options(device="CPU")


def floats(height, width, images=1):
    return np.random.default_rng(height * 1000 + width).random((images, 3, height, width), dtype=np.float32)


def _pixels(height, width, depth=3):
    return np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, depth), np.uint8)


def near(made, wanted) -> bool:
    return bool(np.abs(made - wanted).max() <= 1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_floats_are_the_cpus_within_rounding(library, height, width):
    x = floats(height, width, images=2)
    with library.network(2) as network, on_cpu(library).network(2) as cpu:
        assert network.device(height, width).device == DEVICE["OPENCL"]
        made, wanted = network.run_f32(x, SCALE), cpu.run_f32(x, SCALE)
        assert near(made, wanted)
        assert not np.array_equal(made, wanted)  # the CPU's, which rounds otherwise, has not made them
        for use, offset in (("TILES", 4), ("TILES_LEAST", 36)):
            assert np.array_equal(network.run_f32(x, SCALE, use, offset=offset), made)


@SLOW
@given(st.integers(24, 110), st.integers(40, 110), st.integers(1, 3), st.sampled_from(("RGB", "BGR", "RGBA", "BGRA")))
def test_pixels_and_rows(adreno, height, width, threads, kind):
    pixels = _pixels(height, width, len(ORDER[kind]))
    with adreno.network(threads) as network, on_cpu(adreno).network() as cpu:
        made = network.run_u8(pixels, SCALE, kind, gaps=(3, 5))
        code, by_rows, read, written = network.run_rows(pixels, SCALE, kind)
        wanted = cpu.run_u8(pixels, SCALE, kind)
    assert code == 0 and np.array_equal(by_rows, made)
    off = made.astype(int) - wanted
    assert np.abs(off).max() <= 1 and np.count_nonzero(off) < 0.001 * off.size + 2
    assert "A" not in kind or np.array_equal(made[..., 3], wanted[..., 3])
    for rows, total in ((read, height), (written, height * SCALE)):
        assert [first for first, _ in rows] == list(np.cumsum([0, *(count for _, count in rows)])[:-1])
        assert sum(count for _, count in rows) == total


@pytest.mark.parametrize(("height", "width"), [(23, 200), (200, 39), (1, 1)])
def test_smaller_pictures_are_the_cpus(library, height, width):
    x, pixels = floats(height, width), _pixels(height, width)
    with library.network() as network, on_cpu(library).network() as cpu:
        found = network.device(height, width)
        assert found.device == DEVICE["CPU"] and b"lower or narrower" in found.why
        assert (found.tile_height, found.tile_width) == TILE
        assert np.array_equal(network.run_f32(x, SCALE), cpu.run_f32(x, SCALE))
        assert np.array_equal(network.run_rows(pixels, SCALE, "RGB")[1], cpu.run_u8(pixels, SCALE, "RGB"))


def test_a_picture_by_rows_needs_memory_for_a_row_of_tiles_only(adreno):
    height, width = 3000, 60
    pixels = _pixels(height, width)
    assert adreno.workspace_bytes(height, width, 1, "ROWS_LEAST") < height * width * 3 * (1 + SCALE * SCALE) / 2
    with adreno.network() as network:
        code, made, read, _ = network.run_rows(pixels, SCALE, "RGB", "ROWS_LEAST")
        assert code == 0 and len(read) > 10 and np.array_equal(made, network.run_u8(pixels, SCALE, "RGB"))


def test_many_threads_share_a_device(adreno):
    pictures = [_pixels(24 + 5 * i, 40 + 7 * i) for i in range(4)]
    with adreno.network(2) as network:
        wanted = [network.run_u8(p, SCALE, "RGB") for p in pictures]
        made = [None] * len(pictures)

        def work(i):
            for _ in range(3):
                made[i] = network.run_rows(pictures[i], SCALE, "RGB")[1]

        threads = [threading.Thread(target=work, args=(i,)) for i in range(len(pictures))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert all(np.array_equal(a, b) for a, b in zip(made, wanted, strict=True))


def test_floats_that_are_not_finite_are_given_as_they_are(adreno):
    x = np.full((1, 3, *TILE), np.nan, np.float32)
    with adreno.network() as network:
        assert np.isnan(network.run_f32(x, SCALE)).any()
