"""Which kernels become one: by structure, by numbers, and never against the table."""

import numpy as np
import pytest
import tvm
from pass_nets import CPU, assert_same_numbers, channels, const, conv, network, ops
from tvm import relax
from tvm.script import ir as I
from tvm.script import relax as R

from sr_tvm.passes.fuse_elementwise import FuseElementwise, Grouping
from sr_tvm.passes.mapping import Mapping
from sr_tvm.passes.pipeline import optimize

op, nn = relax.op, relax.op.nn
SHAPE = (1, 3, 6, 5)
W = np.arange(3 * 3 * 3 * 3).reshape(3, 3, 3, 3) % 7 / 8.0 - 0.375
B, SLOPE = np.array([0.5, -1.0, 0.25]), const([0.1, 0.2, 0.3])


def biased(x):
    return op.add(conv(x, W, 1), channels(B))


def block(emit, x):
    """conv, bias, prelu, conv, bias, clip of the sum with the input"""
    y = emit(nn.prelu(biased(x), SLOPE, axis=1))
    return op.clip(op.add(x, biased(y)), -1.0, 1.0)


def small_dag(emit, x):
    """x * sigmoid(x) + relu(x) after a convolution: two paths that meet again"""
    y = emit(conv(x, W, 1))
    return op.add(op.multiply(y, op.sigmoid(y)), nn.relu(y))


def read_twice(emit, x):
    y = emit(nn.relu(conv(x, W, 1)))
    return op.add(conv(y, W, 1), y)


def normalised_twice(emit, x):
    y = emit(op.subtract(x, channels(B)))
    return op.add(conv(y, W, 1), conv(y, 2 * W, 1))


def gated(emit, x):
    """A convolution times one number a channel made from it: the number is broadcast, a one-to-many step"""
    y = emit(conv(x, W, 1))
    return op.multiply(y, op.sigmoid(op.mean(y, axis=[2, 3], keepdims=True)))


# name: (network, kernels in order)
CASES = {
    "chain": (lambda _, x: op.tanh(op.exp(nn.relu(x))), ["fused_relu_exp_tanh"]),
    "block": (block, ["fused_conv2d_add_prelu", "fused_conv2d_add_add_clip"]),
    "small dag": (small_dag, ["fused_conv2d_sigmoid_multiply_relu_add"]),
    "read twice": (read_twice, ["fused_conv2d_relu", "fused_conv2d_add"]),
    "first load": (lambda _, x: conv(op.subtract(x, channels(B)), W, 1), ["fused_subtract_conv2d"]),
    "two first loads": (normalised_twice, ["fused_subtract_conv2d", "fused_subtract_conv2d_add"]),
    "pool": (lambda _, x: nn.max_pool2d(nn.relu(conv(x, W, 1)), (2, 2), (2, 2)), ["fused_conv2d_relu", "max_pool2d"]),
    "concat": (
        lambda emit, x: (lambda y: op.concat([y, x], axis=1))(emit(conv(x, W, 1))),
        ["conv2d", "concatenate"],
    ),
    "gate": (gated, ["conv2d", "fused_mean_sigmoid", "multiply"]),
    "transpose": (lambda _, x: op.permute_dims(conv(x, W, 1), [0, 2, 3, 1]), ["conv2d", "transpose"]),
    "split": (
        lambda emit, x: (lambda y: op.add(y[0], y[1]))(emit(op.split(conv(x, np.concatenate([W] * 2), 1), 2, axis=1))),
        ["conv2d", "split", "add"],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_kernels_and_numbers(name):
    build, kernels = CASES[name]
    before = network(build, SHAPE)
    after, report = optimize(before, CPU)
    assert ops(after) == kernels
    assert [row["kernel"] for row in report.fusions] == kernels and report.kernels_after == len(kernels)
    assert_same_numbers(before, after)


def test_bytes_and_rules():
    before = network(block, SHAPE)
    _, report = optimize(before, CPU)
    tensor = 4 * 3 * 6 * 5
    assert (report.kernels_before, report.kernels_after) == (7, 2)
    assert (report.intermediate_bytes_before, report.intermediate_bytes_after) == (6 * tensor, tensor)
    assert report.fusions[0]["operators"] == ["conv2d", "add", "prelu"]
    assert report.fusions[0]["rule"] == "many-to-many + one-to-one -> T many-to-many"
    assert {"many-to-many + many-to-many -> X"} == {row["reason"] for row in report.refusals}
    assert [row["number"] for row in report.phases] == list(range(1, len(report.phases) + 1))


@pytest.mark.parametrize(
    "name, reason",
    [("concat", "a store for each of its inputs"), ("gate", "one-to-many -> D"), ("transpose", "no profile"),
     ("read twice", "many-to-many + many-to-many -> X"), ("split", "several outputs")],
)  # fmt: skip
def test_refusals_say_why(name, reason):
    _, report = optimize(network(CASES[name][0], SHAPE), CPU)
    assert any(reason in row["reason"] for row in report.refusals), report.refusals


def test_structure():
    @I.ir_module
    class Before:
        @R.function
        def main(x: R.Tensor((1, 3, 6, 5), "float32"), y: R.Tensor((1, 3, 6, 5), "float32")):
            with R.dataflow():
                a = R.add(x, y)
                b = R.nn.relu(a)
                R.output(b)
            return b

    legal = relax.transform.LegalizeOps()(Before)
    after = FuseElementwise()(legal)

    def kernel(name):
        return legal.get_global_var(name)

    tensor = relax.TensorType(SHAPE, "float32")
    builder = relax.BlockBuilder(legal)
    x, y = relax.Var("x", tensor), relax.Var("y", tensor)
    with builder.function("fused_add_relu", [x, y], attrs={"Primitive": True}, private=True):
        with builder.dataflow():
            a = builder.emit(relax.call_tir(kernel("add"), relax.Tuple([x, y]), tensor))
            out = builder.emit_output(relax.call_tir(kernel("relu"), relax.Tuple([a]), tensor))
        builder.emit_func_output(out)
    tvm.ir.assert_structural_equal(after["fused_add_relu"], builder.finalize()["fused_add_relu"])
    assert after["main"].body.blocks[0].bindings[0].value.op.name_hint == "fused_add_relu"


def test_inside_a_kernel_each_run_of_arithmetic_is_one_block():
    mod, _ = optimize(network(lambda e, x: block(e, op.subtract(x, channels(B))), SHAPE), CPU)
    for func in mod.functions.values():
        if isinstance(func, tvm.tirx.PrimFunc):
            schedule = tvm.s_tir.Schedule(tvm.IRModule({"main": func}))
            blocks = schedule.get_child_blocks(schedule.get_sblock("root"))
            assert len(blocks) <= 3  # the padded load, the convolution, the store


def test_every_fusion_is_allowed_by_the_table():
    legal = relax.transform.LegalizeOps()(network(small_dag, SHAPE))
    grouping = Grouping(legal)
    assert [group.type for group in grouping.groups] == [Mapping.MANY_TO_MANY]
    assert all("-> T" in rule for group in grouping.groups for rule in group.rules)
