"""Kernels: arguments and launch sizes as TVM passes them, options, and every way in which one fails."""

from __future__ import annotations

import numpy as np
import pytest
from opencl_modules import ADD_ONE, FLOAT, HANDLE, INT, add_one, build_tir, kernel, load, module_bytes

LOST = """
using Sizes = const size_t*;
using Enqueue = int (*)(void*, void*, unsigned, Sizes, Sizes, Sizes, unsigned, const void*, void*);
extern "C" int clEnqueueNDRangeKernel(void* a, void* b, unsigned c, Sizes d, Sizes e, Sizes f, unsigned g,
                                      const void* h, void* i) {
  static int calls = 0;
  return ++calls > 2 ? CODE : real(Enqueue(), "clEnqueueNDRangeKernel")(a, b, c, d, e, f, g, h, i);
}
"""
THREE_RUNS = """
import numpy as np, tvm
from opencl_modules import add_one
from sr_tvm.runtimes.opencl import backend
value = tvm.runtime.tensor(np.zeros(4, "float32"), backend.device())
for _ in range(2):
    add_one(value, 4)
print(value.numpy())
for _ in range(2):
    try:
        add_one(value, 4)
    except RuntimeError as error:
        print(error)
del value
print("the end")
"""


def test_a_function_of_tir(opencl):
    import tvm
    from tvm.script import tirx as T

    @T.prim_func
    def scale(a: T.Buffer((4, 64), "float32"), b: T.Buffer((4, 64), "float32"), n: T.int32, s: T.float32):
        T.func_attr({"tirx.noalias": True, "global_symbol": "scale"})
        for by in T.thread_binding(4, thread="blockIdx.y"):
            for bx in T.thread_binding(4, thread="blockIdx.x"):
                for tx in T.thread_binding(16, thread="threadIdx.x"):
                    b[by, bx * 16 + tx] = a[by, bx * 16 + tx] * s + T.Cast("float32", n)

    built = build_tir(scale, "scale")
    values = np.random.default_rng(0).random((4, 64), dtype="float32")
    result = tvm.runtime.empty(values.shape, "float32", opencl)
    built["scale"](tvm.runtime.tensor(values, opencl), result, -3, 0.5)
    np.testing.assert_allclose(result.numpy(), values * 0.5 - 3, rtol=1e-6)


def test_local_memory(opencl):
    import tvm
    from tvm.script import tirx as T

    @T.prim_func
    def turn(a: T.Buffer((64,), "float32"), b: T.Buffer((64,), "float32")):
        T.func_attr({"tirx.noalias": True, "global_symbol": "turn"})
        for bx in T.thread_binding(4, thread="blockIdx.x"):
            for tx in T.thread_binding(16, thread="threadIdx.x"):
                tile = T.alloc_buffer((16,), "float32", scope="shared")
                tile[tx] = a[bx * 16 + tx]
                T.tvm_storage_sync("shared")
                b[bx * 16 + tx] = tile[15 - tx]

    built = build_tir(turn, "turn")
    values = np.arange(64, dtype="float32")
    result = tvm.runtime.empty((64,), "float32", opencl)
    built["turn"](tvm.runtime.tensor(values, opencl), result)
    assert np.array_equal(result.numpy(), values.reshape(4, 16)[:, ::-1].ravel())


NUMBERS = {
    "char": ((0, 8, 1), -5), "short": ((0, 16, 1), -3000), "int": (INT, -(2**31)), "long": ((0, 64, 1), 2**40),
    "uchar": ((1, 8, 1), 200), "uint": ((1, 32, 1), 2**32 - 1), "float": (FLOAT, 0.5), "double": ((2, 64, 1), 0.25),
}  # fmt: skip


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_as_arguments(opencl, name):
    import tvm

    kind, value = NUMBERS[name]
    source = f"__kernel void put(__global double* a, {name} v) {{ a[get_global_id(0)] = v; }}"
    result = tvm.runtime.empty((8,), "float64", opencl)
    kernel("put", source, [HANDLE, kind], ["threadIdx.x"])(result, value, 8)
    assert np.array_equal(result.numpy(), np.full(8, value, "float64"))


