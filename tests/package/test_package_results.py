"""What a packaged network computes: the artifact's floats and upscale's pixels, bit for bit, however it is called."""

import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from package_library import CODES, ORDER, SCALE, USE

from sr_tvm.records.program import Program
from sr_tvm.upscaling.enlarge import enlarge

FLOAT_USES = ("WHOLE", "TILES", "TILES_LEAST")
SLOW = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
sides = st.one_of(st.integers(1, 40), st.sampled_from([63, 64, 65, 97, 130]))


def _floats(height, width, channels=3, images=1):
    return np.random.default_rng(height * 1000 + width).random((images, channels, height, width), dtype=np.float32)


def _pixels(height, width, depth, low=0):
    return np.random.default_rng(height * 1000 + width).integers(low, 256, (height, width, depth), np.uint8)


def _as_upscale(artifact, run_artifact, pixels, kind):
    """What `upscale` makes of pixels of a format: the network on the whole picture, and the same code around it."""
    order = list(ORDER[kind])
    shape = pixels.shape[:2]

    def network(x):
        return run_artifact(artifact, x[None])[0]

    channels = artifact.inputs[0].shape[1]
    scale = int(artifact.outputs[0].at({n: 1 for n in artifact.inputs[0].names})[2])
    made = enlarge(pixels[..., order], network, channels, scale, artifact.halo, shape)
    return made[..., order]  # each order is its own inverse


@SLOW
@given(sides, sides, st.integers(1, 3), st.sampled_from(FLOAT_USES), st.sampled_from([0, 4, 12, 36]))
def test_floats_are_the_artifacts_bit_for_bit(library, artifact, run_artifact, height, width, threads, use, offset):
    x = _floats(height, width)
    with library.network(threads) as network:
        assert np.array_equal(network.run_f32(x, SCALE, use, offset=offset), run_artifact(artifact, x))


@SLOW
@given(sides, sides, st.integers(0, 200_000))
def test_floats_do_not_depend_on_how_much_memory_there_is(library, artifact, run_artifact, height, width, extra):
    x = _floats(height, width)
    with library.network(2) as network:
        assert np.array_equal(network.run_f32(x, SCALE, "TILES_LEAST", extra), run_artifact(artifact, x))


@SLOW
@given(
    sides, sides, st.integers(1, 3), st.sampled_from(("TILES", "TILES_LEAST")),
    st.sampled_from(("RGB", "BGR", "RGBA", "BGRA")), st.tuples(st.integers(0, 9), st.integers(0, 9)), st.integers(0, 3),
)  # fmt: skip
def test_pixels_are_those_of_upscale(library, artifact, run_artifact, height, width, threads, use, kind, gaps, offset):
    pixels = _pixels(height, width, len(ORDER[kind]), low=1)  # no hidden colour: see the header
    with library.network(threads) as network:
        made = network.run_u8(pixels, SCALE, kind, use, gaps, offset)
    assert np.array_equal(made, _as_upscale(artifact, run_artifact, pixels, kind))


@SLOW
@given(sides, sides, st.integers(1, 3), st.sampled_from(("ROWS", "ROWS_LEAST")), st.sampled_from(("RGB", "BGRA")))
def test_rows_come_once_and_in_order_and_give_the_same_pixels(library, height, width, threads, use, kind):
    pixels = _pixels(height, width, len(ORDER[kind]))
    with library.network(threads) as network:
        code, made, read, written = network.run_rows(pixels, SCALE, kind, use)
        assert code == 0
        assert np.array_equal(made, network.run_u8(pixels, SCALE, kind))
    for rows, total in ((read, height), (written, height * SCALE)):
        assert [first for first, _ in rows] == list(np.cumsum([0, *(count for _, count in rows)])[:-1])
        assert sum(count for _, count in rows) == total


def test_a_large_picture_by_rows_needs_memory_for_some_of_them_only(library):
    height, width = 1500, 200
    pixels = _pixels(height, width, 3)
    whole = height * width * 3 * (1 + SCALE * SCALE)
    assert library.workspace_bytes(height, width, 1, "ROWS_LEAST") < whole / 4
    with library.network(2) as network:
        code, made, read, _ = network.run_rows(pixels, SCALE, "RGB", "ROWS_LEAST")
        assert code == 0 and len(read) > 10
        assert np.array_equal(made, network.run_u8(pixels, SCALE, "RGB"))


def test_opaque_stays_opaque_and_clear_stays_clear(library):
    pixels = _pixels(20, 31, 4)
    with library.network() as network:
        for alpha in (0, 255):
            pixels[..., 3] = alpha
            assert (network.run_u8(pixels, SCALE, "RGBA")[..., 3] == alpha).all()


def test_several_images_are_each_their_own(library):
    x = _floats(19, 23, images=3)
    with library.network() as network:
        together = network.run_f32(x, SCALE)
        assert all(np.array_equal(together[i : i + 1], network.run_f32(x[i : i + 1], SCALE)) for i in range(3))


@pytest.mark.parametrize("use", FLOAT_USES)
def test_kernels_with_tensors_between_them(pieces, run_artifact, use):
    artifact, library = pieces
    program = Program.load(artifact.folder / "program")
    assert len(program.calls) > 3 and len(program.buffers) < len(program.scratch)
    x = _floats(37, 161)
    with library.network(2) as network:
        assert np.array_equal(network.run_f32(x, SCALE, use), run_artifact(artifact, x))


def test_luma_networks_take_grey(luma, run_artifact):
    artifact, library = luma
    pixels = _pixels(40, 33, 1)
    with library.network() as network:
        made = network.run_u8(pixels, 3, "GREY", "TILES_LEAST")
    assert np.array_equal(made, _as_upscale(artifact, run_artifact, pixels, "GREY"))


def test_many_threads_share_a_network_with_a_workspace_each(library):
    pictures = [_pixels(30 + i, 50 + 3 * i, 3) for i in range(6)]
    with library.network(2) as network:
        wanted = [network.run_u8(p, SCALE, "RGB") for p in pictures]
        made = [None] * len(pictures)

        def work(i):
            for _ in range(5):
                made[i] = network.run_u8(pictures[i], SCALE, "RGB", "TILES_LEAST")

        threads = [threading.Thread(target=work, args=(i,)) for i in range(len(pictures))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert all(np.array_equal(a, b) for a, b in zip(made, wanted, strict=True))


def test_uses_of_a_workspace_are_ordered(library):
    for rows in ("TILES", "ROWS"):
        assert library.workspace_bytes(500, 700, 1, f"{rows}_LEAST") < library.workspace_bytes(500, 700, 1, rows)
    assert set(USE) == {*FLOAT_USES, "ROWS", "ROWS_LEAST"} and CODES["OK"] == 0
