"""Transposed convolution as convolution and pixel shuffle: exact, at the borders too, against PyTorch."""

import numpy as np
import pytest
import torch
from pass_nets import CPU, assert_same_structure, channels, const, conv, inputs, network, ops, run
from tvm import relax

from sr_tvm.passes.fold_mean_shift import FoldMeanShift
from sr_tvm.passes.log import Log
from sr_tvm.passes.pipeline import optimize
from sr_tvm.passes.transposed_convolution import TransposedConvolution

op, nn = relax.op, relax.op.nn


def deconv(x, weight, stride, padding, extra, groups=1):
    return nn.conv2d_transpose(x, const(weight), strides=stride, padding=padding, output_padding=extra, groups=groups)


@pytest.mark.parametrize(
    "kernel, stride, padding, extra, groups, becomes",
    [
        (9, 2, 4, 1, 1, 5), (9, 3, 4, 2, 1, 5), (9, 4, 4, 3, 1, 3), (4, 2, 1, 0, 1, 3), (2, 2, 0, 0, 1, 1),
        (8, 4, 2, 0, 1, 3), (3, 2, 1, 1, 1, 3), (1, 2, 0, 1, 1, 1), (3, 1, 1, 0, 1, 3), (6, 2, 2, 0, 2, 3),
        (5, 2, 2, 1, 6, 3), (3, 3, 0, 0, 3, 1),
    ],
)  # fmt: skip
def test_exact(kernel, stride, padding, extra, groups, becomes):
    weight = np.random.default_rng(0).standard_normal((6, 2, kernel, kernel))
    log = Log()
    before = network(lambda _, x: deconv(x, weight, stride, padding, extra, groups), (2, 6, 3, 4))
    after = TransposedConvolution(log)(before)
    assert ops(after) == ["conv2d", "pixel_shuffle"][: 1 + (stride > 1)]
    assert log.rewrites[0]["rule"].startswith(f"conv2d {becomes}x{becomes}, ")
    (x,) = inputs(before)
    want = torch.nn.functional.conv_transpose2d(
        torch.from_numpy(x).double(), torch.from_numpy(weight.astype("float32")).double(), None, stride, padding, extra,
        groups,
    ).numpy()  # fmt: skip
    assert want.shape == (2, 2 * groups, 3 * stride, 4 * stride)
    assert np.abs(run(after, [x])[0] - want).max() < 1e-5
    products = run(after, [x])[0].size / stride**2 * becomes**2
    assert products <= want.size * kernel**2  # what TVM's own lowering multiplies, a channel


def test_the_weights():
    """Stride 2, kernel 4, padding 1: output 2q takes taps 1 and 3 of inputs q and q - 1, output 2q + 1 taps 0 and 2."""
    weight = np.arange(16.0).reshape(1, 1, 4, 4) + 1
    before = network(lambda _, x: deconv(x, weight, 2, 1, 0), (1, 1, 3, 3))
    after = TransposedConvolution()(before)
    taps = {0: [3, 1, None], 1: [None, 2, 0]}  # of inputs q - 1, q, q + 1
    wanted = np.zeros((4, 1, 3, 3))
    for a, rows in taps.items():
        for b, columns in taps.items():
            for y, ky in enumerate(rows):
                for x, kx in enumerate(columns):
                    if ky is not None and kx is not None:
                        wanted[2 * a + b, 0, y, x] = weight[0, 0, ky, kx]
    bindings = after["main"].body.blocks[0].bindings
    assert np.array_equal(bindings[0].value.args[1].value.numpy(), wanted.astype("float32"))
    same = network(lambda _, x: deconv(x, weight[:, :, :3, :3][:, :, ::-1, ::-1], 1, 1, 0), (1, 1, 3, 3))
    flipped = network(lambda _, x: conv(x, weight[:, :, :3, :3], 1), (1, 1, 3, 3))
    assert_same_structure(TransposedConvolution()(same), flipped)


@pytest.mark.parametrize(
    "kernel, stride, padding, extra", [(3, 2, 0, 0), (3, 2, 1, 0), ((2, 3), (2, 3), 0, 0), (4, 2, (2, 0, 0, 2), 0)]
)
def test_other_sizes_are_left_alone(kernel, stride, padding, extra):
    kh, kw = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    weight = np.random.default_rng(0).standard_normal((2, 1, kh, kw))
    log = Log()
    before = network(lambda _, x: deconv(x, weight, stride, padding, extra), (1, 2, 3, 4))
    after = TransposedConvolution(log)(before)
    if kernel == 4:  # padded unevenly, and still of twice the size
        assert ops(after) == ["conv2d", "pixel_shuffle"]
    else:
        assert ops(after) == ["conv2d_transpose"] and len(log.refusals) == 1
    (x,) = inputs(before)
    assert np.allclose(run(after, [x])[0], run(before, [x])[0], atol=1e-5)


def test_its_bias_goes_before_the_shuffle():
    weight = np.random.default_rng(0).standard_normal((2, 3, 4, 4))
    before = network(lambda _, x: op.add(deconv(x, weight, 2, 1, 0), channels([1.0, 2.0, 3.0])), (1, 2, 3, 4))
    after = FoldMeanShift()(TransposedConvolution()(before))
    assert ops(after) == ["conv2d", "add", "pixel_shuffle"]
    _, report = optimize(before, CPU)
    assert report.kernels_after == 1 and report.fusions[0]["operators"] == ["conv2d", "add", "pixel_shuffle"]