@pytest.mark.parametrize(
    ("tags", "sizes", "groups"),
    [
        (["blockIdx.x"], (6,), (6, 1, 1, 1, 1, 1)),
        (["blockIdx.z", "threadIdx.y"], (3, 2), (1, 1, 3, 1, 2, 1)),
        (["threadIdx.x", "blockIdx.y", "threadIdx.z", "blockIdx.x"], (2, 3, 4, 5), (5, 3, 1, 2, 1, 4)),
        (["blockIdx.x", "threadIdx.x", "tirx.use_dyn_shared_memory"], (2, 3, 64), (2, 1, 1, 3, 1, 1)),
        (["blockIdx.x", "threadIdx.x"], (0, 0), (1, 1, 1, 1, 1, 1)),  # TVM's rule for shapes of nothing
    ],
)
def test_launch_sizes(opencl, tags, sizes, groups):
    import tvm

    told = "".join(f"a[{i}] = get_num_groups({i}); a[{i + 3}] = get_local_size({i});" for i in range(3))
    result = tvm.runtime.empty((6,), "int32", opencl)
    kernel("sizes", f"__kernel void sizes(__global int* a) {{ {told} }}", [HANDLE], tags)(result, *sizes)
    assert tuple(result.numpy()) == groups


def test_options_of_a_kernel(opencl, monkeypatch):
    import tvm

    result = tvm.runtime.empty((1,), "int32", opencl)
    source = "// Options: -DA=3 -cl-mad-enable\n__kernel void put(__global int* a) { a[0] = A + B; }"
    monkeypatch.setenv("SR_TVM_OPENCL_OPTIONS", "-DB=4")
    kernel("put", source, [HANDLE], ["threadIdx.x"])(result, 1)
    assert result.numpy()[0] == 7


def test_the_bytes_of_a_module_stay(opencl):
    data = module_bytes("add_one", ADD_ONE, [HANDLE], ["blockIdx.x", "threadIdx.x"])
    module = load(data)
    assert module.kind == "opencl" and "add_one" in module.inspect_source()
    save = __import__("tvm").get_global_func("ffi.Module.save_to_bytes", allow_missing=True)
    assert save is None or bytes(save(module)) == data


@pytest.mark.parametrize("cut", [0, 7, 8, 9, 40, 90, -1])
def test_damaged_modules(opencl, cut):
    data = module_bytes("add_one", ADD_ONE, [HANDLE], ["blockIdx.x", "threadIdx.x"])
    with pytest.raises(ValueError, match="the module is damaged, or of another version of TVM"):
        load(data[:cut])
    with pytest.raises(ValueError, match="damaged"):
        load(data + b"x")
    with pytest.raises(ValueError, match="no source of its kernel sub_one"):
        load(data.replace(b"Function: add_one", b"Function: add_two").replace(b"add_one", b"sub_one"))


def test_arguments_that_cannot_be_passed(opencl):
    with pytest.raises(ValueError, match="kernel k has an argument of type float16; buffers, integers"):
        load(module_bytes("k", "__kernel void k(half x) {}", [(2, 16, 1)], []))
    with pytest.raises(ValueError, match="kernel k wants a launch that only CUDA has"):
        load(module_bytes("k", "__kernel void k() {}", [], ["clusterCtaIdx.x"]))


def test_too_few_arguments(opencl):
    import tvm

    value = tvm.runtime.tensor(np.zeros(4, "float32"), opencl)
    function = kernel("add_one", ADD_ONE, [HANDLE], ["blockIdx.x", "threadIdx.x"])
    with pytest.raises(ValueError, match="kernel add_one takes 3 arguments and launch parameters; 2 were given"):
        function(value, 4)


