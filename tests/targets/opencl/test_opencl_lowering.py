"""The OpenCL lowering computes what PyTorch does, whatever it decides."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from gpu_harness import LOCAL_BYTES, SIDES, TARGET, OnGpu, check, code_of, decided, examples
from harness import compare, random_inputs
from hypothesis import given
from hypothesis import strategies as st
from region_nets import Builder, regions, sizes, wdsr

from sr_tvm.regions.region import Result
from sr_tvm.targets.opencl.decisions import BUFFER, GLOBAL, IMAGE, LOCAL, OpenClDecisions, StageDecisions
from sr_tvm.targets.opencl.kernel import Limits
from sr_tvm.targets.opencl.lowering import OpenClLowering

pytestmark = pytest.mark.usefixtures("opencl")


@examples(8)
@given(st.data())
def test_any_decisions_at_any_size(data: st.DataObject) -> None:
    region, size = data.draw(regions()), data.draw(sizes(SIDES))
    limits = Limits(local_bytes=data.draw(st.sampled_from(LOCAL_BYTES)))
    check(region, size, random_inputs(region, size), data.draw(decided(region)), limits)


@examples(3)
@given(st.data())
def test_its_own_decisions(data: st.DataObject) -> None:
    region, size = data.draw(regions()), data.draw(sizes(SIDES))
    check(region, size, random_inputs(region, size))


@pytest.mark.parametrize("storage", [IMAGE, BUFFER])
@pytest.mark.parametrize(
    ("blocks", "width", "size"), [(1, 8, (1, 20, 32)), (2, 13, (2, 19, 37)), (2, 24, (1, 21, 128))]
)
def test_wdsr(blocks: int, width: int, size: tuple[int, int, int], storage: str) -> None:
    region = wdsr(blocks, width, 2)
    decisions = OpenClLowering(storage=storage).decide(region, size)
    assert decisions.storage == storage
    check(region, size, random_inputs(region, size), decisions)


def test_decisions_of_the_search() -> None:
    """Of a region that is narrow enough to be cut in several ways."""
    region, size, rng = wdsr(1, 8, 3), (1, 9, 21), Random(0)
    space = OpenClLowering().space(region, size)
    inputs = random_inputs(region, size)
    for _ in range(3):
        check(region, size, inputs, space.random(rng))


@pytest.mark.parametrize("storage", [IMAGE, BUFFER])
def test_runs_are_the_same_bit_for_bit(storage: str) -> None:
    region, size = wdsr(2, 12, 2), (1, 37, 50)
    code = code_of(region, size, OpenClLowering(storage=storage).decide(region, size))
    inputs = random_inputs(region, size)
    first = code.run(inputs)
    for _ in range(19):
        for key, array in code.run(inputs).items():
            np.testing.assert_array_equal(array, first[key])


def test_weights_that_local_memory_does_not_hold() -> None:
    """One turn of the 5x5 is larger than it: those weights are read where they lie."""
    build = Builder(np.random.default_rng(0))
    value = build.conv((build.source(3),), 24, (3, 3))
    region = build.region((Result(build.conv((value,), 20, (5, 5))),))
    size = (1, 6, 10)
    inputs = random_inputs(region, size)
    lowering = OpenClLowering(Limits(local_bytes=1024))
    kernels = lowering.lower(region, size, "region")
    compare(region, inputs, OnGpu(kernels, TARGET).run(inputs))


@pytest.mark.parametrize("weights", [LOCAL, GLOBAL])
@pytest.mark.parametrize("inputs", [3, 6])
def test_rows_of_weights_that_local_memory_does_not_hold(inputs: int, weights: str) -> None:
    """Of a row, groups of four inputs take turns, the last of which is not full."""
    build = Builder(np.random.default_rng(0))
    region = build.region((Result(build.conv((build.source(inputs),), 48, (3, 3))),))
    size, stage = (2, 5, 10), StageDecisions(2, (32, 2), weights=weights, outputs=3)
    decisions = OpenClDecisions(32, BUFFER, False, False, (stage,))
    check(region, size, random_inputs(region, size), decisions, Limits(local_bytes=1024))


def test_a_convolution_that_is_added_twice() -> None:
    """Its weights are in local memory the second time, though those of another were there between."""
    build = Builder(np.random.default_rng(0))
    source = build.source(4)
    x = build.add(build.conv((source,), 8, (3, 3)), build.conv((source,), 8, (9, 9)))
    region = build.region((Result(build.add(build.conv((source,), 8, (3, 3)), build.add(x, x))),))
    size = (1, 6, 10)
    check(region, size, random_inputs(region, size), None, Limits(local_bytes=8192))


@pytest.mark.parametrize("outputs", [0, 1, 2])
@pytest.mark.parametrize("channels", [6, 16])
def test_depthwise_convolutions(channels: int, outputs: int) -> None:
    build = Builder(np.random.default_rng(0))
    region = build.region((Result(build.conv((build.source(channels),), channels, (3, 5), groups=channels)),))
    size, stage = (2, 5, 10), StageDecisions(2, (32, 2), tiles=2, outputs=outputs, winograd=True)
    check(region, size, random_inputs(region, size), OpenClDecisions(32, IMAGE, False, False, (stage,)))


@pytest.mark.parametrize("tiles", [1, 3])
@pytest.mark.parametrize("kernel", [(3, 3), (5, 3)])
def test_winograd_of_shared_channels(kernel: tuple[int, int], tiles: int) -> None:
    """In groups of four inputs and, with less local memory, in rows; with a picture whose edge is within a tile."""
    build = Builder(np.random.default_rng(0))
    region = build.region((Result(build.conv((build.source(7),), 24, kernel)),))
    size, stage = (2, 19, 23), StageDecisions(4, (32, 2), tiles, outputs=2, winograd=True)
    for local in LOCAL_BYTES:
        decisions = OpenClDecisions(32, IMAGE, False, False, (stage,))
        check(region, size, random_inputs(region, size), decisions, Limits(local_bytes=local))


def test_no_kernels_for_a_size_that_is_not_known() -> None:
    assert OpenClLowering().lower(wdsr(1, 8, 2), (1, None, None), "region") == []


def test_global_weights_of_every_stage() -> None:
    region, size = wdsr(2, 20, 4), (1, 11, 13)
    own = OpenClLowering().decide(region, size)
    stages = tuple(StageDecisions(2, (32, 2), weights=GLOBAL, outputs=stage.outputs) for stage in own.stages)
    decisions = OpenClDecisions(own.narrow, IMAGE, own.packed, own.remade, stages)
    check(region, size, random_inputs(region, size), decisions)
