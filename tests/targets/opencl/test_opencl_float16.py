"""Kernels in float16: as numpy does their steps, against PyTorch, and on a driver that computes in float16.

PoCL 3.1 does not on x86; Intel's OpenCL for the CPU does, from pip, on any x86 (docs/opencl.md): run this file with it.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from gpu_harness import decided, examples
from harness import module_of, random_inputs
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from region_nets import regions, wdsr
from region_reference import evaluate, result_name

from sr_tvm import shipped
from sr_tvm.build.options import CompileOptions
from sr_tvm.errors import SrTvmError
from sr_tvm.evaluation.verification import verify
from sr_tvm.isa import system
from sr_tvm.isa.modules import count_module
from sr_tvm.regions.region import Result
from sr_tvm.regions.value import FLOAT16, FLOAT32
from sr_tvm.targets import registry
from sr_tvm.targets.opencl.decisions import OpenClDecisions
from sr_tvm.targets.opencl.emulate import emulate
from sr_tvm.targets.opencl.lowering import OpenClLowering
from sr_tvm.targets.opencl.source import Mended

SIZE = (1, 9, 11)


def summed_in(decisions: OpenClDecisions, sums: str) -> OpenClDecisions:
    return structs.replace(decisions, stages=tuple(structs.replace(s, sums=sums) for s in decisions.stages))


def error(region, decisions) -> float:
    """The largest deviation from PyTorch in float64, of the reference's peak."""
    inputs = random_inputs(region, SIZE)
    made = emulate(region, decisions, {name: array[0] for name, array in inputs.items()})
    plain = dataclasses.replace(region, results=tuple(Result(r.value) for r in region.results))
    reference = evaluate(plain, inputs, torch.float64)
    worst = 0.0
    for value, array in made.items():
        expected = reference[result_name(value, 1)][0]
        worst = max(worst, float(np.abs(array - expected).max() / max(1.0, np.abs(expected).max())))
    return worst


@examples(12)
@given(st.data())
def test_any_region_by_any_decisions(data: st.DataObject) -> None:
    region = data.draw(regions(max_parts=4))
    decisions = summed_in(data.draw(decided(region)), data.draw(st.sampled_from((FLOAT16, FLOAT32))))
    assert error(region, decisions) < 0.03


def test_sums_in_float32_are_nearer() -> None:
    region = wdsr(2, 16, 2)
    decisions = OpenClLowering(dtype=FLOAT16).decide(region, SIZE)
    wide, narrow = (error(region, summed_in(decisions, sums)) for sums in (FLOAT32, FLOAT16))
    assert 0 < wide < narrow < 1e-2


@pytest.mark.parametrize("name", ["adreno", "mali"])
def test_kernels_hold_float16_and_pictures_float32(name: str) -> None:
    region = wdsr(1, 8, 2)
    kernels = registry.get(name).computing_in(FLOAT16).lowering().lower(region, (1, 12, 16), "f")
    first, last = kernels[0], kernels[-1]
    assert {value.dtype for value in first.inputs} == {value.dtype for value in last.outputs} == {FLOAT32}
    assert {value.dtype for kernel in kernels[:-1] for value in kernel.outputs} == {FLOAT16}
    assert {str(c.numbers.dtype) for kernel in kernels for c in kernel.constants} == {FLOAT16}


def test_the_phones_kernels_on_a_driver(opencl) -> None:
    """Of a shipped network: sums in float32 stay within 2e-3 of float32, sums in float16 within 2e-2."""
    from sr_tvm.runtimes.opencl import backend

    model = shipped.models() / "wdsr_x2_37k.onnx"
    for name, most in (("adreno", 2e-3), ("mali", 2e-2)):
        target = registry.get(name).computing_in(FLOAT16)
        if not backend.find().devices[0].float16:
            with pytest.raises(SrTvmError, match="has no float16; .*intel-opencl-rt"):
                target.stand_in()
            continue
        made = verify(model, target, {"x": (1, 3, 12, 32)}, CompileOptions(dtype=FLOAT16))
        assert 0 < made.deviation <= most


@pytest.mark.parametrize(("name", "gpu"), [("adreno", "adreno-660"), ("mali", "mali-g57")])
def test_phones_compilers_take_it(name: str, gpu: str) -> None:
    """With sums in float32, as for adreno, and in float16, as for mali."""
    if (why := system.missing()) is not None:
        pytest.skip(why)
    target = registry.get(name).computing_in(FLOAT16)
    kernels = target.lowering().lower(wdsr(1, 8, 2), (1, 12, 64), "f")
    mod = module_of(kernels)
    with Mended(mod):
        counts = count_module(mod, target.tvm_target(), gpu)
    assert len(counts) == len(kernels) and all(count.kinds["mac"] > 0 for count in counts)
