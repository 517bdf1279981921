"""Per-channel constants around convolutions: each rule by structure and by numbers, and exact borders."""

import numpy as np
import pytest
from pass_nets import assert_same_numbers, assert_same_structure, channels, const, conv, network, ops, transposed
from tvm import relax

from sr_tvm.passes.fold_mean_shift import FoldMeanShift
from sr_tvm.passes.fold_pixel_shuffle import FoldPixelShuffle
from sr_tvm.passes.log import Log

add, subtract, multiply, divide = relax.op.add, relax.op.subtract, relax.op.multiply, relax.op.divide
SHAPE = (1, 3, 6, 5)
W = np.arange(4 * 3 * 3 * 3).reshape(4, 3, 3, 3) % 7 / 4.0 - 0.75
S, T, U = np.array([0.5, 2.0, 1.0, 4.0]), np.array([1.0, -2.0, 0.25, 0.0]), np.array([3.0, 0.5, -0.25, 1.0])
MEAN = np.array([0.5, -1.0, 0.25])

# name: (before, expected), each a function of emit and x
AFTER = {
    "scale": (
        lambda _, x: multiply(conv(x, W, 1), channels(S)),
        lambda _, x: conv(x, W * S[:, None, None, None], 1),
    ),
    "scalar scale": (
        lambda _, x: multiply(conv(x, W, 1), const(2.0)),
        lambda _, x: conv(x, W * 2, 1),
    ),
    "division": (
        lambda _, x: divide(conv(x, W, 1), channels(S)),
        lambda _, x: conv(x, W / S[:, None, None, None], 1),
    ),
    "two shifts": (
        lambda _, x: add(subtract(conv(x, W, 1), channels(T)), channels(U)),
        lambda _, x: add(conv(x, W, 1), channels(U - T)),
    ),
    "bias, then scale": (
        lambda _, x: multiply(add(conv(x, W, 1), channels(T)), channels(S)),
        lambda _, x: add(conv(x, W * S[:, None, None, None], 1), channels(T * S)),
    ),
    "transposed": (
        lambda _, x: add(multiply(transposed(x, W.transpose(1, 0, 2, 3), strides=2), channels(S)), channels(T)),
        lambda _, x: add(
            transposed(x, W.transpose(1, 0, 2, 3) * S[None, :, None, None], strides=2), channels(T)
        ),
    ),
    "constant on the left": (
        lambda _, x: add(channels(U), add(conv(x, W, 1), channels(T))),
        lambda _, x: add(conv(x, W, 1), channels(U + T)),
    ),
    "residual sum": (
        lambda _, x: add(add(conv(x, W, 1), channels(T)), add(conv(x, 2 * W, 1), channels(U))),
        lambda _, x: (lambda a, b: add(a, b))(conv(x, W, 1), add(conv(x, 2 * W, 1), channels(T + U))),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", AFTER)
def test_after_a_convolution(name):
    before, expected = (network(build, SHAPE) for build in AFTER[name])
    after = FoldMeanShift()(before)
    assert_same_structure(after, expected)
    assert_same_numbers(before, after)


@pytest.mark.parametrize("call, padding", [(conv, 0), (conv, 1), (transposed, 0), (transposed, 1)])
def test_a_scale_before_goes_into_the_weights_with_any_padding(call, padding):
    s = np.array([0.5, 2.0, 4.0])
    weight = W if call is conv else W.transpose(1, 0, 2, 3)
    scaled = weight * (s[None, :, None, None] if call is conv else s[:, None, None, None])
    before = network(lambda _, x: call(multiply(x, channels(s)), weight, padding), SHAPE)
    after = FoldMeanShift()(before)
    assert_same_structure(after, network(lambda _, x: call(x, scaled, padding), SHAPE))
    assert_same_numbers(before, after)


def test_a_shift_before_goes_into_the_bias_without_padding():
    before = network(lambda _, x: conv(subtract(x, channels(MEAN)), W), SHAPE)
    bias = -(W.sum(axis=(2, 3)) * MEAN).sum(axis=1)
    after = FoldMeanShift()(before)
    assert_same_structure(after, network(lambda _, x: add(conv(x, W), channels(bias)), SHAPE))
    assert_same_numbers(before, after)


def test_grouped_convolutions_without_padding():
    weight = np.arange(6 * 2 * 9).reshape(6, 2, 3, 3) % 5 / 2.0 - 1.0
    mean, scale = np.array([0.5, -1.0, 0.25, 2.0]), np.array([0.5, 2.0, 1.0, 4.0])
    normed = lambda x: multiply(subtract(x, channels(mean)), channels(scale))  # noqa: E731
    before = network(lambda _, x: conv(normed(x), weight, groups=2), (1, 4, 6, 5))
    after = FoldMeanShift()(before)
    assert ops(after) == ["conv2d", "add"]
    assert_same_numbers(before, after)


@pytest.mark.parametrize(
    "build",
    [
        lambda _, x: conv(subtract(x, channels(MEAN)), W, 1),
        lambda _, x: transposed(subtract(x, channels(MEAN)), W.transpose(1, 0, 2, 3)),
        lambda emit, x: (lambda y: add(conv(y, W, 1), conv(y, W[:, :, :1, :1])))(emit(subtract(x, channels(MEAN)))),
    ],
    ids=["padded", "transposed", "one of two is padded"],
)
def test_a_shift_before_padding_stays(build):
    before, log = network(build, SHAPE), Log()
    after = FoldMeanShift(log)(before)
    assert_same_structure(after, before)
    assert "pads with zeros" in log.refusals[0]["reason"] and not log.rewrites


def test_moving_it_anyway_would_be_wrong_at_the_border():
    """The refusal is no caution: with the shift in the bias the border pixels differ."""
    bias = -(W.sum(axis=(2, 3)) * MEAN).sum(axis=1)
    right = network(lambda _, x: conv(subtract(x, channels(MEAN)), W, 1), SHAPE)
    wrong = network(lambda _, x: add(conv(x, W, 1), channels(bias)), SHAPE)
    with pytest.raises(AssertionError):
        assert_same_numbers(right, wrong)


def test_scale_and_shift_before_padding_leave_one_addition():
    std = np.array([0.25, 0.5, 2.0])
    before = network(lambda _, x: conv(add(multiply(x, channels(std)), channels(MEAN)), W, 1), SHAPE)
    after = FoldMeanShift()(before)
    scaled = W * std[None, :, None, None]
    expected = network(lambda _, x: conv(add(x, channels(MEAN / std)), scaled, 1), SHAPE)
    assert_same_structure(after, expected)
    assert_same_numbers(before, after)


def test_what_others_read_stays():
    def build(emit, x):
        y = emit(multiply(x, channels(MEAN)))
        z = emit(conv(y, W, 1))
        return add(z, channels(T)), add(relax.op.nn.relu(y), x), multiply(z, channels(S))

    before = network(build, SHAPE)
    assert_same_structure(FoldMeanShift()(before), before)


def test_constants_that_vary_over_pixels_stay():
    plane = np.arange(30).reshape(1, 1, 6, 5) / 8.0
    before = network(lambda _, x: add(conv(x, W, 1), const(plane)), SHAPE)
    assert_same_structure(FoldMeanShift()(before), before)
    wider = network(lambda _, x: conv(multiply(x, channels([1.0, 2.0, 3.0])), W, 1), (1, 1, 6, 5))
    assert ops(FoldMeanShift()(wider)) == ["multiply", "conv2d"]


@pytest.mark.parametrize("order", ["CRD", "DCR"])
@pytest.mark.parametrize("op", [add, subtract, multiply, divide])
def test_through_the_pixel_shuffle(order, op):
    from test_fold_pixel_shuffle import shuffled

    weight = np.arange(12 * 3 * 9).reshape(12, 3, 3, 3) % 7 / 4.0 - 0.75
    numbers = np.array([0.5, 2.0, 4.0])
    before = network(lambda _, x: op(shuffled(conv(x, weight, 1), SHAPE, 2, order), channels(numbers)), SHAPE)
    after = FoldMeanShift()(FoldPixelShuffle()(before))
    assert ops(after) == ["conv2d", "add", "pixel_shuffle"][:: 1 if op in (add, subtract) else 2]
    assert_same_numbers(before, after)


def test_the_tail_of_a_super_resolution_network():
    """shuffle(tail + bias + (skip + bias)) + mean: one bias is left, before the shuffle."""
    from test_fold_pixel_shuffle import shuffled

    rng = np.random.default_rng(0)
    tail, skip, b, c = rng.random((12, 3, 3, 3)), rng.random((12, 3, 5, 5)), rng.random(12), rng.random(12)

    def build(emit, x):
        y = emit(subtract(x, channels(MEAN)))
        deep = add(conv(y, tail, 1), channels(b))
        return add(shuffled(add(deep, add(conv(y, skip, 2), channels(c))), SHAPE, 2, "CRD"), channels(MEAN))

    before, log = network(build, SHAPE), Log()
    after = FoldMeanShift(log)(FoldPixelShuffle(log)(before))
    assert ops(after) == ["subtract", "conv2d", "conv2d", "add", "add", "pixel_shuffle"]
    assert_same_numbers(before, after)
    assert len(log.refusals) == 1 and "first load" in log.refusals[0]["reason"]
