"""Finding devices, and every way of not finding one, each in one line."""

from __future__ import annotations

import numpy as np
import pytest

from sr_tvm.errors import SrTvmError

WHY = "from sr_tvm.runtimes.opencl import backend; print(backend.why_none())"
OLD = """
using Info = int (*)(void*, unsigned, size_t, void*, size_t*);
extern "C" int clGetDeviceInfo(void* id, unsigned what, size_t size, void* at, size_t* needed) {
  if (what != 0x102F) return real(Info(), "clGetDeviceInfo")(id, what, size, at, needed);
  const char version[] = "OpenCL 1.1 of long ago";
  if (needed) *needed = sizeof version;
  if (at) std::memcpy(at, version, sizeof version);
  return 0;
}
"""
NO_PLATFORM = (
    'extern "C" int clGetPlatformIDs(unsigned, void*, unsigned* count) { if (count) *count = 0; return -1001; }'
)


def test_a_device_tells_its_limits(opencl):
    from sr_tvm.runtimes.opencl import backend

    found = backend.find()
    first = found.devices[0]
    assert found.problem == "" and found.library and first.number == 0 and first.name == opencl.device_name
    assert opencl.exist and opencl.max_threads_per_block == first.max_work_group >= 64
    assert opencl.max_shared_memory_per_block == first.local_bytes >= 16 << 10
    assert float(opencl.compute_version) >= 1.2 and first.driver and first.vendor
    assert opencl.max_thread_dimensions[0] >= 64 and opencl.multi_processor_count == first.compute_units > 0
    assert first.max_buffer_bytes >= 64 << 20 and first.images in (True, False) and first.float16 in (True, False)
    assert first.name in str(first) and "opencl:0" in str(first)


def test_no_such_number(opencl):
    from sr_tvm.runtimes.opencl import backend

    with pytest.raises(SrTvmError, match="no device opencl:99; this machine has"):
        backend.device(99)
    import tvm

    assert not tvm.device("opencl", 99).exist and not tvm.device("opencl", -1).exist
    with pytest.raises(RuntimeError, match="there is no device opencl:99"):
        tvm.runtime.empty((4,), "float32", tvm.device("opencl", 99))


def test_a_library_that_is_not_there(opencl, python, tmp_path):
    done = python(WHY, SR_TVM_OPENCL=str(tmp_path / "libNone.so"))
    assert "SR_TVM_OPENCL names a library that can't be opened" in done.stdout and "libNone.so" in done.stdout
    assert done.stdout.count("\n") == 1 and "set SR_TVM_OPENCL to another value" in done.stdout
    code = "import tvm; print(tvm.device('opencl').exist); tvm.runtime.empty((4,), 'float32', tvm.device('opencl'))"
    done = python(code, SR_TVM_OPENCL=str(tmp_path / "libNone.so"))
    assert done.stdout == "False\n" and done.stderr.splitlines()[-1].startswith("RuntimeError: OpenCL: SR_TVM_OPENCL")


def test_a_library_that_is_no_opencl(opencl, python):
    done = python(WHY, SR_TVM_OPENCL="libc.so.6")
    assert "libc.so.6 has no clGetPlatformIDs; OpenCL 1.2 is needed" in done.stdout


def test_no_driver(python, driver):
    done = python(WHY, SR_TVM_OPENCL=driver(NO_PLATFORM))
    assert "finds no driver; install the GPU's driver, or pocl-opencl-icd" in done.stdout


def test_an_old_driver(python, driver):
    done = python(WHY, SR_TVM_OPENCL=driver(OLD))
    assert "no device; " in done.stdout and "'OpenCL 1.1 of long ago': OpenCL 1.2 is needed" in done.stdout


def test_devices_are_chosen_by_name(opencl, python):
    from sr_tvm.runtimes.opencl import backend

    assert python(WHY, SR_TVM_OPENCL_DEVICE=backend.find().devices[0].platform).stdout == "None\n"
    done = python(WHY, SR_TVM_OPENCL_DEVICE="Voodoo")
    assert "contain SR_TVM_OPENCL_DEVICE, 'Voodoo'" in done.stdout


def test_a_forked_process_is_told(opencl):
    import os

    import tvm

    tvm.runtime.empty((4,), "float32", opencl)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        from sr_tvm.runtimes.opencl import backend

        os.write(write, str(backend.why_none()).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert b"in use before this process was forked" in os.read(read, 1000)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "int64"])
def test_buffers_there_and_back(opencl, dtype):
    import tvm

    values = (np.random.default_rng(0).random((3, 5, 7)) * 100).astype(dtype)
    there = tvm.runtime.tensor(values, opencl)
    again = tvm.runtime.empty(values.shape, dtype, opencl)
    again.copyfrom(there)
    assert np.array_equal(there.numpy(), values) and np.array_equal(again.numpy(), values)
    assert tvm.runtime.tensor(np.zeros((0, 3), dtype), opencl).numpy().shape == (0, 3)


def test_a_buffer_larger_than_the_device_has(opencl):
    import tvm

    from sr_tvm.runtimes.opencl import backend

    most = backend.find().devices[0].max_buffer_bytes
    with pytest.raises(RuntimeError, match=r"a buffer of \d+ MB is wanted; opencl:0 \(.*\) allocates at most"):
        tvm.runtime.empty((most // 4 + 1,), "float32", opencl)
