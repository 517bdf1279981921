"""Pixel shuffle in both channel orders: found, stored in place by the kernel before it, still open to scheduling."""

import numpy as np
import pytest
import tvm
from pass_nets import CPU, assert_same_numbers, channels, conv, inputs, network, ops, run
from tvm import relax
from tvm.s_tir import Schedule
from tvm.s_tir.meta_schedule import TuneContext
from tvm.s_tir.meta_schedule.space_generator import PostOrderApply
from tvm.script import tirx as T

from sr_tvm.passes.fold_pixel_shuffle import FoldPixelShuffle, store_pattern
from sr_tvm.passes.log import Log
from sr_tvm.passes.pipeline import optimize

PARTS = {"CRD": ((0, 1, 4, 2, 5, 3), lambda c, r: (c, r, r)), "DCR": ((0, 3, 4, 1, 5, 2), lambda c, r: (r, r, c))}


def shuffled(x, shape, scale, order, axes=None):
    """reshape, permute, reshape of ``x``: ``shape`` is N, H, W of before the shuffle and C of after it."""
    n, c, h, w = shape
    known, parts = PARTS[order]
    split = relax.op.reshape(x, (n, *parts(c, scale), h, w))
    return relax.op.reshape(relax.op.permute_dims(split, axes or known), (n, c, h * scale, w * scale))


def by_definition(x, scale, order):
    """Each output pixel from ONNX's formula for DepthToSpace."""
    n, deep, h, w = x.shape
    c = deep // scale**2
    y = np.empty((n, c, h * scale, w * scale), x.dtype)
    for k in range(c):
        for i in range(scale):
            for j in range(scale):
                source = k * scale**2 + i * scale + j if order == "CRD" else (i * scale + j) * c + k
                y[:, k, i::scale, j::scale] = x[:, source]
    return y


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("order", PARTS)
def test_found_and_right(order, scale):
    before, log = network(lambda _, x: shuffled(x, (1, 3, 4, 5), scale, order), (1, 3 * scale**2, 4, 5)), Log()
    after = FoldPixelShuffle(log)(before)
    assert ops(after) == ["pixel_shuffle"]
    assert log.rewrites[0]["rule"].startswith(f"x{scale} in {order} order")
    x = inputs(before)
    assert np.array_equal(run(after, x)[0], by_definition(x[0], scale, order))


def test_the_kernel():
    @T.prim_func(private=True, s_tir=True)
    def expected(a: T.handle, b: T.handle):
        T.func_attr({"tirx.noalias": True})
        source = T.match_buffer(a, (T.int64(1), T.int64(18), T.int64(4), T.int64(5)))
        out = T.match_buffer(b, (T.int64(1), T.int64(2), T.int64(12), T.int64(15)))
        for n, k, h, w in T.grid(T.int64(1), T.int64(18), T.int64(4), T.int64(5)):
            with T.sblock("pixel_shuffle"):
                vn, vk, vh, vw = T.axis.remap("SSSS", [n, k, h, w])
                out[
                    vn,
                    vk // T.int64(9),
                    vh * T.int64(3) + vk % T.int64(9) // T.int64(3),
                    vw * T.int64(3) + vk % T.int64(3),
                ] = source[vn, vk, vh, vw]

    tvm.ir.assert_structural_equal(store_pattern([1, 18, 4, 5], "float32", 3, "CRD"), expected)


def test_tvms_own_operator_is_found():
    before = network(lambda _, x: relax.op.nn.pixel_shuffle(x, 2), (2, 12, 4, 5))
    after = FoldPixelShuffle()(before)
    assert ops(after) == ["pixel_shuffle"]
    x = inputs(before)
    assert np.array_equal(run(after, x)[0], by_definition(x[0], 2, "CRD"))


