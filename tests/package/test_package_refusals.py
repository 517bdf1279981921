"""Bad input to a packaged network: a code each, and nothing written."""

import ctypes
from ctypes import byref, c_int32, c_size_t, c_void_p

import pytest
from package_library import CODES, FORMAT, ROWS, USE, Guarded

from sr_tvm.package.interface import STATUSES, VERSION

HEIGHT, WIDTH = 12, 10
HUGE = 2**31 - 1


@pytest.fixture(params=["cpu", "adreno"])
def library(request, library):
    """Both kinds of packages refuse the same."""
    return library if request.param == "cpu" else request.getfixturevalue(request.param)


@pytest.fixture
def memory(library):
    """Input, output and workspace that fit HEIGHT x WIDTH of RGB."""
    return {
        "input": Guarded(HEIGHT * WIDTH * 12),
        "output": Guarded(HEIGHT * WIDTH * 48),
        "workspace": Guarded(library.workspace_bytes(HEIGHT, WIDTH, 1, "ROWS")),
    }


@pytest.fixture
def network(library):
    with library.network() as made:
        yield made


def _f32(made, memory, **change):
    given = {
        "network": made.handle.value, "input": memory["input"].address, "output": memory["output"].address,
        "images": 1, "height": HEIGHT, "width": WIDTH, "workspace": memory["workspace"].address,
        "bytes": memory["workspace"].size,
    } | change  # fmt: skip
    kinds = (c_void_p, c_void_p, c_void_p, c_int32, c_int32, c_int32, c_void_p, c_size_t)
    return made.library.function("run_f32")(*(k(v) for k, v in zip(kinds, given.values(), strict=True)))


def _u8(made, memory, **change):
    given = {
        "network": made.handle.value, "input": memory["input"].address, "in_stride": WIDTH * 3,
        "output": memory["output"].address, "out_stride": WIDTH * 6, "format": FORMAT["RGB"], "height": HEIGHT,
        "width": WIDTH, "workspace": memory["workspace"].address, "bytes": memory["workspace"].size,
    } | change  # fmt: skip
    kinds = (c_void_p, c_void_p, c_size_t, c_void_p, c_size_t, c_int32, c_int32, c_int32, c_void_p, c_size_t)
    return made.library.function("run_u8")(*(k(v) for k, v in zip(kinds, given.values(), strict=True)))


SHARED = [
    ({"network": None}, "ERROR_NULL"),
    ({"input": None}, "ERROR_NULL"),
    ({"output": None}, "ERROR_NULL"),
    ({"workspace": None}, "ERROR_NULL"),
    ({"height": 0}, "ERROR_SIZE"),
    ({"width": 0}, "ERROR_SIZE"),
    ({"height": -1}, "ERROR_SIZE"),
    ({"width": -HUGE}, "ERROR_SIZE"),
    ({"height": HUGE}, "ERROR_SIZE"),
    ({"height": HUGE, "width": HUGE}, "ERROR_SIZE"),
    ({"bytes": 0}, "ERROR_WORKSPACE_SIZE"),
    ({"bytes": 4096}, "ERROR_WORKSPACE_SIZE"),
    ({"bytes": 2**63}, "ERROR_SIZE"),
]


@pytest.mark.parametrize(("change", "code"), [*SHARED, ({"images": 0}, "ERROR_SIZE"), ({"images": -4}, "ERROR_SIZE")])
def test_floats(network, memory, change, code):
    assert _f32(network, memory, **change) == CODES[code]
    assert all(m.untouched() for m in memory.values())


@pytest.mark.parametrize(
    ("change", "code"),
    [
        *SHARED,
        ({"in_stride": WIDTH * 3 - 1}, "ERROR_STRIDE"),
        ({"out_stride": WIDTH * 6 - 1}, "ERROR_STRIDE"),
        ({"in_stride": 0}, "ERROR_STRIDE"),
        ({"in_stride": 2**63}, "ERROR_SIZE"),
        ({"out_stride": 2**64 - 1}, "ERROR_SIZE"),
        ({"format": 0}, "ERROR_FORMAT"),
        ({"format": -1}, "ERROR_FORMAT"),
        ({"format": FORMAT["GREY"]}, "ERROR_FORMAT"),
        ({"format": FORMAT["GREY"] + 1}, "ERROR_FORMAT"),
    ],
)
def test_pixels(network, memory, change, code):
    assert _u8(network, memory, **change) == CODES[code]
    assert all(m.untouched() for m in memory.values())


def test_the_workspace_must_be_aligned_and_floats_too(network, memory):
    at = memory["workspace"].address
    assert _f32(network, memory, workspace=at + 4) == CODES["ERROR_WORKSPACE_ALIGNMENT"]
    assert _u8(network, memory, workspace=at + 32) == CODES["ERROR_WORKSPACE_ALIGNMENT"]
    assert _f32(network, memory, input=memory["input"].address + 2) == CODES["ERROR_ALIGNMENT"]
    assert _f32(network, memory, output=memory["output"].address + 1) == CODES["ERROR_ALIGNMENT"]
    assert all(m.untouched() for m in memory.values())


