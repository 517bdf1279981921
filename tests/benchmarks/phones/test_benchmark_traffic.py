"""Distinct bytes of work-groups, on kernels small enough to count by hand."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec import structs

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from tvm.script import ir as I
from tvm.script import tirx as T

from benchmarks.phones.traffic import Traffic, image_shapes, traffic
from sr_tvm.errors import SrTvmError
from sr_tvm.isa.tir import device_functions

TARGET = {"kind": "opencl", "keys": ["opencl", "gpu"], "max_num_threads": 256, "host": {"kind": "llvm"}}


def of(module: Any) -> Traffic:
    """The traffic of a module's only kernel."""
    function = next(f for _, f in device_functions(module, TARGET).functions_items())
    return traffic(function, {k: v for _, f in module.functions_items() for k, v in image_shapes(f).items()})


def test_a_value_that_many_read_counts_once_a_group() -> None:
    @I.ir_module
    class Blur:
        @T.prim_func(s_tir=True)
        def main(x: T.Buffer((64,), "float32"), w: T.Buffer((3,), "float32"), y: T.Buffer((64,), "float32")):
            T.func_attr({"tirx.is_scheduled": True})
            for g in T.thread_binding(4, thread="blockIdx.x"):
                for i in T.thread_binding(16, thread="threadIdx.x"):
                    y[g * 16 + i] = T.float32(0)
                    for k in range(3):
                        if g * 16 + i + k >= 1 and g * 16 + i + k - 1 < 64:
                            y[g * 16 + i] = y[g * 16 + i] + x[g * 16 + i + k - 1] * w[k]

    # Of 4 groups: 16 values and a neighbour on each side, but at the ends; 3 weights; 16 sums, read and written.
    found = of(Blur)
    assert found == Traffic(read=4 * ((17 + 18 + 18 + 17) + 4 * 3 + 4 * 16), written=4 * 64)


def test_local_memory_is_none_of_it() -> None:
    @I.ir_module
    class Copy:
        @T.prim_func(s_tir=True)
        def main(x: T.Buffer((8,), "float32"), y: T.Buffer((64,), "float32")):
            T.func_attr({"tirx.is_scheduled": True})
            for g in T.thread_binding(8, thread="blockIdx.x"):
                for i in T.thread_binding(8, thread="threadIdx.x"):
                    held = T.alloc_buffer((8,), "float32", scope="shared")
                    held[i] = x[i]
                    T.tvm_storage_sync("shared")
                    y[g * 8 + i] = held[7 - i]

    assert of(Copy) == Traffic(read=8 * 8 * 4, written=64 * 4)


def test_an_address_that_was_read_is_refused() -> None:
    @I.ir_module
    class Gather:
        @T.prim_func(s_tir=True)
        def main(at: T.Buffer((8,), "int32"), x: T.Buffer((8,), "float32"), y: T.Buffer((8,), "float32")):
            T.func_attr({"tirx.is_scheduled": True})
            for _ in T.thread_binding(1, thread="blockIdx.x"):
                for i in T.thread_binding(8, thread="threadIdx.x"):
                    y[i] = x[at[i]]

    with pytest.raises(SrTvmError, match="in an address"):
        of(Gather)


def test_our_kernel_reads_its_halo_and_its_weights_once_a_group() -> None:
    """The second of two 3x3 convolutions, between images: of each group its own pixels and those around them."""
    from tvm import IRModule

    from sr_tvm.regions.region import Conv, Region, Result, Source
    from sr_tvm.targets.opencl.decisions import IMAGE
    from sr_tvm.targets.opencl.lowering import OpenClLowering

    height, width, channels = 23, 70, 8
    rng = np.random.default_rng(0)

    def conv(name: str, read: str, inputs: int) -> Conv:
        numbers = rng.standard_normal((channels, inputs, 3, 3)).astype("float32")
        return Conv(name, (read,), numbers, rng.standard_normal(channels).astype("float32"))

    nodes = (Source("x", 3), conv("first", "x", 3), conv("second", "first", channels))
    region, shape = Region(nodes, (Result("second", 1),)), (1, height, width)
    lowering = OpenClLowering(storage=IMAGE)
    decided = lowering.decide(region, shape)
    stages = tuple(structs.replace(s, pixels=2, group=(16, 4), outputs=0) for s in decided.stages)
    first, second = lowering.lower(region, shape, "k", structs.replace(decided, stages=stages))
    found = of(IRModule({second.entry: second.functions[second.entry]}))
    read = 0
    for x in range(0, width, 32):
        for y in range(0, height, 4):
            wide = min(width, x + 33) - max(0, x - 1)
            tall = min(height, y + 5) - max(0, y - 1)
            read += 4 * (wide * tall * channels + channels * channels * 9 + channels)  # pixels, weights, biases
    assert found == Traffic(read, 4 * height * width * channels)
    assert of(IRModule({first.entry: first.functions[first.entry]})).written == found.written
