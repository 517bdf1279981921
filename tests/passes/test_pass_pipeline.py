"""All phases on whole networks, from ONNX, against PyTorch; and on random graphs, against the network before."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pass_nets import CPU, assert_same_numbers, channels, const, conv, network, norm, ops, run, transposed
from tvm import relax

from sr_tvm.frontend.export import export_onnx
from sr_tvm.frontend.onnx_file import load_onnx, resolve_inputs
from sr_tvm.frontend.to_relax import import_onnx
from sr_tvm.nets import registry
from sr_tvm.passes.pipeline import PHASES, optimize

op, nn = relax.op, relax.op.nn


@pytest.mark.parametrize(
    # 10 operators around 8 a block; after: head, 3 a block, tail, skip with the shuffle
    "name, shape, scale, kernels",
    [
        ("wdsr-2x8", (1, 3, 9, 7), 2, (26, 9)),
        ("wdsr-1x8", (1, 3, 6, 7), 3, (18, 6)),
        ("fsrcnn", (1, 1, 9, 8), 2, (23, 8)),
    ],
)
def test_whole_networks(tmp_path, name, shape, scale, kernels):
    net = registry.build(name, scale)
    export_onnx(net, tmp_path / "net.onnx", shape)
    model = load_onnx(tmp_path / "net.onnx")
    after, report = optimize(import_onnx(model, resolve_inputs(model)), CPU)
    x = np.random.default_rng(0).random(shape, np.float32)
    want = net(torch.from_numpy(x)).detach().numpy()
    assert np.abs(run(after, [x])[0] - want).max() <= 1e-5 * max(1.0, np.abs(want).max())
    assert (report.kernels_before, report.kernels_after) == kernels
    assert report.intermediate_bytes_after < report.intermediate_bytes_before
    assert [row["kernel"] for row in report.fusions] == ops(after)
    if name.startswith("wdsr"):
        assert report.fusions[0]["operators"][0] == "subtract"
        assert report.fusions[-1]["operators"][-1] == "pixel_shuffle"


def test_dump_has_the_module_after_each_phase(tmp_path):
    mod = network(lambda _, x: nn.relu(conv(x, np.ones((2, 2, 3, 3)), 1)), (1, 2, 4, 4))
    optimize(mod, CPU, dump_dir=tmp_path)
    names = [f"{phase.number:02d}-{phase.name}.py" for phase in PHASES]
    assert sorted(p.name for p in tmp_path.iterdir()) == names
    assert "nn.conv2d" in (tmp_path / names[0]).read_text()
    assert "fused_conv2d_relu" in (tmp_path / names[-1]).read_text()


def test_the_same_network_twice_gives_the_same_module():
    mod = network(lambda _, x: nn.relu(conv(x, np.ones((2, 2, 3, 3)), 1)), (1, 2, 4, 4))
    assert optimize(mod, CPU)[0].script() == optimize(mod, CPU)[0].script()


def test_an_output_that_is_also_read_inside():
    def build(emit, x):
        y = emit(op.add(conv(x, np.ones((2, 2, 3, 3)), 1), channels([1.0, 2.0])))
        return y, nn.relu(y)

    before = network(build, (1, 2, 4, 4))
    assert_same_numbers(before, optimize(before, CPU)[0])


STEPS = (
    "conv", "padded", "grouped", "transposed", "norm", "relu", "prelu", "clip", "add", "multiply", "scalar", "residual",
)  # fmt: skip


@given(st.lists(st.sampled_from(STEPS), min_size=2, max_size=8), st.integers(0, 9))
@settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_random_graphs(steps, seed):
    rng = np.random.default_rng(seed)
    weight = lambda *shape: rng.standard_normal(shape) / 4  # noqa: E731

    def build(emit, x):
        seen = [x]
        for step in steps:
            match step:
                case "conv" if int(x.ty.shape[2]) > 3:
                    x = conv(x, weight(4, 4, 3, 3))
                case "padded":
                    x = conv(x, weight(4, 4, 3, 3), 1)
                case "grouped":
                    x = conv(x, weight(4, 2, 3, 3), 1, groups=2)
                case "transposed":
                    x = transposed(x, weight(4, 2, 3, 3), 1, groups=2)
                case "norm":
                    x = norm(x, rng.random(4) + 0.5, weight(4), weight(4), rng.random(4) + 0.5, 1e-5)
                case "relu":
                    x = nn.relu(x)
                case "prelu":
                    x = nn.prelu(x, const(weight(4)), axis=1)
                case "clip":
                    x = op.clip(x, -2.0, 2.0)
                case "add":
                    x = op.add(x, channels(weight(4)))
                case "multiply":
                    x = op.multiply(x, channels(rng.random(4) + 0.5))
                case "scalar":
                    x = op.subtract(x, const(0.5))
                case "residual":
                    alike = [s for s in seen if list(s.ty.shape) == list(x.ty.shape)]
                    x = op.add(x, alike[int(rng.integers(len(alike)))]) if alike else x
            x = emit(x)
            seen.append(x)
        return nn.relu(x)

    before = network(build, (1, 4, 8, 7))
    after, report = optimize(before, CPU)
    assert report.kernels_after <= report.kernels_before
    assert report.intermediate_bytes_after <= report.intermediate_bytes_before
    assert_same_numbers(before, after, tolerance=3e-5)
