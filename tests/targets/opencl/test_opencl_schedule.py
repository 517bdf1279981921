"""Convolutions and pooling that are in no region have a schedule of ours, which computes the same as TVM's."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from gpu_harness import TARGET
from pass_nets import const, conv, inputs, network
from tvm import relax

from sr_tvm.targets.opencl.mali import Mali
from sr_tvm.targets.opencl.schedule.pixel_sums import PixelSums

RNG = np.random.default_rng(0)
OP = relax.op


def numbers(*shape):
    return RNG.standard_normal(shape).astype("float32") / np.sqrt(np.prod(shape[1:]))


def strided(emit, x):
    return OP.nn.relu(OP.add(conv(x, numbers(20, 20, 3, 3), 1, strides=2), const(numbers(1, 20, 1, 1))))


def dilated(emit, x):
    return OP.nn.conv2d(x, const(numbers(20, 20, 3, 3)), padding=2, dilation=2)


OURS = {
    "stride 2": (strided, (1, 20, 22, 35)),
    "dilated": (dilated, (2, 20, 13, 16)),
    "depthwise": (lambda emit, x: conv(x, numbers(24, 1, 3, 3), 1, groups=24, strides=2), (1, 24, 18, 20)),
    "prime channels": (lambda emit, x: conv(x, numbers(7, 3, 5, 5), 2, strides=3), (1, 3, 40, 41)),
    "max pooling": (lambda emit, x: OP.nn.max_pool2d(x, (3, 3), (2, 2), padding=(1, 1)), (1, 16, 21, 30)),
    "mean pooling": (lambda emit, x: OP.nn.avg_pool2d(x, (2, 2), (2, 2)), (1, 16, 20, 30)),
}
OTHERS = {
    "dense": (lambda emit, x: OP.matmul(x, const(numbers(640, 700))), (1, 640)),
    "one number of each channel": (lambda emit, x: OP.mean(x, [2, 3]), (1, 16, 30, 30)),
    "two reductions": (lambda emit, x: OP.nn.softmax(x, 1), (1, 16, 30, 30)),
    "no reduction": (lambda emit, x: OP.nn.relu(x), (1, 16, 30, 30)),
}


def kernel(case) -> tvm.tirx.PrimFunc:
    """The one kernel that TVM makes of a network, fused."""
    build, shape = case
    mod = relax.transform.LegalizeOps()(network(build, shape))
    passes = [relax.transform.AnnotateTIROpPattern(), relax.transform.FuseOps(), relax.transform.FuseTIR()]
    mod = tvm.transform.Sequential([*passes, relax.transform.DeadCodeElimination()])(mod)
    (found,) = [f for f in mod.functions.values() if isinstance(f, tvm.tirx.PrimFunc)]
    return found


@pytest.mark.parametrize("name", OURS)
def test_sums_of_a_pixel_are_in_registers(name):
    schedule = PixelSums().apply(kernel(OURS[name]), tvm.target.Target(TARGET), False)
    text = schedule.mod.script()
    assert 'scope="local"' in text and 'scope="shared"' not in text
    assert 'thread="threadIdx.x"' in text and 'thread="blockIdx.y"' in text


@pytest.mark.parametrize("name", OTHERS)
def test_what_the_rule_is_not_for(name):
    assert PixelSums().apply(kernel(OTHERS[name]), tvm.target.Target(TARGET), False) is None


def test_sizes_that_are_not_known():
    def build(emit, x):
        return conv(x, numbers(20, 20, 3, 3), 1, strides=2)

    height = tvm.tirx.Var("h", "int64")
    assert PixelSums().apply(kernel((build, (1, 20, height, 32))), tvm.target.Target(TARGET), False) is None


@pytest.mark.parametrize("name", OURS)
def test_it_computes_the_same_as_the_cpu(opencl, name):
    build, shape = OURS[name]
    mod = network(build, shape)
    (x,) = inputs(mod)
    cpu = relax.VirtualMachine(relax.build(mod, "llvm"), tvm.cpu())["main"](tvm.runtime.tensor(x)).numpy()
    target = Mali(host="x86")
    passes = [relax.transform.LegalizeOps(), relax.transform.AnnotateTIROpPattern(), relax.transform.FuseOps()]
    fused = tvm.transform.Sequential([*passes, relax.transform.FuseTIR()])(mod)
    with tvm.target.Target(TARGET):
        scheduled = tvm.s_tir.dlight.ApplyDefaultSchedule(PixelSums())(fused)
    machine = relax.VirtualMachine(target.compile(scheduled), opencl)
    found = machine["main"](tvm.runtime.tensor(x, opencl)).numpy()
    np.testing.assert_allclose(found, cpu, atol=1e-5 * np.abs(cpu).max())
