"""Streaming regions: what forms on which network, what each computes, and that the whole gives the same numbers."""

import numpy as np
import pytest
import torch
import tvm
from lowerings import Cut, Quick, Recorder, build, kernels_of, kinds
from pass_nets import CPU, channels, const, conv, inputs, network, ops, run
from region_reference import evaluate, result_name
from tvm import relax, tirx

from sr_tvm.build import kernels
from sr_tvm.build.schedule import schedule
from sr_tvm.frontend.export import export_onnx
from sr_tvm.frontend.input_shapes import resolve_open
from sr_tvm.frontend.onnx_file import load_onnx, resolve_inputs
from sr_tvm.frontend.to_relax import import_onnx
from sr_tvm.nets import registry
from sr_tvm.nets.vgg import VGG16
from sr_tvm.passes.pipeline import optimize
from sr_tvm.regions.region import Conv, Result
from sr_tvm.targets.plain.lowering import PlainLowering

op, nn = relax.op, relax.op.nn
RNG = np.random.default_rng(0)
SHAPE = (1, 4, 6, 7)
LOWERINGS = (PlainLowering(), Cut())


def weight(outputs=4, inputs=4, kernel=3):
    return RNG.standard_normal((outputs, inputs, kernel, kernel)) / 4


def imported(net, path, shape, resolve=resolve_inputs, **options):
    export_onnx(net, path / "net.onnx", shape, **options)
    model = load_onnx(path / "net.onnx")
    return import_onnx(model, resolve(model))


def formed(before, inner=None):
    """The optimised module, its report, and the regions that were formed."""
    recorder = Recorder(inner)
    after, report = optimize(before, CPU, lowering=recorder)
    return after, report, recorder


def check_numbers(before, lowerings=LOWERINGS, tolerance=1e-5):
    arrays = inputs(before)
    wanted = run(before, arrays)
    for lowering in lowerings:
        after, _, recorder = formed(before, lowering)
        assert recorder.regions
        for want, got in zip(wanted, build(after)(arrays), strict=True):
            assert want.shape == got.shape
            assert np.abs(want - got).max() <= tolerance * max(1.0, np.abs(want).max())


@pytest.mark.parametrize("name, shape", [("wdsr-2x8", (1, 3, 9, 7)), ("fsrcnn", (1, 1, 6, 8))])
def test_a_whole_network_is_one_region(tmp_path, name, shape):
    net = registry.build(name)
    before = imported(net, tmp_path, shape)
    after, report, recorder = formed(before, PlainLowering())
    (region,) = recorder.regions
    assert recorder.shapes == [(shape[0], *shape[2:])]
    assert [s.channels for s in region.sources] == [shape[1]] and [r.shuffle for r in region.results] == [2]
    assert report.kernels_after == 1 and report.intermediate_bytes_after == 0 and ops(after) == ["stream0"]
    assert all(node.channels for node in region.nodes)
    if name == "fsrcnn":
        assert kinds(region) == {"Source": 1, "Conv": 8, "prelu": 7}
        assert kernels_of(region)[0] == "5x5 1>56" and kernels_of(region)[-1] == "5x5 56>4"
    else:
        assert kinds(region) == {"Source": 1, "Conv": 9, "shift": 1, "relu": 2, "Add": 3}
        assert kernels_of(region)[:4] == ["3x3 3>8", "1x1 8>48", "1x1 48>6", "3x3 6>8"]
    assert any(np.any(conv.bias) for conv in region.convolutions())  # no bias is left on its own

    x = np.random.default_rng(1).random(shape, np.float32)
    want = net(torch.from_numpy(x)).detach().numpy()
    (value,) = evaluate(region, {region.sources[0].name: x}).values()
    assert np.abs(value - want).max() < 2e-6
    assert np.abs(build(after)([x])[0] - want).max() < 2e-6

    (row,) = report.fusions
    assert row["kernel"] == "stream0" and "conv2d 3x3" in row["operators"] and row["operators"][-1] == "pixel_shuffle"
    for rule in (
        "channel: many-to-many + many-to-many -> T many-to-many",
        "row, column: halo + halo -> T halo",
        "row, column: halo + shuffle -> T shuffle",
    ):
        assert rule in row["rule"].split("; ")


