"""The plain lowering computes what PyTorch does, for any region at any size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from harness import HOST, QUICK, check, compiled
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from region_nets import Builder, regions, shapes, sizes, wdsr

from sr_tvm.codegen.kernel import Kernel, Shape
from sr_tvm.errors import SrTvmError
from sr_tvm.regions.region import Region, Result
from sr_tvm.targets.plain.decisions import ORDERS, ROWS, PlainDecisions
from sr_tvm.targets.plain.lowering import PlainLowering

PLAIN = PlainLowering()
ANY = (None, None, None)


def examples(n: int) -> settings:
    return settings(max_examples=n, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


@examples(24)
@given(st.data())
def test_one_compilation_runs_at_any_size(data: st.DataObject) -> None:
    region = data.draw(regions())
    for size in data.draw(st.lists(sizes(), min_size=2, max_size=4)):
        check(PLAIN, region, size, ANY, QUICK)


@examples(12)
@given(st.data())
def test_sizes_known_in_part_or_in_whole(data: st.DataObject) -> None:
    region, size = data.draw(regions()), data.draw(sizes())
    check(PLAIN, region, size, data.draw(shapes(size)), QUICK)


@dataclass(frozen=True)
class Decided:
    """Plain loops with decisions made beforehand."""

    decisions: PlainDecisions
    name = "decided"

    def lower(self, region: Region, shape: Shape, name: str) -> list[Kernel]:
        return PLAIN.lower(region, shape, name, self.decisions)


@examples(24)
@given(regions(), sizes(), st.builds(PlainDecisions, st.sampled_from(ORDERS), st.sampled_from(ROWS)))
def test_whatever_is_decided(region: Region, size: tuple[int, int, int], decisions: PlainDecisions) -> None:
    check(Decided(decisions), region, size, ANY, QUICK)
    assert PlainDecisions.from_json(decisions.to_json(), "here") == decisions


@pytest.mark.parametrize("change", [{"order": "oo"}, {"rows": 5}, {"rows": True}, {"version": 2}])
def test_decisions_that_are_none_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(SrTvmError, match="here: "):
        PlainDecisions.from_json(PlainDecisions().to_json() | change, "here")


@examples(3)
@given(regions(), sizes())
def test_with_all_optimizations(region: Region, size: tuple[int, int, int]) -> None:
    check(PLAIN, region, size, ANY, HOST)


DEEP = wdsr(blocks=8, width=5, scale=3)


@pytest.mark.parametrize("size", [(1, 1, 1), (1, 2, 37), (2, 40, 2), (1, 33, 19)])
def test_a_deep_net_with_long_skips(size: tuple[int, int, int]) -> None:
    check(PLAIN, DEEP, size, ANY, QUICK)


def test_a_line_buffer_on_the_stack_is_read_after_it_is_written() -> None:
    """So small a function is inlined where that is allowed, and its reads then move ahead of the writes."""
    build = Builder(np.random.default_rng(0))
    region = build.region((Result(build.conv((build.source(1),), 12, (1, 1))),))
    check(PLAIN, region, (1, 1, 1), (1, None, 1), QUICK)


def test_one_value_stored_twice_and_shuffled() -> None:
    build = Builder(np.random.default_rng(0))
    value = build.conv((build.source(2),), 8, (3, 3))
    region = build.region((Result(value, 2), Result(value)))
    check(PLAIN, region, (2, 5, 6), ANY, QUICK)


def test_a_tap_of_zeros_is_not_computed() -> None:
    """A tap that is zero does not spread what is not finite."""
    build = Builder(np.random.default_rng(0))
    source = build.source(1)
    value = build.conv((source,), 1, (3, 3))
    region = build.region((Result(value),))
    region.by_name[value].weight[:, :, 0] = 0  # type: ignore[union-attr]
    picture = np.ones((1, 1, 4, 4), "float32")
    picture[0, 0, 0] = np.inf
    made = compiled(PLAIN, region, ANY, tuple(QUICK.items())).run({source: picture})[value, 1]
    assert not np.isfinite(made[0, 0, 0]).any() and np.isfinite(made[0, 0, 1:]).all()


def test_a_region_without_results_is_refused() -> None:
    build = Builder(np.random.default_rng(0))
    build.conv((build.source(1),), 1, (1, 1))
    with pytest.raises(SrTvmError, match="without a result"):
        PLAIN.lower(Region(tuple(build.nodes), ()), ANY, "f")


def test_a_shuffle_that_does_not_divide_is_refused() -> None:
    build = Builder(np.random.default_rng(0))
    value = build.conv((build.source(1),), 6, (1, 1))
    with pytest.raises(SrTvmError, match="pixel shuffle x2 of 6 channels"):
        PLAIN.lower(build.region((Result(value, 2),)), ANY, "f")