def test_source_that_does_not_compile(opencl):
    import tvm

    value = tvm.runtime.tensor(np.zeros(4, "float32"), opencl)
    with pytest.raises(RuntimeError) as caught:
        kernel("bad", "__kernel void bad(__global float* a) {\n a[0] = nonsense;\n}", [HANDLE], ["threadIdx.x"])(
            value, 1
        )
    first, *log = str(caught.value).splitlines()
    assert first.startswith("OpenCL: compiling kernel bad for opencl:0 (") and "nonsense" in first
    assert "fails: CL_BUILD_PROGRAM_FAILURE (-11)" in first
    assert any("nonsense" in line for line in log) and all(line.startswith("  ") for line in log)


def test_a_name_that_is_no_kernel(opencl):
    with pytest.raises(
        RuntimeError, match=r"making kernel other for opencl:0 .* fails: CL_INVALID_KERNEL_NAME \(-46\)"
    ):
        kernel("other", "__kernel void another() {}", [], ["threadIdx.x"])(1)


def test_a_work_group_that_is_too_big(opencl):
    import tvm

    most = opencl.max_threads_per_block
    value = tvm.runtime.tensor(np.zeros(4 * most, "float32"), opencl)
    with pytest.raises(
        RuntimeError, match=rf"kernel add_one wants work-groups of {2 * most} = {2 * most} work-items; .*at most \d+"
    ):
        add_one(value, 4 * most, 2 * most)
    add_one(value, 4 * most, most)
    assert (value.numpy() == 1).all()


def test_more_local_memory_than_there_is(opencl):
    import tvm

    floats = opencl.max_shared_memory_per_block // 4 + 1024
    source = f"""__kernel void big(__global float* a) {{
      __local float tile[{floats}];
      for (int i = get_local_id(0); i < {floats}; i += get_local_size(0)) tile[i] = a[0] + i;
      barrier(CLK_LOCAL_MEM_FENCE);
      a[get_local_id(0)] = tile[{floats} - 1 - get_local_id(0)];
    }}"""
    value = tvm.runtime.tensor(np.zeros(4, "float32"), opencl)
    with pytest.raises(
        RuntimeError, match=rf"kernel big .*(wants {4 * floats} bytes of local memory; .* has|fails: CL_)"
    ):
        kernel("big", source, [HANDLE], ["threadIdx.x"])(value, 4)
    dynamic = kernel("add_one", ADD_ONE, [HANDLE], ["threadIdx.x", "tirx.use_dyn_shared_memory"])
    with pytest.raises(RuntimeError, match=rf"kernel add_one wants {4 * floats} bytes of local memory; .* has"):
        dynamic(value, 4, 4 * floats)


@pytest.mark.parametrize(
    ("name", "code"), [("CL_DEVICE_NOT_AVAILABLE", -2), ("CL_OUT_OF_RESOURCES", -5), ("CL_INVALID_COMMAND_QUEUE", -36)]
)
def test_a_device_lost_in_the_middle(python, driver, name, code):
    done = python(THREE_RUNS, SR_TVM_OPENCL=driver(LOST.replace("CODE", str(code))))
    runs, *errors, end = done.stdout.splitlines()
    assert runs == "[2. 2. 2. 2.]" and end == "the end" and done.returncode == 0, done.stderr
    assert len(errors) == 2
    for line in errors:
        assert "starting kernel add_one in 4 work-items, groups of 1, on opencl:0 (" in line
        assert f"fails: {name} ({code}); the device was lost" in line and "start a new process" in line


def test_times_of_the_device(opencl):
    import tvm

    source = """__kernel void spin(__global float* a, int n) {
      float x = a[0];
      for (int i = 0; i < n; ++i) x = x * 1.0001f + 0.5f;
      a[0] = x;
    }"""
    spin = load(module_bytes("spin", source, [HANDLE, INT], ["threadIdx.x"]))
    value = tvm.runtime.tensor(np.zeros(4, "float32"), opencl)
    import ctypes

    def seconds(n: int) -> float:
        timed = spin.time_evaluator("spin", opencl, number=3, repeat=5)
        return min(timed(ctypes.c_void_p(value.data_ptr()), n, 1).results)

    short, long = seconds(100_000), seconds(1_000_000)
    assert short > 0 and 5 < long / short < 20
