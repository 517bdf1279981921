"""Regions cut at each depth: the parts that the depth says, which together compute what the region does."""

from __future__ import annotations

import numpy as np
import pytest
from region_reference import evaluate, result_name

from sr_tvm.errors import SrTvmError
from sr_tvm.regions.depths import DEPTHS, cut_at
from sr_tvm.regions.region import Add, Concat, Conv, Node, Pointwise, Region, Result, Source


def conv(name: str, reads: str | tuple[str, ...], kernel: int = 3) -> Conv:
    inputs = (reads,) if isinstance(reads, str) else reads
    return Conv(name, inputs, np.ones((4, 4 * len(inputs), kernel, kernel), np.float32), np.zeros(4, np.float32))


def block(i: int, before: str) -> tuple[Node, ...]:
    return (
        conv(f"expand{i}", before, 1), Pointwise(f"relu{i}", (f"expand{i}",), "relu", (), 4),
        conv(f"linear{i}", f"relu{i}", 1), conv(f"project{i}", f"linear{i}"),
        Add(f"add{i}", (before, f"project{i}"), 4),
    )  # fmt: skip


WDSR = Region(
    (Source("x", 4), Pointwise("mean", ("x",), "shift", (np.ones(4, np.float32),), 4), conv("head", "mean"),
     *block(0, "head"), *block(1, "add0"), conv("skip", "mean", 5), conv("tail", "add1"),
     Add("sum", ("tail", "skip"), 4)),
    (Result("sum", 2),),
)  # fmt: skip


def names(parts: list[Region]) -> set[frozenset[str]]:
    return {frozenset(n.name for n in part.nodes if not isinstance(n, Source)) for part in parts}


@pytest.mark.parametrize(
    ("depth", "blocks"),
    [
        ("layer", [{"expand", "relu"}, {"linear"}, {"project", "add"}]),
        ("expand-project", [{"expand", "relu", "linear"}, {"project", "add"}]),
        ("block", [{"expand", "relu", "linear", "project", "add"}]),
    ],
)
def test_parts_of_a_wdsr(depth: str, blocks: list[set[str]]) -> None:
    parts = cut_at(WDSR, depth)
    expected = {frozenset(f"{n}{i}" for n in names) for names in blocks for i in (0, 1)}
    ends = {frozenset({"mean", "head"}), frozenset({"mean", "skip"}), frozenset({"tail", "sum"})}
    assert names(parts) == expected | ends
    known = {"x"}
    for part in parts:  # what a part reads was written before
        assert {s.name for s in part.sources} <= known
        known |= {r.value for r in part.results}
    assert parts[-1].results == (Result("sum", 2),)
    assert cut_at(WDSR, "net") == [WDSR]


@pytest.mark.parametrize("depth", DEPTHS)
def test_parts_compute_what_the_region_does(depth: str) -> None:
    values = {"x": np.random.default_rng(0).standard_normal((1, 4, 5, 6)).astype(np.float32) / 100}
    whole = evaluate(WDSR, values)
    for part in cut_at(WDSR, depth):
        values |= evaluate(part, {s.name: values[s.name] for s in part.sources})
    last = result_name("sum", 2)
    assert whole.keys() == {last} and whole[last].shape == (1, 1, 10, 12)
    np.testing.assert_allclose(values[last], whole[last], rtol=1e-5)


def test_what_others_read_is_stored() -> None:
    # Both convolutions read a; the concat of all three is a result beside one of them.
    region = Region(
        (Source("x", 4), conv("a", "x", 1), conv("b", "a", 1), conv("c", "a", 1), Concat("all", ("a", "b", "c"), 12)),
        (Result("all"), Result("b", 2)),
    )
    parts = cut_at(region, "expand-project")
    assert names(parts) == {frozenset({n}) for n in ("a", "b", "c", "all")}
    stored = {(r.value, r.shuffle) for part in parts for r in part.results}
    assert stored == {("a", 1), ("b", 1), ("b", 2), ("c", 1), ("all", 1)}
    with pytest.raises(SrTvmError, match="unknown depth 'deep'"):
        cut_at(region, "deep")