def test_carn_m_ends_a_region_at_its_upsampler(tmp_path):
    net = registry.build("carn-m")
    after, report, recorder = formed(imported(net, tmp_path, (1, 3, 4, 5)), PlainLowering())
    body, last = recorder.regions
    assert recorder.shapes == [(1, 4, 5), (1, 8, 10)]
    # The three joins of each cascade read their stages' outputs themselves: nothing is copied together.
    assert kinds(body) == {"Source": 1, "shift": 1, "Conv": 41, "relu": 40, "Add": 9}
    assert [len(c.inputs) for c in body.convolutions() if len(c.inputs) > 1] == [2, 3, 4, 2, 2, 3, 4, 3, 2, 3, 4, 4]
    assert "3x3 64>64/4" in kernels_of(body) and kernels_of(body)[-1] == "3x3 64>256/4"
    assert body.results == (Result(body.results[0].value, 2),)
    assert kernels_of(last) == ["3x3 64>3"] and kinds(last) == {"Source": 1, "Conv": 1}
    (reason,) = [r["reason"] for r in report.refusals if r["where"].startswith("pixel_shuffle")]
    assert reason == "channel: shuffle + many-to-many -> X; row, column: shuffle + halo -> X"
    x = np.random.default_rng(1).random((1, 3, 4, 5), np.float32)
    want = net(torch.from_numpy(x)).detach().numpy()
    assert np.abs(build(after)([x])[0] - want).max() < 2e-6
    assert report.intermediate_bytes_after == 64 * 8 * 10 * 4


def test_vgg_streams_between_its_pools(tmp_path):
    before = imported(VGG16(classes=5, hidden=4, size=32).eval(), tmp_path, (1, 3, 32, 32))
    after, report, recorder = formed(before, PlainLowering())
    assert [kinds(r)["Conv"] for r in recorder.regions] == [2, 2, 3, 3, 3]
    assert all(kinds(r)["relu"] == kinds(r)["Conv"] for r in recorder.regions)
    assert [s[1] for s in recorder.shapes] == [32, 16, 8, 4, 2]
    names = ["stream" if name.startswith("stream") else name for name in ops(after)]
    assert names[:4] == ["stream", "max_pool2d", "stream", "max_pool2d1"]
    assert "row, column: many-to-many + halo -> X" in {r["reason"] for r in report.refusals}
    assert "row, column: one-to-one + many-to-many -> X" in {r["reason"] for r in report.refusals}


def test_all_sizes_of_one_module(tmp_path):
    """H and W are symbols: the region is the same, its kernel reads the sizes, the last shape is twice the first."""
    net = registry.build("carn-m")
    net.body = net.body.stages[0]  # one cascade will do
    before = imported(net, tmp_path, (1, 3, 8, 8), resolve_open, dynamic=True)
    after, report, recorder = formed(before, PlainLowering())
    assert recorder.shapes == [(1, None, None)] * 2 and report.per_pixel
    assert report.intermediate_bytes_after == 64 * 4 * 4  # of the upsampled tensor, for each pixel of the input
    for module in (after, optimize(before, CPU)[0]):  # and without a lowering
        compiled = build(module)
        for size in ((5, 4), (1, 9)):
            x = np.random.default_rng(1).random((1, 3, *size), np.float32)
            want = net(torch.from_numpy(x)).detach().numpy()
            assert np.abs(compiled([x])[0] - want).max() < 2e-6


