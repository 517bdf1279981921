"""Devices of a package for OpenCL: which is taken, what fails and is told, and kernels kept from start to start."""

import shutil

import numpy as np
import pytest
from package_driver import AS_GPU, LAUNCH, asked
from package_library import CACHE, CODES, DEVICE, SCALE, TILE, Network
from test_package_opencl import floats, on_cpu

HEIGHT, WIDTH = TILE

BROKEN = [
    ("int clGetPlatformIDs(unsigned n, void *p, unsigned *c) { if (c) *c = 0; return -1001; }", "finds no driver"),
    ("int clGetPlatformIDs(unsigned n, void *p, unsigned *c) { return -6; }", "CL_OUT_OF_HOST_MEMORY"),
    (asked("0x102F", 'const char value[] = "OpenCL 1.1 of long ago"'), "OpenCL 1.1 of long ago): OpenCL 1.2 is needed"),
    (asked("0x1016", "unsigned value = 0"), "it has no images"),
    (asked("0x1012", "size_t value = 23"), "images are too small"),
    (asked("0x1010", "uint64_t value = 4096"), "buffers are too small"),
    (asked("0x1023", "uint64_t value = 64"), "more local memory than there is"),
    ("void *clCreateContext(void *p, unsigned n, void *d, void *f, void *u, int *e) { *e = -2; return 0; }", "opening"),
    (
        "void *clCreateBuffer(void *c, uint64_t f, size_t s, void *h, int *e) { *e = -4; return 0; }",
        "CL_MEM_OBJECT_ALL",
    ),
    ("void *clCreateKernel(void *p, const char *n, int *e) { *e = -46; return 0; }", "CL_INVALID_KERNEL_NAME"),
    ("int clSetKernelArg(void *k, unsigned i, size_t s, void *v) { return -51; }", "CL_INVALID_ARG_SIZE"),
    (
        "int clBuildProgram(void *p, unsigned n, void *d, const char *o, void *f, void *u) { return -11; }\n"
        "int clGetProgramBuildInfo(void *p, void *d, unsigned what, size_t size, void *at, size_t *needed) {\n"
        '  return tell("line 3: it is bad", 18, size, at, needed);\n}',
        "CL_BUILD_PROGRAM_FAILURE (-11):\nline 3: it is bad",
    ),
    (LAUNCH.replace(">= 9", ">= 0"), "starting a kernel fails: CL_OUT_OF_RESOURCES (-5)"),
]


def _refused(made, /, **options):
    code, said = Network.refused(made, device="OPENCL", **options)
    assert code == CODES["ERROR_DEVICE"]
    return said


@pytest.mark.parametrize(("functions", "words"), BROKEN)
def test_a_driver_that_fails_leaves_the_cpu(adreno, driver, functions, words):
    path = driver(functions if "clGetPlatformIDs" in functions else functions + AS_GPU)
    assert words in _refused(adreno, library=path)
    x = floats(HEIGHT, WIDTH)
    with adreno.with_options(device="AUTO", library=path).network() as network, on_cpu(adreno).network() as cpu:
        found = network.device(HEIGHT, WIDTH)
        assert found.device == DEVICE["CPU"] and words in found.why.decode()
        assert np.array_equal(network.run_f32(x, SCALE), cpu.run_f32(x, SCALE))


def test_no_library_at_all(adreno, tmp_path):
    missing = str(tmp_path / "libNone.so")
    assert _refused(adreno, library=missing) == f"the OpenCL library can't be opened: {missing}"
    assert _refused(adreno, library="libc.so.6") == "libc.so.6 has no clGetPlatformIDs; OpenCL 1.2 is needed"
    with adreno.with_options(device="AUTO", library=missing).network() as network:
        found = network.device(HEIGHT, WIDTH)
        assert found.device == DEVICE["CPU"] and found.why.decode().endswith("libNone.so") and found.name == b""
        assert network.run_f32(floats(30, 50), SCALE).shape == (1, 3, 60, 100)


