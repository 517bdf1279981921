"""The row lowering computes what PyTorch does, whatever it decides; see row_cases for what is drawn."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from harness import QUICK, TOLERANCE, Compiled, check, compiled, random_inputs
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from region_nets import Builder, regions, shapes, sizes, wdsr
from row_cases import PROCESSORS, Banded, Decided, decided, narrowest

from sr_tvm.errors import SrTvmError
from sr_tvm.regions.region import Region, Result
from sr_tvm.targets.cpu.rows.decide import Decider
from sr_tvm.targets.cpu.rows.decisions import PieceDecisions, RowDecisions, Tiles
from sr_tvm.targets.cpu.rows.layout import RowLayout
from sr_tvm.targets.cpu.rows.lowering import RowLowering
from sr_tvm.targets.cpu.rows.machine import CpuCore
from sr_tvm.targets.plain.lowering import PlainLowering

ANY = (None, None, None)
AVX512, AVX2 = CpuCore(16, 32), CpuCore(8, 16)
SIDES = (1, 2, 3, 5, 8, 16, 19, 33, 66, 90)


def examples(n: int) -> settings:
    return settings(max_examples=n, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


@examples(12)
@given(st.data())
def test_any_decisions_at_any_size(data: st.DataObject) -> None:
    region = data.draw(regions())
    lowering = data.draw(decided(region))
    for size in data.draw(st.lists(sizes(SIDES), min_size=2, max_size=3)):
        check(lowering, region, size, ANY, QUICK)


@examples(6)
@given(st.data())
def test_its_own_decisions_for_sizes_known_in_part_or_in_whole(data: st.DataObject) -> None:
    region, size = data.draw(regions(max_parts=3)), data.draw(sizes(SIDES))
    lowering = RowLowering(data.draw(st.sampled_from(PROCESSORS)), winograd=data.draw(st.booleans()))
    check(lowering, region, size, data.draw(shapes(size)), QUICK)


@examples(2)
@example(wdsr(2, 13, 2), AVX2, 2)
@given(regions(max_parts=4), st.sampled_from(PROCESSORS), st.sampled_from((1, 2)))
def test_bands_give_the_same_bits(region: Region, processor: CpuCore, phases: int) -> None:
    layout = RowLayout(processor.lanes, phases, phases, narrowest(region, processor.lanes, phases))
    inputs = random_inputs(region, (2, 51, 37))
    one, *others = [Compiled(Banded(layout, Tiles(), n).lower(region, ANY, "f"), QUICK).run(inputs) for n in (1, 2, 3)]
    for other in others:
        for key, value in one.items():
            assert np.array_equal(value, other[key]), key


THREADS = """
import hashlib, sys
from harness import QUICK, compiled, random_inputs
from region_nets import wdsr
from sr_tvm.targets.cpu.rows.lowering import RowLowering
from sr_tvm.targets.cpu.rows.machine import CpuCore
region = wdsr(2, 5, 2)
code = compiled(RowLowering(CpuCore(16, 32)), region, (None, None, None), tuple(QUICK.items()))
(result,) = region.results
made = code.run(random_inputs(region, (1, 55, 40)))[result.value, result.shuffle]
print(hashlib.sha256(made.tobytes()).hexdigest())
"""


def test_threads_give_the_same_bits() -> None:
    """The environment of a process says how many threads TVM's pool has."""
    folders = [str(Path(__file__).parent), str(Path(__file__).parent.parent / "passes")]
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", f"import sys; sys.path[:0] = {folders}" + THREADS],
            env={**os.environ, "TVM_NUM_THREADS": threads},
            stdout=subprocess.PIPE,
            text=True,
        )
        for threads in ("1", "3")
    ]
    hashes = [run.communicate(timeout=300)[0] for run in runs]
    assert len(hashes[0]) == len(hashlib.sha256().hexdigest()) + 1 and hashes[0] == hashes[1]


@examples(3)
@given(st.data())
def test_it_agrees_with_the_plain_lowering(data: st.DataObject) -> None:
    region, size = data.draw(regions()), data.draw(sizes(SIDES))
    inputs = random_inputs(region, size)
    plain, rows = (
        compiled(lowering, region, ANY, tuple(QUICK.items())).run(inputs)
        for lowering in (PlainLowering(), RowLowering(AVX512))
    )
    for result in region.results:
        expected, actual = (made[result.value, result.shuffle] for made in (plain, rows))
        limit = 2 * TOLERANCE * max(1.0, float(np.abs(expected).max()))
        assert np.abs(actual - expected).max() <= limit, result


DEEP = wdsr(blocks=8, width=5, scale=3)


@pytest.mark.parametrize("mcpu, processor", [("haswell", AVX2), ("x86-64", CpuCore(4, 16))])
def test_a_deep_net_in_narrow_strips(mcpu: str, processor: CpuCore) -> None:
    """Optimised fully, for vectors that any x86 machine with AVX2 has."""
    piece = PieceDecisions(narrowest(DEEP, processor.lanes, 2), 2, Decider(processor).tiles())
    lowering = Decided(RowLowering(processor), RowDecisions((), (piece,)))
    for size in [(1, 1, 1), (1, 2, 137), (2, 40, 2), (1, 33, 90)]:
        check(lowering, DEEP, size, ANY, {"kind": "llvm", "mcpu": mcpu})


def test_wide_vectors() -> None:
    for size in [(1, 1, 1), (1, 20, 700)]:
        check(RowLowering(AVX512), DEEP, size, ANY, QUICK)


def test_one_value_stored_twice_and_shuffled() -> None:
    build = Builder(np.random.default_rng(0))
    value = build.conv((build.source(2),), 8, (3, 3))
    region = build.region((Result(value, 2), Result(value)))
    check(RowLowering(AVX2), region, (2, 5, 6), ANY, QUICK)


def test_groups_that_take_channels_of_two_inputs() -> None:
    build = Builder(np.random.default_rng(0))
    first = build.source(5)
    second = build.conv((first,), 3, (3, 3))
    region = build.region((Result(build.conv((first, second), 6, (3, 3), groups=2)),))
    check(RowLowering(AVX2), region, (1, 9, 21), ANY, QUICK)


def test_a_grouped_layer_before_a_1x1_is_not_chunked() -> None:
    build = Builder(np.random.default_rng(0))
    wide = build.conv((build.source(30),), 60, (3, 3), groups=30)
    region = build.region((Result(build.conv((wide,), 4, (1, 1))),))
    check(RowLowering(AVX2), region, (1, 6, 9), ANY, QUICK)


def test_halos_wider_than_a_picture_of_known_size() -> None:
    """Its one strip is narrower than the halos of 10 pixels that several strips would have."""
    check(RowLowering(AVX2), DEEP, (1, 3, 13), (1, 3, 13), QUICK)


def test_strips_no_wider_than_their_halos_are_refused() -> None:
    piece = PieceDecisions(16, 2, Tiles())
    with pytest.raises(SrTvmError, match="strips of 16 pixels are too narrow for a halo of 10"):
        RowLowering(AVX2).lower(DEEP, ANY, "f", RowDecisions((), (piece,)))
