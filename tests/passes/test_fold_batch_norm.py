"""Batch norm into convolutions: every kind of convolution, both sides, and what must be refused."""

import numpy as np
import pytest
from pass_nets import assert_same_numbers, assert_same_structure, channels, conv, network, norm, ops, run, transposed
from tvm import relax

from sr_tvm.passes.fold_batch_norm import FoldBatchNorm
from sr_tvm.passes.log import Log

# kind: (convolution, weight shape, groups) of 4 channels in and 8 out, 4 out where depthwise.
KINDS = {
    "standard": (conv, (8, 4, 3, 3), 1),
    "grouped": (conv, (8, 2, 3, 3), 2),
    "depthwise": (conv, (4, 1, 3, 3), 4),
    "transposed": (transposed, (4, 8, 3, 3), 1),
    "grouped transposed": (transposed, (4, 4, 3, 3), 2),
}


def quarters(rng, *shape):
    """Random numbers that float32 multiplies by powers of two and adds without rounding."""
    return rng.integers(-8, 9, shape) / 4.0


def powers(rng, count):
    return 2.0 ** rng.integers(-2, 3, count)


def exact_norm(rng, count):
    """gamma, beta, mean, variance whose scale is a power of two and whose shift is exact."""
    return powers(rng, count), quarters(rng, count), quarters(rng, count), powers(rng, count) ** 2


def folded_by_hand(kind, weight, scale):
    """Output channel o of the weight times scale[o], written out channel by channel."""
    call, _, groups = KINDS[kind]
    weight = weight.copy()
    for o, s in enumerate(scale):
        if call is conv:
            weight[o] *= s
        else:
            per_group = weight.shape[1]
            g, rows = o // per_group, weight.shape[0] // groups
            weight[g * rows : (g + 1) * rows, o % per_group] *= s
    return weight


@pytest.mark.parametrize("bias", [False, True], ids=["", "bias"])
@pytest.mark.parametrize("kind", KINDS)
def test_into_the_convolution_before(kind, bias):
    call, shape, groups = KINDS[kind]
    rng = np.random.default_rng(1)
    out = 4 if kind == "depthwise" else 8
    weight, b = quarters(rng, *shape), quarters(rng, out)
    gamma, beta, mean, variance = exact_norm(rng, out)

    def body(x):
        y = call(x, weight, padding=1, groups=groups)
        return relax.op.add(y, channels(b)) if bias else y

    before = network(lambda _, x: norm(body(x), gamma, beta, mean, variance), (1, 4, 6, 5))
    scale = gamma / np.sqrt(variance)
    shift = beta + (b * bias - mean) * scale
    expected = network(
        lambda _, x: relax.op.add(
            call(x, folded_by_hand(kind, weight, scale), padding=1, groups=groups), channels(shift)
        ),
        (1, 4, 6, 5),
    )
    log = Log()
    after = FoldBatchNorm(log)(before)
    assert_same_structure(after, expected)
    assert_same_numbers(before, after)
    assert [r["where"].split()[0] for r in log.rewrites] == ["batch_norm"] and not log.refusals


@pytest.mark.parametrize("kind", ["standard", "grouped", "depthwise"])
def test_into_the_convolution_after_without_padding(kind):
    call, shape, groups = KINDS[kind]
    rng = np.random.default_rng(2)
    weight, parameters = quarters(rng, *shape), exact_norm(rng, 4)
    before = network(lambda _, x: call(norm(x, *parameters), weight, groups=groups), (1, 4, 6, 5))
    after = FoldBatchNorm()(before)
    gamma, beta, mean, variance = parameters
    scale = gamma / np.sqrt(variance)
    shift = beta - mean * scale
    scaled, bias, per_group = weight.copy(), np.zeros(shape[0]), shape[0] // groups
    for o in range(shape[0]):
        for i in range(shape[1]):
            channel = o // per_group * shape[1] + i
            bias[o] += weight[o, i].sum() * shift[channel]
            scaled[o, i] *= scale[channel]
    expected = network(lambda _, x: relax.op.add(conv(x, scaled, groups=groups), channels(bias)), (1, 4, 6, 5))
    assert_same_structure(after, expected)
    assert_same_numbers(before, after)


@pytest.mark.parametrize("kind", KINDS)
def test_before_a_padded_convolution_only_without_shift(kind):
    call, shape, groups = KINDS[kind]
    rng = np.random.default_rng(3)
    weight = quarters(rng, *shape)
    gamma, _, mean, variance = exact_norm(rng, 4)
    still = mean * gamma / np.sqrt(variance)

    def net(beta):
        normed = lambda x: norm(x, gamma, beta, mean, variance)  # noqa: E731
        return network(lambda _, x: call(normed(x), weight, padding=1, groups=groups), (1, 4, 6, 5))

    unshifted, shifted, log = net(still), net(still + 1), Log()
    after = FoldBatchNorm(log)(unshifted)
    assert ops(after) == ["conv2d_transpose" if call is transposed else "conv2d"]
    assert_same_numbers(unshifted, after)
    assert not log.refusals
    after = FoldBatchNorm(log)(shifted)
    assert ops(after)[:2] == ["multiply", "add"]
    assert "pads with zeros" in log.refusals[0]["reason"]
    assert_same_numbers(shifted, after)


