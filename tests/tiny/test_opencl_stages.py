"""Where the GPU lowering cuts, and what a work-item does in each stage, by hand."""

from __future__ import annotations

import numpy as np
from msgspec.structs import replace

from sr_tvm.regions.region import Add, Concat, Conv, Pointwise, Region, Result, Source
from sr_tvm.targets.opencl.cost import Costs
from sr_tvm.targets.opencl.decisions import StageDecisions
from sr_tvm.targets.opencl.shares import outputs_of, splits_of
from sr_tvm.targets.opencl.stages import cut_stages, hidden_of
from sr_tvm.targets.opencl.steps import Apply, ConvolutionSum, Join, Load, plan_steps
from sr_tvm.targets.opencl.weights import WeightBlock, by_hidden, by_rows, phases, transformed, ungrouped


def conv(name: str, source: str, outputs: int, inputs: int, kernel: int, groups: int = 1) -> Conv:
    weight = np.arange(outputs * inputs * kernel**2, dtype="float32").reshape(outputs, inputs, kernel, kernel)
    return Conv(name, (source,), weight, np.ones(outputs, "float32"), groups)


def block(number: int, source: str, width: int) -> tuple:
    """A WDSR's: 1x1 to six times as many channels, ReLU, 1x1, 3x3, plus the input."""
    e, r, p, s, a = (f"{letter}{number}" for letter in "erpsa")
    return (
        conv(e, source, width * 6, width, 1),
        Pointwise(r, (e,), "relu", (), width * 6),
        conv(p, r, width, width * 6, 1),
        conv(s, p, width, width, 3),
        Add(a, (s, source), width),
    )


NET = Region(
    (
        Source("x", 3),
        conv("head", "x", 8, 3, 3),
        *block(0, "head", 8),
        *block(1, "a0", 8),
        conv("tail", "a1", 12, 8, 3),
        conv("skip", "x", 12, 3, 5),
        Add("sum", ("tail", "skip"), 12),
    ),
    (Result("sum", 2),),
)


def made(narrow: int = 16, packed: bool = False, region: Region = NET, remade: bool = False) -> list[list[str]]:
    return [
        [node.name for node in piece.region.nodes if not isinstance(node, Source)]
        for piece in cut_stages(region, narrow, packed, remade)
    ]


def test_a_stage_ends_after_the_1x1_convolutions():
    """A block's 3x3 and the next block's 1x1s are one kernel; the tail and the long skip, the last."""
    assert made() == [
        ["head", "e0", "r0", "p0"],
        ["s0", "a0", "e1", "r1", "p1"],
        ["s1", "a1"],
        ["tail", "skip", "sum"],
    ]


def test_a_copy_of_the_picture_for_its_long_skip():
    assert made(packed=True)[0] == ["x_copy", "head", "e0", "r0", "p0"]
    last = cut_stages(NET, 16, packed=True)[-1].region
    assert {source.name for source in last.sources} == {"x_copy", "a1"}


def test_the_first_convolution_is_made_again_rather_than_read():
    first, second, *_ = cut_stages(NET, 16, packed=True, remade=True)
    assert {result.value for result in first.region.results} == {"p0", "x_copy"}
    assert {source.name for source in second.region.sources} == {"p0", "x_copy"}
    assert made(packed=True, remade=True)[1] == ["head_again1", "s0", "a0", "e1", "r1", "p1"]
    assert made(remade=True)[2:] == made()[2:]


def test_what_more_tiles_and_what_is_made_again_cost():
    """Bytes get fewer with more tiles, whose weights a work-group reads once; slots do not change."""
    second = Costs(cut_stages(NET, 16)[1].region, 16, (360, 640))
    one, several = StageDecisions(2, (32, 8)), StageDecisions(2, (32, 8), tiles=9)
    assert second.moved(several) < second.moved(one) and second.cost(several) < second.cost(one)
    assert second.slots(several) == second.slots(one) and second.registers(several) == second.registers(one)
    again = Costs(cut_stages(NET, 16, remade=True)[1].region, 16, (360, 640))
    assert again.moved(several) < second.moved(several) and again.slots(several) > second.slots(several)
    # Read: 8 + 8 channels, of 8 of them a border; written: as many; beside, a work-group's weights.
    weights = 8 * 8 * 9 + 2 * 8 * 48
    read, written = 8 + 8 * (66 / 64) * (74 / 72), 16
    np.testing.assert_allclose(second.moved(several), 4 * (read + written + weights / (64 * 72)))


