"""Modules of OpenCL C and of TIR, and the beginning of a driver."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Sequence

HANDLE, FLOAT, INT = (3, 64, 1), (2, 32, 1), (0, 32, 1)  # DLDataType's code, bits, lanes
ADD_ONE = "__kernel void add_one(__global float* a) { a[get_global_id(0)] += 1; }"

# What a test's driver overrides is written after this; the rest is the real library's, on which it depends.
DRIVER = """
#include <dlfcn.h>
#include <cstddef>
#include <cstring>
template <typename F> F real(F, const char* name) {
  return reinterpret_cast<F>(dlsym(dlopen("libOpenCL.so.1", RTLD_NOW), name));
}
"""


def _text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def module_bytes(name: str, source: str, arguments: Sequence[tuple[int, int, int]], tags: Sequence[str]) -> bytes:
    """A module of one kernel, as TVM's code generator writes it."""
    head = _text("cl") + struct.pack("<Q", 1) + _text(name) + _text(name)
    types = struct.pack("<Q", len(arguments)) + b"".join(struct.pack("<BBH", *a) for a in arguments)
    launch = struct.pack("<Q", len(tags)) + b"".join(map(_text, tags)) + struct.pack("<Q", 0)
    return head + types + launch + _text(f"// Function: {name}\n{source}\n")


def load(data: bytes):
    import tvm

    return tvm.get_global_func("ffi.Module.load_from_bytes.opencl")(data)


def kernel(name: str, source: str, arguments: Sequence[tuple[int, int, int]], tags: Sequence[str]):
    """A kernel as a function of tensors, numbers and, last, launch sizes."""
    function = load(module_bytes(name, source, arguments, tags))[name]

    def call(*values):
        function(*(ctypes.c_void_p(v.data_ptr()) if hasattr(v, "data_ptr") else v for v in values))

    return call


def add_one(value, items: int, group: int = 1) -> None:
    kernel("add_one", ADD_ONE, [HANDLE], ["blockIdx.x", "threadIdx.x"])(value, items // group, group)


def build_tir(function, name: str):
    """A function of TIR for the OpenCL device, called by this machine's CPU."""
    import tvm

    target = tvm.target.Target({"kind": "opencl", "max_num_threads": 256, "host": {"kind": "llvm"}})
    return tvm.tirx.build(tvm.IRModule({name: function}), target=target, pipeline="s_tir")
