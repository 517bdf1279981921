"""The buffer form of the kernels goes through TVM's generator of WGSL."""

from __future__ import annotations

import re

import pytest
import tvm
from harness import module_of
from region_nets import wdsr

from sr_tvm.targets.opencl.lowering import OpenClLowering

WASM = {"kind": "llvm", "mtriple": "wasm32-unknown-unknown-wasm"}


@pytest.mark.parametrize("weights", ["local", "global"])
def test_one_kernel_a_stage(weights: str) -> None:
    region, size = wdsr(2, 12, 2), (1, 20, 36)
    kernels = OpenClLowering(storage="buffer", weights=weights).lower(region, size, "region")
    assert len(kernels) == 4
    target = tvm.target.Target({"kind": "webgpu", "host": WASM})
    code = tvm.tirx.build(module_of(kernels), target=target, pipeline="s_tir")
    (device,) = [m for m in code.imports if m.kind == "webgpu"]
    text = device.inspect_source()
    found = re.findall(r"@compute @workgroup_size\(([^)]*)\)\s*fn (\w+)", text)
    assert [name for _, name in found] == [f"{k.entry}_kernel" for k in kernels]
    assert ("var<workgroup>" in text) == (weights == "local")