def test_memory_must_not_be_shared(network, memory):
    inside = memory["workspace"].address + 64
    for change in ({"output": memory["input"].address}, {"output": inside}, {"input": inside}):
        assert _f32(network, memory, **change) == CODES["ERROR_OVERLAP"]
        assert _u8(network, memory, **change) == CODES["ERROR_OVERLAP"]
    assert all(m.untouched() for m in memory.values())


def test_a_byte_less_than_the_least_is_refused(network, memory):
    least = network.library.workspace_bytes(HEIGHT, WIDTH, 1, "TILES_LEAST")
    memory["workspace"] = Guarded(least)
    whole = network.library.workspace_bytes(HEIGHT, WIDTH, 1, "WHOLE")
    assert whole < least
    assert _f32(network, memory, bytes=whole - 1) == CODES["ERROR_WORKSPACE_SIZE"]
    assert _u8(network, memory, bytes=least - 1) == CODES["ERROR_WORKSPACE_SIZE"]
    assert all(m.untouched() for m in memory.values())
    assert _f32(network, memory, bytes=whole) == _u8(network, memory) == CODES["OK"]


def test_a_workspace_for_fewer_threads_is_refused(library, memory):
    with library.network(3) as network:
        assert _f32(network, memory) == CODES["ERROR_WORKSPACE_SIZE"]
    assert all(m.untouched() for m in memory.values())


@pytest.mark.parametrize("fail", ["read", "write"])
def test_a_function_that_fails_ends_the_run(library, fail):
    import numpy as np

    with library.network() as network:
        code, _, read, written = network.run_rows(np.zeros((300, 20, 3), np.uint8), 2, "RGB", "ROWS_LEAST", fail)
    assert code == CODES["ERROR_CALLER"] and len(read) == 1 and len(written) == (fail == "write")


def test_a_workspace_that_another_run_has_is_refused(network, memory):
    codes = []

    @ROWS
    def read(_, first, count, rows, stride):
        codes.append(_u8(network, memory))
        codes.append(
            _u8(network, memory, workspace=memory["workspace"].address + 64, bytes=memory["workspace"].size - 64)
        )
        return 1

    at = c_void_p(memory["workspace"].address)
    size = c_size_t(memory["workspace"].size)
    run = network.library.function("run_rows")
    assert run(network.handle, read, read, None, FORMAT["RGB"], HEIGHT, WIDTH, at, size) == CODES["ERROR_CALLER"]
    assert codes[0] == CODES["ERROR_WORKSPACE_BUSY"] and codes[1] != CODES["OK"]
    assert _u8(network, memory) == CODES["OK"]  # the one that failed gave it back


def test_asking_for_a_workspace(library):
    ask, size = library.function("workspace_bytes"), c_size_t(5)
    for height, width, threads, use, code in (
        (0, 5, 1, 1, "ERROR_SIZE"), (5, -1, 1, 1, "ERROR_SIZE"), (HUGE, HUGE, 1, 1, "ERROR_SIZE"),
        (5, 5, 0, 1, "ERROR_THREADS"), (5, 5, 257, 1, "ERROR_THREADS"), (5, 5, 1, 0, "ERROR_USE"),
        (5, 5, 1, len(USE) + 1, "ERROR_USE"),
    ):  # fmt: skip
        assert ask(height, width, threads, use, byref(size)) == CODES[code]
        assert size.value == 0
    assert ask(5, 5, 1, 1, None) == CODES["ERROR_NULL"]
    assert ask(1 << 20, 1 << 20, 256, USE["ROWS"], byref(size)) == 0 and size.value > 1 << 28


def test_making_a_network(library):
    create, handle = library.function("create"), c_void_p(5)
    for version, threads, code in (
        (VERSION + 1, 1, "ERROR_VERSION"), (0, 1, "ERROR_VERSION"), (VERSION, 0, "ERROR_THREADS"),
        (VERSION, 257, "ERROR_THREADS"), (VERSION, -1, "ERROR_THREADS"),
    ):  # fmt: skip
        assert create(version, threads, byref(handle)) == CODES[code]
        assert handle.value is None
    assert create(VERSION, 1, None) == CODES["ERROR_NULL"]
    library.function("destroy")(None)


def test_what_the_library_says_of_itself(library, artifact):
    class Properties(ctypes.Structure):
        _fields_ = [
            *((name, c_int32) for name in ("version", "scale", "halo", "channels", "alignment")),
            ("weight_bytes", c_size_t), ("model", ctypes.c_char_p), ("target", ctypes.c_char_p),
        ]  # fmt: skip

    found = Properties()
    assert library.function("get_properties")(byref(found)) == 0
    assert library.function("get_properties")(None) == CODES["ERROR_NULL"]
    assert (found.version, found.scale, found.halo, found.channels) == (VERSION, 2, artifact.halo, 3)
    assert (found.model.decode(), found.target.decode()) == (
        artifact.model, "adreno" if library.name == "on_adreno" else "cpu",
    )  # fmt: skip
    assert library.function("version")() == VERSION
    for code, (_, text) in enumerate(STATUSES):
        assert library.text(code).decode() == text
    assert library.text(-1) == library.text(len(STATUSES)) == b"no such code"