@pytest.mark.parametrize(
    "build",
    [
        lambda _, x: shuffled(x, (1, 3, 4, 5), 2, "CRD", axes=(0, 1, 4, 3, 5, 2)),
        lambda _, x: shuffled(x, (1, 3, 4, 5), 2, "DCR", axes=(0, 3, 4, 2, 5, 1)),
        lambda _, x: relax.op.reshape(
            relax.op.permute_dims(relax.op.reshape(x, (1, 3, 2, 2, 4, 5)), (0, 1, 4, 2, 5, 3)), (1, 3, 10, 8)
        ),
        lambda _, x: relax.op.reshape(
            relax.op.permute_dims(relax.op.reshape(x, (1, 3, 4, 1, 4, 5)), (0, 1, 4, 2, 5, 3)), (1, 3, 16, 5)
        ),
    ],
    ids=["columns first", "columns first, DCR", "another merge", "unequal scales"],
)
def test_other_permutations_are_left_alone(build):
    before = network(build, (1, 12, 4, 5))
    assert "pixel_shuffle" not in ops(FoldPixelShuffle()(before))


@pytest.mark.parametrize("follower", [None, "clip"])
@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("order", PARTS)
def test_it_is_the_last_store_of_the_convolution(order, scale, follower):
    """One kernel, whose last block writes at h r + i; no buffer of the shuffle, before or after it."""
    deep = 2 * scale**2
    rng = np.random.default_rng(0)
    weight, bias = rng.random((deep, 3, 3, 3)) - 0.5, rng.random(deep)

    def build(_, x, residual):
        y = relax.op.add(relax.op.add(conv(x, weight, 1), channels(bias)), residual)
        y = shuffled(y, (1, 2, 4, 5), scale, order)
        return relax.op.clip(y, 0.0, 1.0) if follower else y

    before = network(build, (1, 3, 4, 5), (1, deep, 4, 5))
    after, report = optimize(before, CPU)
    assert report.kernels_after == 1 and report.intermediate_bytes_after == 0
    (name,) = ops(after)
    assert name == f"fused_conv2d_add_add_{'clip_' if follower else ''}pixel_shuffle"
    assert "many-to-many + shuffle -> D many-to-many" in report.fusions[0]["rule"]
    schedule = Schedule(tvm.IRModule({"main": after[name]}))
    got = store_index(schedule)
    alone = store_index(Schedule(tvm.IRModule({"main": store_pattern([1, deep, 4, 5], "float32", scale, order)})))
    for index, expected in zip(got, alone, strict=True):
        tvm.ir.assert_structural_equal(index, expected, map_free_vars=True)
    buffers = schedule.get(schedule.get_sblock("root")).alloc_buffers
    assert [int(b.shape[1]) for b in buffers] == [3, deep]  # the padded input and the accumulator
    assert_same_numbers(before, after)


def store_index(schedule):
    """The index at which the last block of a kernel stores."""
    last = schedule.get(schedule.get_child_blocks(schedule.get_sblock("root"))[-1])
    return [r.min for r in last.writes[0].region]


def test_it_can_still_be_tuned():
    """MetaSchedule makes a space for the fused kernel, and what it samples gives the right picture."""
    from sr_tvm.tuning.strategy import without_tensor_intrinsics

    weight, bias = np.random.default_rng(0).random((12, 3, 3, 3)) - 0.5, np.arange(12.0)
    before = network(
        lambda _, x: shuffled(relax.op.add(conv(x, weight, 1), channels(bias)), (1, 3, 8, 16), 2, "CRD"), (1, 3, 8, 16)
    )
    after, _ = optimize(before, CPU)
    (name,) = ops(after)
    with without_tensor_intrinsics():
        context = TuneContext(
            mod=tvm.IRModule({"main": after[name].with_attr("global_symbol", "main")}),
            target=CPU,
            space_generator=PostOrderApply(sch_rules="llvm", postprocs="llvm", mutator_probs="llvm"),
            num_threads=1,
            rand_state=7,
        )
    spaces = context.generate_design_space()
    decisions = {i.kind.name for space in spaces for i in space.trace.insts}
    assert {"SamplePerfectTile", "SampleComputeLocation"} & decisions and "GetSBlock" in decisions
    x = inputs(before)
    want = run(before, x)[0]
    for schedule in spaces:
        assert all(p.apply(schedule) for p in context.space_generator.postprocs)
        built = tvm.compile(schedule.mod, target=CPU)
        out = tvm.runtime.tensor(np.zeros_like(want))
        operands = (x[0], weight.astype("float32"), bias.reshape(1, 12, 1, 1).astype("float32"))
        built["main"](*[tvm.runtime.tensor(a) for a in operands], out)
        assert np.abs(out.numpy() - want).max() < 1e-4