def test_what_winograd_costs():
    """A third fewer multiplications, and twice the sums; without pairs of pixels, nothing changes."""
    last = Costs(cut_stages(NET, 16)[2].region, 16, (360, 640))
    pairs, one = StageDecisions(4, (32, 8), winograd=True), StageDecisions(1, (32, 8), winograd=True)
    # Two groups of four channels, of four pixels; and six pixels more, since a loop of two groups is unrolled.
    assert last.registers(pairs) == last.registers(replace(pairs, winograd=False)) + 2 * 4 + 6
    assert last.slots(one) == last.slots(replace(one, winograd=False))
    assert last.slots(pairs) < last.slots(replace(pairs, winograd=False))


def test_what_is_too_wide_for_registers_goes_through_memory():
    """Eight channels are kept where 8 may be; a block of 24 of which 16 may be has no hidden channels."""
    wide = Region((Source("x", 24), *block(0, "x", 24)), (Result("a0"),))
    assert made(32, region=wide) == [["e0", "r0", "p0"], ["s0", "a0"]]
    assert made(16, region=wide) == [["e0", "r0"], ["p0"], ["s0", "a0"]]


def test_stages_that_have_nothing_to_do_with_each_other_are_kernels_of_their_own():
    region = Region(
        (Source("x", 4), Source("y", 4), conv("a", "x", 4, 4, 3), conv("b", "y", 4, 4, 3)),
        (Result("a"), Result("b")),
    )
    assert made(region=region) == [["a"], ["b"]]


def test_a_result_that_is_cheap_is_a_stage_alone():
    region = Region(
        (Source("x", 4), Pointwise("m", ("x",), "relu", (), 4), conv("a", "m", 4, 4, 3)), (Result("m"), Result("a"))
    )
    assert sorted(made(region=region)) in ([["m"], ["m", "a"]], [["a"], ["m"]], [["m"], ["a"]], [["m", "a"]])


def test_hidden_channels_are_made_four_at_a_time():
    expand, relu, project, spatial, _ = nodes = block(0, "x", 8)
    region = Region((Source("x", 8), *nodes), (Result("a0"),))
    found = hidden_of(region, project, 16)
    assert found is not None and found.expand is expand and found.arithmetic == (relu,)
    assert hidden_of(region, spatial, 16) is None, "a 3x3 looks beside its pixel"
    assert hidden_of(region, project, 4) is None, "eight channels are too many for four"
    also = Region((Source("x", 8), *nodes), (Result("a0"), Result("r0")))
    assert hidden_of(also, project, 16) is None, "somebody else wants them"


def test_the_steps_of_a_stage():
    (_, second, *_) = cut_stages(NET, 16)
    trunk, projected = plan_steps(second.region, 16)[-2:]
    assert isinstance(trunk, ConvolutionSum) and trunk.value == "a0" and trunk.centers == ("head",)
    assert [(p.conv.name, p.registers) for p in trunk.convs] == [("s0", False)]
    assert isinstance(projected, ConvolutionSum) and projected.value == "p1"
    (product,) = projected.convs
    assert product.hidden is not None and product.hidden.expand.name == "e1" and product.registers
    np.testing.assert_array_equal(trunk.bias, np.ones(8))
    loads = [step.value for step in plan_steps(second.region, 16) if isinstance(step, Load)]
    assert loads == ["head"], "the 3x3 reads its input from memory by itself"


def test_convolutions_that_are_added_are_one_sum():
    last = cut_stages(NET, 16)[-1]
    (total,) = plan_steps(last.region, 16)
    assert isinstance(total, ConvolutionSum) and total.value == "sum" and total.centers == ()
    assert [p.conv.name for p in total.convs] == ["tail", "skip"]
    np.testing.assert_array_equal(total.bias, 2 * np.ones(12))


