"""The row lowering in float16: near float32, the same emulated as on a phone, and in the phone's own instructions."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
import tvm
from harness import HOST, QUICK, Compiled, module_of, random_inputs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs
from qemu import PHONE, Emulated, needs_qemu
from region_nets import Builder, regions, sizes
from region_reference import evaluate, result_name

from sr_tvm.errors import SrTvmError
from sr_tvm.regions.region import Region, Result
from sr_tvm.targets.cpu.rows.element import EMULATED_FLOAT16, FLOAT16
from sr_tvm.targets.cpu.rows.lowering import RowLowering
from sr_tvm.targets.cpu.rows.machine import CpuCore

NEON = CpuCore(4, 32, 512 << 10)
ANY = (None, None, None)
HERE = HOST | QUICK  # conversions of float16 by instruction, not by call
EMULATED = RowLowering(NEON, element=EMULATED_FLOAT16)
NATIVE = RowLowering(NEON, element=FLOAT16)


def block(width: int = 13) -> Region:
    """Input and output of a picture, a block with its residual, a Winograd layer, PReLU and a shuffle."""
    build = Builder(np.random.default_rng(5))
    picture = build.pointwise(build.source(3), "shift")
    head = build.pointwise(build.conv((picture,), width, (3, 3)), "prelu")
    wide = build.pointwise(build.conv((head,), 3 * width, (1, 1)), "relu")
    value = build.add(build.conv((build.conv((wide,), width, (1, 1)),), width, (3, 3)), head)
    tail = build.add(build.conv((value,), 12, (3, 3)), build.conv((picture,), 12, (5, 5)))
    return build.region((Result(tail, 2),))


def errors(region: Region, inputs: dict[str, np.ndarray], outputs: dict[tuple[str, int], np.ndarray]) -> list[float]:
    """Root of the mean squared error of each result, as a part of the reference's largest value."""
    reference = evaluate(region, inputs, torch.float64)
    found = []
    for result in region.results:
        expected = reference[result_name(result.value, result.shuffle)]
        error = outputs[result.value, result.shuffle] - expected
        found.append(float(np.sqrt(np.mean(error**2)) / max(1.0, np.abs(expected).max())))
    return found


@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(regions(max_parts=2), st.lists(sizes(), min_size=2, max_size=2))
def test_any_region_is_close_to_float32(region: Region, some: list[tuple[int, int, int]]) -> None:
    code = Compiled(EMULATED.lower(region, ANY, "region"), HERE)
    for size in some:
        inputs = random_inputs(region, size)
        assert max(errors(region, inputs, code.run(inputs))) < 4e-3


@pytest.mark.parametrize("winograd", [True, False])
def test_a_block_is_close_to_float32_but_not_in_float32(winograd: bool) -> None:
    rows = RowLowering(NEON, winograd=winograd, element=EMULATED_FLOAT16)
    inputs = random_inputs(block(), (1, 21, 43))
    (error,) = errors(block(), inputs, Compiled(rows.lower(block(), ANY, "region"), HERE).run(inputs))
    assert 1e-5 < error < 2e-3


def test_between_two_pieces_tensors_are_float32() -> None:
    region = block()
    decisions = EMULATED.decide(region, ANY)
    twice = structs.replace(decisions, cuts=(3,), pieces=decisions.pieces[:1] * 2)
    kernels = EMULATED.lower(region, ANY, "region", twice)
    assert len(kernels) == 2 and all(c.numbers.dtype == "float16" for k in kernels for c in k.constants)
    inputs = random_inputs(region, (1, 9, 17))
    assert max(errors(region, inputs, Compiled(kernels, HERE).run(inputs))) < 2e-3


def test_a_phone_multiplies_eight_numbers_at_a_time() -> None:
    assembly = tvm.compile(module_of(NATIVE.lower(block(), ANY, "region")), target=PHONE).mod.inspect_source("asm")
    assert len(re.findall(r"\bfmla\s+v\d+\.8h", assembly)) > 500
    assert not re.search(r"\bfml[as]\s+v\d+\.4s", assembly)


@needs_qemu
@pytest.mark.parametrize("size", [(1, 9, 43), (2, 1, 2)])
def test_a_phone_computes_what_the_emulation_says(size: tuple[int, int, int]) -> None:
    region = block()
    inputs = random_inputs(region, size)
    phone = Emulated(NATIVE.lower(region, ANY, "region"), PHONE).run(inputs)
    here = Compiled(EMULATED.lower(region, ANY, "region"), HERE).run(inputs)
    (key,) = ((r.value, r.shuffle) for r in region.results)
    # The emulation rounds a sum to float32 first; and the phone may fuse the product and the sum of a PReLU.
    assert np.mean(phone[key] == here[key]) > 0.5
    assert np.abs(phone[key] - here[key]).max() <= 4 * 2.0**-11 * max(1.0, np.abs(here[key]).max())
    assert max(errors(region, inputs, phone)) < 2e-3


def test_a_weight_beyond_float16_is_refused() -> None:
    build = Builder(np.random.default_rng(0))
    value = build.conv((build.source(1),), 2, (1, 1))
    region = build.region((Result(value),))
    region.by_name[value].bias[1] = 7e4  # type: ignore[union-attr]
    with pytest.raises(SrTvmError, match="a weight of the network is 7e\\+04, over the 65504 of float16"):
        NATIVE.lower(region, ANY, "region")


def test_the_bounds_of_a_clip_may_be_beyond_it() -> None:
    build = Builder(np.random.default_rng(0))
    value = build.pointwise(build.conv((build.source(1),), 2, (1, 1)), "clip")
    region = build.region((Result(value),))
    region.by_name[value].parameters[1][:] = 3e38  # type: ignore[union-attr]
    inputs = random_inputs(region, (1, 3, 5))
    assert max(errors(region, inputs, Compiled(EMULATED.lower(region, ANY, "region"), HERE).run(inputs))) < 2e-3
