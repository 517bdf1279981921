"""Whatever the search makes of decisions can be carried out, written down and read again."""

from __future__ import annotations

import json
from random import Random

import pytest
from gpu_harness import decided, examples
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from region_nets import regions, sizes, wdsr

from sr_tvm.errors import SrTvmError
from sr_tvm.regions.region import Region
from sr_tvm.targets.opencl.decisions import NARROW, PIXELS, OpenClDecisions, StageDecisions
from sr_tvm.targets.opencl.lowering import OpenClLowering
from sr_tvm.targets.opencl.shares import outputs_of
from sr_tvm.targets.opencl.stages import cut_stages

LOWERING = OpenClLowering()


def assert_valid(decisions: OpenClDecisions, region: Region, size: tuple[int, int, int]) -> None:
    assert LOWERING.fits(decisions, region, size)
    assert LOWERING.from_json(json.loads(json.dumps(LOWERING.to_json(decisions))), "a test") == decisions
    for stage, piece in zip(decisions.stages, cut_stages(region, *decisions.way), strict=True):
        assert stage.outputs in outputs_of(piece.region, decisions.narrow)
        assert stage.pixels == 1 or stage.pixels <= size[2]


@examples(30)
@given(st.data())
def test_every_operator_gives_valid_decisions(data: st.DataObject) -> None:
    region, size = data.draw(regions()), data.draw(sizes())
    space, rng = LOWERING.space(region, size), Random(data.draw(st.integers(0, 2**32)))
    population = [*space.seeds(), *(space.random(rng) for _ in range(4)), space.repair(data.draw(decided(region)))]
    assert population[0] == space.default == space.repair(LOWERING.decide(region, size))
    for _ in range(20):
        a, b = rng.choice(population), rng.choice(population)
        population += [d for d in (space.crossover(a, b, rng), space.mutate(a, rng)) if d is not None]
    for decisions in population:
        assert_valid(decisions, region, size)
        assert space.repair(decisions) == decisions, "the canonical form of what an operator gives is itself"
        assert (space.key(decisions) == space.key(population[0])) == (decisions == population[0])


@examples(10)
@given(st.data())
def test_its_own_decisions_are_valid(data: st.DataObject) -> None:
    region, size = data.draw(regions()), data.draw(sizes())
    assert_valid(LOWERING.decide(region, size), region, size)


def test_the_same_random_numbers_give_the_same_decisions() -> None:
    space = LOWERING.space(wdsr(2, 24, 2), (1, 90, 160))
    first, second = ([space.random(Random(seed)) for seed in range(5)] for _ in range(2))
    assert first == second and len(set(map(space.key, first))) > 1


def test_a_mutation_changes_something_or_says_that_it_did_not() -> None:
    space, rng = LOWERING.space(wdsr(2, 24, 2), (1, 90, 160)), Random(0)
    found = [space.mutate(space.default, rng) for _ in range(50)]
    assert space.default not in found and len(set(found)) > 5


def test_decisions_of_another_region_do_not_fit() -> None:
    decisions = LOWERING.decide(wdsr(1, 24, 2), (1, 90, 160))
    assert not LOWERING.fits(decisions, wdsr(3, 24, 2), (1, 90, 160))


def test_every_choice_has_its_json() -> None:
    decisions = OpenClDecisions(NARROW[0], "image", True, False, tuple(StageDecisions(pixels) for pixels in PIXELS))
    assert OpenClDecisions.from_json(json.loads(json.dumps(decisions.to_json())), "a test") == decisions


def test_version_1_is_read_as_the_kernels_were_then() -> None:
    """It had none of what came with version 2."""
    now = OpenClDecisions(24, "image", True, False, (StageDecisions(4, (32, 8), outputs=2, load=2), StageDecisions()))
    value = json.loads(json.dumps(now.to_json())) | {"version": 1}
    del value["remade"]
    for row in value["stages"]:
        del row["tiles"], row["winograd"]
    assert OpenClDecisions.from_json(value, "records") == now
    with pytest.raises(SrTvmError, match="records: field remade is missing"):
        OpenClDecisions.from_json(value | {"version": 2}, "records")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": True}, "not version 2 of sr-tvm opencl decisions, nor 1; tune again, into another folder"),
        ({"narrow": 24.0}, "field narrow is 24.0; 8, 16, 24"),
        ({"version": 1, "stages": [5]}, r"field stages\[0\] is 5; an object"),
        ({"version": 7}, "not version 2 of sr-tvm opencl decisions"),
        ({"narrow": 5}, "field narrow is 5; 8, 16, 24"),
        ({"storage": "paper"}, "field storage is 'paper'; 'buffer' or 'image'"),
        ({"packed": 1}, "field packed is 1; true or false"),
        ({"remade": 0}, "field remade is 0; true or false"),
        ({"stages": 5}, "field stages is 5; a list"),
        ({"stages": [{"pixels": 2}]}, r"field stages\[0\].group is missing"),
        *(
            ({"stages": [StageDecisions().to_json() | {name: value}]}, message)
            for name, value, message in (
                ("pixels", 3, "pixels is 3; 1, 2, 4 or 8"),
                ("pixels", 2.0, "pixels is 2.0; 1, 2"),
                ("pixels", True, "pixels is True; 1, 2"),
                ("tiles", 2.0, "tiles is 2.0; 1, 2"),
                ("load", True, "load is True; 1, 2 or 4"),
                ("outputs", True, "outputs is True; a whole number from 0 to 1024"),
                ("outputs", 2.0, "outputs is 2.0; a whole number"),
                ("group", [64.0, 4], r"group\[0\] is 64.0; a whole number"),
                ("group", [7, 4], "group is 7x4; 64x1, 64x2"),
                ("group", 7, "group is 7; a list of 2"),
                ("tiles", 7, "tiles is 7; 1, 2, 3"),
                ("winograd", 1, "winograd is 1; true or false"),
                ("weights", "moon", "weights is 'moon'; 'local' or 'global'"),
                ("outputs", -1, "outputs is -1; a whole number"),
                ("load", 3, "load is 3; 1, 2 or 4"),
                ("sums", "float8", "sums is 'float8'; 'float32' or 'float16'"),
            )
        ),
    ],
)
def test_what_is_no_decisions(change: dict, message: str) -> None:
    value = json.loads(json.dumps(OpenClDecisions(24, "image", True, False, (StageDecisions(),)).to_json())) | change
    with pytest.raises(SrTvmError, match=f"records: .*{message}"):
        OpenClDecisions.from_json(value, "records")


def test_decisions_of_another_depth_keep_first_and_last_stages() -> None:
    """The middle is repeated, or left out."""
    size = (1, 90, 160)
    few, many = wdsr(2, 24, 2), wdsr(6, 24, 2)
    given = LOWERING.decide(few, size)
    marked = tuple(
        structs.replace(stage, tiles=tiles) for stage, tiles in zip(given.stages, (3, 4, 6, 9, 12), strict=False)
    )
    given = structs.replace(given, stages=marked[: len(given.stages)])
    tiles = [stage.tiles for stage in given.stages]
    (deeper,) = LOWERING.space(many, size, [given]).known
    assert_valid(deeper, many, size)
    made, front = [stage.tiles for stage in deeper.stages], -(-len(tiles) // 2)
    between = [tiles[front - 1]] * (len(made) - len(tiles))
    assert len(made) > len(tiles) and made == [*tiles[:front], *between, *tiles[front:]]
    (back,) = LOWERING.space(few, size, [deeper]).known
    assert back == LOWERING.space(few, size).repair(given)