def test_arithmetic_and_concatenation_are_steps_of_their_own():
    region = Region(
        (
            Source("x", 2),
            Source("y", 3),
            Pointwise("m", ("x",), "relu", (), 2),
            Concat("c", ("m", "y"), 5),
        ),
        (Result("c"),),
    )
    steps = plan_steps(region, 16)
    assert [(type(s), s.value) for s in steps] == [(Load, "x"), (Load, "y"), (Apply, "m"), (Join, "c")]


def test_how_channels_are_shared_out():
    wide = Region((Source("x", 4), conv("a", "x", 48, 4, 3)), (Result("a"),))
    assert outputs_of(wide, 16) == [0, 1, 2, 3, 4, 6]
    assert splits_of(wide, 3, 16) == 4 and splits_of(wide, 0, 16) == 1 and splits_of(wide, 5, 16) == 1
    block_region = Region((Source("x", 8), *block(0, "x", 8)), (Result("a0"),))
    assert outputs_of(block_region, 16) == [0], "a 1x1 needs all the channels of its pixel"
    lone = Region((Source("x", 20), conv("a", "x", 48, 20, 1)), (Result("a"),))
    assert outputs_of(lone, 24) == [0] and outputs_of(lone, 16) == [0, 1, 2, 3, 4, 6], "a wide 1x1 reads memory"
    grouped = Region((Source("x", 16), conv("a", "x", 32, 8, 3, groups=2)), (Result("a"),))
    assert outputs_of(grouped, 16) == [0, 1, 2, 4], "a share of 8 channels lies in one group of 16; one of 24 in two"


def test_weights_by_rows():
    """Of each row its groups of four inputs; of these the columns, the inputs, the outputs in vectors of four."""
    weight = np.arange(5 * 6 * 2 * 3, dtype="float32").reshape(5, 6, 2, 3)
    packed = by_rows(weight)
    assert packed.shape == (2, 6 * 3 * 2, 4)
    full = 3 * 4 * 2  # vectors of the first four inputs
    np.testing.assert_array_equal(packed[1, (2 * 4 + 3) * 2], weight[:4, 3, 1, 2])
    np.testing.assert_array_equal(packed[1, full + (1 * 2 + 1) * 2 + 1], [weight[4, 5, 1, 1], 0, 0, 0])


def test_winograds_weights():
    """Four products give two neighbours of a row what three weights do."""
    weight, row = np.arange(1.0, 7).reshape(2, 1, 1, 3), np.array([3.0, -1, 4, 1])
    seen = np.array([row[0] - row[2], row[1] + row[2], row[2] - row[1], row[3] - row[1]])
    a, b, c, d = transformed(weight)[:, 0, 0].T * seen[:, None]
    np.testing.assert_allclose(np.stack([a + b + c, d + b - c]), [weight[:, 0, 0] @ row[:3], weight[:, 0, 0] @ row[1:]])


def test_weights_of_hidden_channels():
    expand, _, project, *_ = block(0, "x", 2)
    packed = by_hidden(expand, [np.full(12, 7.0)], project.weight)
    assert packed.shape == (3, 1 + 1 + 2 + 4, 4)
    np.testing.assert_array_equal(packed[1, 0], np.ones(4))
    np.testing.assert_array_equal(packed[1, 1], np.full(4, 7))
    np.testing.assert_array_equal(packed[1, 3], expand.weight[4:8, 1, 0, 0])
    np.testing.assert_array_equal(packed[1, 4 + 2], [*project.weight[:, 6, 0, 0], 0, 0])


def test_a_grouped_convolution_as_a_dense_one():
    dense = ungrouped(np.ones((4, 2, 1, 1)), 2)[:, :, 0, 0]
    np.testing.assert_array_equal(dense, [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]])


def test_what_is_in_local_memory_at_the_same_time():
    small, large, huge = (WeightBlock(np.zeros((2, turns, size, 4))) for turns, size in ((2, 5), (8, 10), (2, 100)))
    found = phases([small, small, large, small, huge], 45)
    assert [(p.turns, p.size, p.offset) for p in found] == [(0, 20, 0), (4, 40, 40), (0, 10, 200), (0, 0, 220)]
    assert [len(p.blocks) for p in found] == [2, 1, 1, 1]
    assert all(p.numbers().shape == (2 * p.whole, 4) for p in found)