def test_a_device_that_fails_on_the_way_is_left(adreno, driver):
    """One launch of four kernels when it is created, one tile, and a kernel of the next."""
    x = floats(60, 100)
    with adreno.with_options(device="OPENCL", library=driver(LAUNCH)).network() as network:
        assert network.device(60, 100).device == DEVICE["OPENCL"]
        assert network.run_f32(floats(*TILE), SCALE).any()
        code, _ = network.run_f32_code(x, SCALE)
        assert code == CODES["ERROR_DEVICE"]
        found = network.device(60, 100)
        assert found.device == DEVICE["CPU"] and b"starting a kernel fails: CL_OUT_OF_RESOURCES" in found.why
        with on_cpu(adreno).network() as cpu:
            assert np.array_equal(network.run_f32(x, SCALE), cpu.run_f32(x, SCALE))


def test_a_cpus_opencl_is_taken_only_where_it_is_asked_for(adreno, driver):
    gpu = driver(AS_GPU)
    with adreno.with_options(device="AUTO").network() as network:
        found = network.device(HEIGHT, WIDTH)
        if found.device == DEVICE["CPU"]:  # a machine of tests need have no GPU
            assert b"no GPU will do" in found.why and found.name == b""
    with adreno.with_options(device="AUTO", library=gpu).network() as network:
        found = network.device(HEIGHT, WIDTH)
        assert found.device == DEVICE["OPENCL"] and found.why == b"" and found.name and found.driver
    with on_cpu(adreno).network() as network:
        assert network.device(HEIGHT, WIDTH).why == b"the CPU was asked for"
    said = _refused(adreno, name="Voodoo")
    assert said.endswith("one is wanted whose platform or name holds Voodoo")


def test_kernels_are_kept(adreno, driver, tmp_path):
    folder = tmp_path / "cache"
    folder.mkdir()
    x = floats(HEIGHT, WIDTH)

    def run(**options):
        with adreno.with_options(device="OPENCL", cache=folder, **options).network() as network:
            return network.device(HEIGHT, WIDTH).cache, network.run_f32(x, SCALE)

    first, wanted = run()
    assert first == CACHE["CACHE_WRITTEN"]
    (kept,) = folder.iterdir()
    assert run()[0] == CACHE["CACHE_READ"] and np.array_equal(run()[1], wanted)
    whole = kept.read_bytes()
    for damaged in (
        b"", whole[:20], whole[:-1], whole + b"x", b"x" + whole[1:],
        whole[:-100] + bytes([whole[-100] ^ 1]) + whole[-99:], whole[:40] + b"x" + whole[41:],
    ):  # fmt: skip
        kept.write_bytes(damaged)
        found, made = run()
        assert found == CACHE["CACHE_WRITTEN"] and np.array_equal(made, wanted) and kept.read_bytes()[:8] == whole[:8]
    assert run()[0] == CACHE["CACHE_READ"]
    # Another driver has a file of its own, and one that refuses its own code compiles it again.
    assert run(library=driver(asked("0x102D", 'const char value[] = "9.9"')))[0] == CACHE["CACHE_WRITTEN"]
    assert len(list(folder.iterdir())) == 2
    refuses = "void *clCreateProgramWithBinary(void *c, unsigned n, void *d, void *s, void *b, int *o, int *e) "
    assert run(library=driver(refuses + "{ *e = -42; return 0; }"))[0] == CACHE["CACHE_WRITTEN"]
    shutil.rmtree(folder)
    found, made = run()
    assert found == CACHE["CACHE_FAILED"] and np.array_equal(made, wanted)


def test_options_are_checked(adreno):
    from ctypes import byref, c_void_p

    from package_library import Options

    from sr_tvm.package.interface import VERSION

    create, handle = adreno.function("create_on"), c_void_p(5)
    for version, threads, device, code in (
        (VERSION, 1, 3, "ERROR_OPTION"), (VERSION, 1, -1, "ERROR_OPTION"), (VERSION + 1, 1, 0, "ERROR_VERSION"),
        (VERSION, 0, 0, "ERROR_THREADS"),
    ):  # fmt: skip
        assert create(version, threads, byref(Options(device)), byref(handle)) == CODES[code] and handle.value is None
    assert create(VERSION, 1, None, byref(handle)) == CODES["ERROR_NULL"]
    assert create(VERSION, 1, byref(Options(0)), None) == CODES["ERROR_NULL"]
    with on_cpu(adreno).network() as network:
        get = adreno.function("get_device")
        assert get(network.handle, 5, 5, None) == get(None, 5, 5, None) == CODES["ERROR_NULL"]