def test_epsilon_and_flags():
    rng = np.random.default_rng(4)
    weight, p = rng.random((3, 2, 3, 3)), rng.random((4, 3)) + 0.5
    for flags in ({}, {"center": False}, {"scale": False}):
        before = network(lambda _, x, f=flags: norm(conv(x, weight, 1), *p, epsilon=1e-2, **f), (1, 2, 5, 5))
        after = FoldBatchNorm()(before)
        assert ops(after) == ["conv2d", "add"]
        assert_same_numbers(before, after)


def test_a_convolution_that_others_read_is_not_changed():
    rng = np.random.default_rng(5)
    weight, parameters = quarters(rng, 4, 4, 3, 3), exact_norm(rng, 4)

    def build(emit, x):
        y = emit(conv(x, weight, 1))
        return relax.op.add(norm(y, *parameters), y)

    before, log = network(build, (1, 4, 6, 5)), Log()
    after = FoldBatchNorm(log)(before)
    assert ops(after) == ["conv2d", "multiply", "add", "add"]
    assert "other readers" in log.refusals[0]["reason"]
    assert_same_numbers(before, after)


def test_between_two_convolutions_it_goes_to_the_one_before():
    rng = np.random.default_rng(6)
    w1, w2, parameters = quarters(rng, 4, 3, 3, 3), quarters(rng, 2, 4, 3, 3), exact_norm(rng, 4)
    before = network(lambda _, x: conv(norm(conv(x, w1, 1), *parameters), w2, 1), (1, 3, 6, 5))
    after = FoldBatchNorm()(before)
    assert ops(after) == ["conv2d", "add", "conv2d"]
    assert_same_numbers(before, after)


def test_several_convolutions_after_one_norm():
    rng = np.random.default_rng(7)
    w1, w2, parameters = quarters(rng, 4, 3, 3, 3), quarters(rng, 4, 3, 3, 3), exact_norm(rng, 3)

    def build(emit, x):
        y = emit(norm(x, *parameters))
        return relax.op.add(conv(y, w1), conv(y, w2))

    before = network(build, (1, 3, 6, 5))
    after = FoldBatchNorm()(before)
    assert sorted(ops(after)) == ["add", "add", "add", "conv2d", "conv2d"]
    assert_same_numbers(before, after)


class TestTvmsOwnPass:
    """What relax.transform.FoldBatchnormToConv2D does, and why ours stands in its place (docs/passes.md)."""

    @staticmethod
    def after(mod):
        return relax.transform.DeadCodeElimination()(relax.transform.FoldBatchnormToConv2D()(mod))

    @pytest.mark.parametrize("kind", ["standard", "grouped", "depthwise"])
    def test_right_on_convolutions_without_bias(self, kind):
        call, shape, groups = KINDS[kind]
        rng = np.random.default_rng(8)
        weight, p = quarters(rng, *shape), exact_norm(rng, shape[0])
        before = network(lambda _, x: norm(call(x, weight, 1, groups), *p, epsilon=1e-3), (1, 4, 6, 5))
        after = self.after(before)
        assert "batch_norm" not in ops(after)
        assert_same_numbers(before, after)

    def test_leaves_bias_transposed_and_the_convolution_after(self):
        rng = np.random.default_rng(9)
        p, q = exact_norm(rng, 8), exact_norm(rng, 4)
        w, t, b = quarters(rng, 8, 4, 3, 3), quarters(rng, 4, 8, 3, 3), quarters(rng, 8)
        nets = [
            lambda _, x: norm(relax.op.add(conv(x, w), channels(b)), *p),
            lambda _, x: norm(transposed(x, t), *p),
            lambda _, x: conv(norm(x, *q), w),
        ]
        for build in nets:
            assert "batch_norm" in ops(self.after(network(build, (1, 4, 6, 5))))

    def test_computes_a_convolution_twice_that_others_read(self):
        rng = np.random.default_rng(10)
        weight, p = quarters(rng, 4, 4, 3, 3), exact_norm(rng, 4)

        def build(emit, x):
            y = emit(conv(x, weight, 1))
            return relax.op.add(norm(y, *p), y)

        assert ops(self.after(network(build, (1, 4, 6, 5)))).count("conv2d") == 2

    def test_ignores_center_and_scale_flags(self):
        rng = np.random.default_rng(11)
        weight, p = quarters(rng, 4, 4, 3, 3), exact_norm(rng, 4)
        before = network(lambda _, x: norm(conv(x, weight, 1), *p, center=False), (1, 4, 6, 5))
        x = [rng.random((1, 4, 6, 5)).astype("float32")]
        assert np.abs(run(before, x)[0] - run(self.after(before), x)[0]).max() > 1e-3
