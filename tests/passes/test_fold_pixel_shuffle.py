"""Pixel shuffle in both channel orders: found, stored in place by the kernel before it, and still open to scheduling."""

import numpy as np
import pytest
import tvm
from pass_nets import CPU, assert_same_numbers, channels, conv, inputs, network, ops, run
from sr_tvm.passes.fold_pixel_shuffle import FoldPixelShuffle, store_pattern
from sr_tvm.passes.log import Log
from sr_tvm.passes.pipeline import optimize
from tvm import relax
from tvm.script import tirx as T

PARTS = {"CRD": ((0, 1, 4, 2, 5, 3), lambda c, r: (c, r, r)), "DCR": ((0, 3, 4, 1, 5, 2), lambda c, r: (r, r, c))}


def shuffled(x, shape, scale, order, axes=None):
    """reshape, permute, reshape of ``x``, whose picture is of ``shape`` (N, C, H, W) with C channels after the shuffle."""
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
    assert name == "fused_conv2d_add_add_pixel_shuffle" + ("_clip" if follower else "")
    assert "many-to-many + shuffle -> D many-to-many" in report.fusions[0]["rule"]
    func = after[name]
    block = last_block(func)
    row = block.writes[0].region[2].min
    at = {v.var.name: i for v, i in zip(block.iter_vars, (0, deep - 1, 3, 4), strict=True)}
    assert evaluate(row, at) == 3 * scale + scale - 1
    assert sorted(len(b.shape) for b in func.body.block.alloc_buffers) == [4, 4]  # padding and accumulator
    assert {tuple(map(int, b.shape))[1] for b in func.body.block.alloc_buffers} == {3, deep}
    assert_same_numbers(before, after)


def last_block(func):
    found = []
    tvm.tirx.stmt_functor.post_order_visit(
        func.body, lambda s: found.append(s) if type(s).__name__ == "SBlock" and s.name_hint != "root" else None
    )
    return found[-1]


def evaluate(expr, values):
    """An index expression at given block variables."""
    variables = []
    tvm.tirx.stmt_functor.post_order_visit(
        expr, lambda e: variables.append(e) if isinstance(e, tvm.tirx.Var) else None
    )
    bound = {v: tvm.tirx.IntImm("int64", values[v.name]) for v in variables}
    return int(tvm.arith.Analyzer().simplify(tvm.tirx.stmt_functor.substitute(expr, bound)))