def test_every_operator_of_a_region():
    def build(emit, x):
        y = emit(conv(op.subtract(x, channels([0.1, 0.2, 0.3, 0.4])), weight(), 1))
        y = emit(nn.prelu(y, const([0.1, 0.2, -0.3, 0.4]), axis=1))
        y = emit(nn.leakyrelu(conv(y, weight(8, 1), 1, groups=4), 0.2))
        z = emit(op.clip(conv(y, weight(6, 4, 5), 2, groups=2), -0.5, 0.5))
        z = emit(op.multiply(op.maximum(z, const(-0.25)), channels([1, 2, 3, 4, 5, -6])))
        z = emit(op.minimum(op.maximum(z, const(0.0)), channels([1, 2, 3, 4, 5, 6])))
        z = emit(op.divide(op.concat([y, z, y], axis=1), const(2.0)))
        z = emit(nn.relu(conv(op.concat([z, x], axis=1), weight(4, 26, 1))))
        return op.add(z, x), nn.relu6(op.add(op.multiply(z, const(9.0)), const(-1.5)))

    before = network(build, (2, 4, 6, 7))
    _, _, recorder = formed(before)
    (region,) = recorder.regions
    assert kinds(region) == {
        "Source": 1, "shift": 2, "Conv": 4, "prelu": 2, "clip": 4, "relu": 2, "scale": 3, "Concat": 1, "Add": 1,
    }  # fmt: skip
    assert len(region.results) == 2
    arrays = inputs(before)
    got = evaluate(region, dict(zip([s.name for s in region.sources], arrays, strict=True)))
    for want, value in zip(run(before, arrays), got.values(), strict=True):
        assert np.abs(want - value).max() < 1e-5
    check_numbers(before)


def shuffle(x):
    """By 2 in PyTorch's order, as an importer gives it."""
    n, c, h, w = (int(d) for d in x.ty.shape)
    parts = op.reshape(x, (n, c // 4, 2, 2, h, w))
    return op.reshape(op.permute_dims(parts, (0, 1, 4, 2, 5, 3)), (n, c // 4, 2 * h, 2 * w))


def turned(x):
    return op.permute_dims(x, (0, 1, 3, 2))


def pool(x):
    return nn.max_pool2d(x, pool_size=(3, 3), padding=(1, 1))


STOPPERS = {
    "max_pool2d": (pool, "row, column: one-to-one + many-to-many -> X"),
    "stride 2": (lambda x: conv(x, weight(), 1, strides=2), "row, column: one-to-one + many-to-many -> X"),
    "even kernel": (lambda x: conv(x, weight(4, 4, 2)), "row, column: one-to-one + many-to-many -> X"),
    "sigmoid": (op.sigmoid, "sigmoid: no operator of a region"),
    "softmax": (lambda x: nn.softmax(x, axis=1), "row, column: one-to-one + many-to-many -> X"),
    "of two tensors": (lambda x: op.multiply(x, x), "multiply: only arithmetic with one constant number a channel"),
    "of a plane": (
        lambda x: op.add(x, const(RNG.random((1, 4, 6, 7)))),
        "add: only arithmetic with one constant number a channel",
    ),
    "from a constant": (lambda x: op.subtract(const(1.0), x), "subtract: it subtracts from a constant"),
    "permuted": (
        lambda x: op.permute_dims(op.permute_dims(x, (0, 1, 3, 2)), (0, 1, 3, 2)),
        "batch: one-to-one + shuffle -> X",
    ),
}


@pytest.mark.parametrize("name", STOPPERS)
def test_an_operator_that_cannot_stream_ends_a_region(name):
    stop, said = STOPPERS[name]

    def build(emit, x):
        y = emit(nn.relu(conv(x, weight(), 1)))
        return nn.relu(op.add(conv(stop(y), weight(), 1), channels([1, 2, 3, 4])))

    before = network(build, SHAPE)
    _, report, recorder = formed(before)
    assert [kinds(r) for r in recorder.regions] == [{"Source": 1, "Conv": 1, "relu": 1}] * 2
    reasons = [row["reason"] for row in report.refusals]
    assert any(said in reason for reason in reasons), reasons
    check_numbers(before, (PlainLowering(),))


def test_no_path_leaves_a_region_and_returns():
    """The sum reads the first convolution and, through a pool, what it made: one kernel would wait for itself."""

    def build(emit, x):
        y = emit(conv(x, weight(), 1))
        return conv(op.add(nn.relu(y), conv(pool(y), weight(), 1)), weight(), 1)

    before = network(build, SHAPE)
    _, report, recorder = formed(before)
    first, second = recorder.regions
    assert kinds(first) == {"Source": 1, "Conv": 1, "relu": 1} and len(first.results) == 2
    assert kinds(second) == {"Source": 2, "Conv": 2, "Add": 1}
    assert "another path between the two leaves the region" in {row["reason"] for row in report.refusals}
    check_numbers(before)


def test_a_branch_around_what_cannot_stream_joins_where_it_ends():
    """Only the input is before the pool, so the branch beside it belongs to the region after it."""

    def build(emit, x):
        return op.add(conv(pool(x), weight(), 1), conv(x, weight(), 1))

    _, _, recorder = formed(network(build, SHAPE))
    (region,) = recorder.regions
    assert kinds(region) == {"Source": 2, "Conv": 2, "Add": 1}


def test_results_plain_and_shuffled_and_twice():
    """A value stored as it is and shuffled, the shuffle bound twice, and values that are results and read inside."""

    def build(emit, x):
        y = emit(op.add(conv(x, weight(8), 1), channels(np.arange(8))))
        first, again = emit(shuffle(y)), emit(shuffle(y))
        z = emit(conv(y, weight(4, 8), 1))
        return y, first, op.add(z, channels([1, 2, 3, 4])), again, z

    before = network(build, SHAPE)
    after, report, recorder = formed(before, PlainLowering())
    (region,) = recorder.regions
    assert kinds(region) == {"Source": 1, "Conv": 2, "shift": 1}  # z without its bias is a result, so it stays a shift
    assert sorted(r.shuffle for r in region.results) == [1, 1, 1, 2]
    assert report.intermediate_bytes_after == 0 and report.kernels_after == 1
    arrays = inputs(before)
    got = evaluate(region, {region.sources[0].name: arrays[0]})
    assert np.allclose(got[result_name(region.results[0].value)], run(before, arrays)[0], atol=1e-5)
    check_numbers(before)


@pytest.mark.parametrize("shared", [False, True], ids=["alone", "shared"])
def test_the_other_channel_order_of_a_shuffle(shared):
    """ONNX's default order becomes PyTorch's: in the weights if nobody else reads them, else by a 1x1 convolution."""

    def build(emit, x):
        y = emit(op.add(conv(x, weight(12), 1), channels(np.arange(12))))
        y = emit(nn.prelu(op.add(y, conv(x, weight(12, 4, 1))), const(np.linspace(-1, 1, 12)), axis=1))
        n, c, h, w = (int(d) for d in y.ty.shape)
        parts = op.reshape(y, (n, 2, 2, c // 4, h, w))
        out = op.reshape(op.permute_dims(parts, (0, 3, 4, 1, 5, 2)), (n, c // 4, 2 * h, 2 * w))
        return (out, y) if shared else out

    before = network(build, SHAPE)
    after, _, recorder = formed(before, PlainLowering())
    (region,) = recorder.regions
    assert kinds(region)["Conv"] == 2 + shared and ops(after) == ["stream0"]
    assert [r.shuffle for r in region.results if r.shuffle > 1] == [2]
    check_numbers(before)


def test_a_region_without_a_convolution_is_left():
    before = network(lambda emit, x: nn.relu(op.add(x, const(1.0))), SHAPE)
    after, report, recorder = formed(before)
    assert not recorder.regions and ops(after) == ["fused_add_relu"]
    assert "a region without a convolution has no work to stream" in {row["reason"] for row in report.refusals}


def test_a_lowering_may_decline():
    """What it leaves goes the way of targets without a lowering."""
    before = network(lambda emit, x: nn.relu(conv(x, weight(), 1)), SHAPE)
    after, report, recorder = formed(before)
    assert len(recorder.regions) == 1 and ops(after) == ["fused_conv2d_relu"]
    assert {"where": "region of 2 operators", "reason": "recorder leaves it alone"} in report.refusals
    assert after.script() == optimize(before, CPU)[0].script()


def test_cut_into_kernels():
    """Several kernels of a region hand tensors to one another, and the report says which operators each does."""
    before = network(lambda emit, x: nn.relu(op.add(conv(x, weight(), 1), channels(np.ones(4)))), SHAPE)
    after, report, _ = formed(before, Cut())
    assert [row["operators"] for row in report.fusions] == [["conv2d 3x3", "add"], ["relu"]]
    assert ops(after) == ["stream0_part0", "stream0_part1"]
    assert report.intermediate_bytes_after == 4 * 6 * 7 * 4


def test_other_kernels_around_it_still_fuse():
    before = network(lambda emit, x: op.tanh(op.sigmoid(nn.relu(conv(op.exp(op.negative(x)), weight(), 1)))), SHAPE)
    after, report, _ = formed(before, PlainLowering())
    assert ops(after) == ["fused_negative_exp", "stream0", "fused_sigmoid_tanh"]
    assert report.fusions[1]["operators"] == ["conv2d 3x3", "relu"]


def test_other_element_types_are_left():
    x = relax.Var("x", relax.TensorType(SHAPE, "float16"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        with builder.dataflow():
            half = relax.const(weight().astype("float16"))
            out = builder.emit_output(nn.conv2d(x, half, padding=1))
        builder.emit_func_output(out)
    assert not formed(builder.finalize())[2].regions


def test_names_of_a_region_are_unique():
    def build(emit, x):
        first, second = emit(conv(x, weight(), 1), "same"), emit(conv(x, weight(5), 1), "same")
        return op.concat([first, second], axis=1)

    (region,) = formed(network(build, SHAPE))[2].regions
    assert len({node.name for node in region.nodes}) == len(region.nodes) == 4
    assert [c.channels for c in region.convolutions()] == [4, 5]


def test_the_functions_of_a_kernel_survive_every_phase():
    """A kernel whose private function is called from a parallel loop: through all phases, the build, and a run."""
    before = network(lambda emit, x: op.sigmoid(nn.relu(conv(op.sigmoid(x), weight(), 1))), SHAPE)
    plain, _, _ = formed(before, PlainLowering())
    names = [var.name_hint for var in plain.get_global_vars() if var.name_hint.startswith("stream0")]
    assert "stream0" in names and len(names) > 1
    for name in names:
        attrs = plain[name].attrs
        assert isinstance(plain[name], tirx.PrimFunc) and attrs["tirx.is_scheduled"] and attrs["sr_tvm.streamed"]
    check_numbers(before, (PlainLowering(),))


def test_the_library_on_disk(tmp_path):
    """The library is linked and read back; the size is a symbol."""
    batch, height, width = (tirx.Var(name, "int64") for name in "nhw")
    weights = weight(8), weight(4, 8, 1)
    before = network(
        lambda _, x: op.sigmoid(conv(nn.relu(conv(op.sigmoid(x), weights[0], 1)), weights[1])),
        (batch, 4, height, width),
    )
    after, report, recorder = formed(before, PlainLowering())
    assert recorder.shapes == [(None, None, None)] and report.kernels_after == 3
    target = Quick()
    mod = schedule(after, target)
    assert {row["kernel"]: row["calls"] for row in kernels.rows(mod, "cpu")} == {"tir_sigmoid": 2, "stream0": 1}
    library = tvm.runtime.load_module(str(tmp_path / target.build(mod, tmp_path)))
    machine = relax.VirtualMachine(library, tvm.cpu())
    for size in ((2, 4, 5, 3), (1, 4, 1, 1)):
        x = RNG.standard_normal(size).astype("float32")
        deep = torch.sigmoid(torch.from_numpy(x))
        for w in weights:
            kernel = torch.from_numpy(w.astype("float32"))
            deep = torch.nn.functional.conv2d(deep, kernel, padding=w.shape[-1] // 2)
            deep = torch.relu(deep) if w is weights[0] else torch.sigmoid(deep)
        got = machine["main"](tvm.runtime.tensor(x)).numpy()
        assert np.abs(got - deep.numpy()).max() < 1e-5


def test_twice_the_same():
    before = network(lambda emit, x: nn.relu(conv(x, weight(), 1)), SHAPE)
    assert formed(before, PlainLowering())[0].script() == formed(before, PlainLowering())[0].script()
    assert isinstance(next(formed(before)[2].regions[0].convolutions()), Conv)
