"""The latency in the loss is the speed model's own prediction, and its slope is the one that finite steps see."""

import math

import pytest

from sr_tvm.errors import SrTvmError
from sr_tvm.records.architecture import Architecture, Block
from sr_tvm.speed.model import SURROGATE, SpeedModel
from sr_tvm.speed.physical import Physical
from sr_tvm.speed.sample import Sample, block

torch = pytest.importorskip("torch")

PRICES = (1.1e-9, 2.3e-9, 0.7e-9, 1.9e-9, 3e-9, 0.41, 1.7)
BLOCKS = ((30, 7), (1, 1), (61, 19), (144, 20))


def physical(ends=True):
    return SpeedModel("physical", Physical(PRICES), SURROGATE, "ms", ends=ends)


@pytest.fixture(scope="module", params=["of blocks", "of networks", "monotone", "blocks only"])
def mlp(request):
    from sr_tvm.speed import mlp as module

    def cost(n, e, m):
        return 1 + n * e / 900 + e * m / 1100 + math.sqrt(n * m)

    if request.param != "of networks":
        data = [block(n, 3 * n + i, n - 1, cost(n, 3 * n + i, n - 1)) for n in range(4, 30, 3) for i in (0, 9)]
    else:
        nets = [Architecture(2, n, (Block(3 * n, n),) * d) for d in range(4) for n in (6, 12, 24)]
        data = [Sample(a, 360, 640, 3 + sum(cost(a.channels, b.expand, b.linear) for b in a.blocks)) for a in nets]
    monotone = request.param == "monotone"
    kind = "mlp-monotone" if monotone else "mlp"
    fitted = module.fit(data, steps=60, monotone=monotone)
    return SpeedModel(kind, fitted, SURROGATE, "ms", ends=request.param != "blocks only")


def tensors(channels, blocks, keep, dtype=torch.float32):
    columns = [[float(b[i]) for b in blocks] for i in (0, 1)]
    parts = (float(channels), *columns, [float(k) for k in keep])
    return [torch.tensor(part, dtype=dtype, requires_grad=True) for part in parts]


def check(model, scale, height, width):
    from sr_tvm.speed.differentiable import latency

    predict = latency(model, height, width, scale)
    for channels in (1, 13, 24):
        for keep in ((1, 1, 1, 1), (1, 0, 0, 1), (0, 0, 0, 0)):
            kept = tuple(Block(*b) for b, k in zip(BLOCKS, keep, strict=True) if k)
            (expected,) = model.predict([Sample(Architecture(scale, channels, kept), height, width, 1.0)])
            for dtype in (torch.float32, torch.float64):
                value = predict(*tensors(channels, BLOCKS, keep, dtype))
                assert value.shape == () and value.dtype == dtype
                assert value.item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("size", [(360, 640), (180, 320), (7, 9)])
@pytest.mark.parametrize("ends", [True, False])
def test_physical_equals_predict(scale, size, ends):
    check(physical(ends), scale, *size)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_mlp_equals_predict(mlp, scale):
    check(mlp, scale, 360, 640)


def test_no_blocks_at_all(mlp):
    from sr_tvm.speed.differentiable import latency

    for model in (physical(), mlp):
        (expected,) = model.predict([Sample(Architecture(2, 16, ()), 360, 640, 1.0)])
        value = latency(model, 360, 640, 2)(*tensors(16, (), ()))
        assert value.item() == pytest.approx(expected, rel=1e-6)


def test_gradients_are_those_of_finite_steps(mlp):
    from sr_tvm.speed.differentiable import latency

    widths = ((30.5, 7.25), (12.0, 3.0), (61.0, 19.0))
    for model, dtype, step, off in ((physical(), torch.float64, 1e-3, 1e-6), (mlp, torch.float32, 0.25, 2e-2)):
        predict = latency(model, 360, 640, 2)
        inputs = tensors(14, widths, (1.0, 0.5, 1.0), dtype)
        predict(*inputs).backward()
        for i, tensor in enumerate(inputs):
            assert tensor.grad is not None and (tensor.grad.abs() > 0).all()
            assert dtype == torch.float64 or mlp.kind == "mlp" or (tensor.grad >= 0).all()
            for j in range(tensor.numel()):
                values = []
                for sign in (1, -1):
                    moved = [t.detach().clone() for t in inputs]
                    moved[i].view(-1)[j] += sign * step
                    values.append(predict(*moved).item())
                slope = (values[0] - values[1]) / (2 * step)
                assert float(tensor.grad.view(-1)[j]) == pytest.approx(slope, rel=off, abs=off * 0.1)


def test_the_model_itself_gets_no_gradients(mlp):
    from sr_tvm.speed.differentiable import latency

    parameters = list(mlp.predictor.net.parameters())
    for parameter in parameters:
        parameter.grad = None
    latency(mlp, 360, 640, 2)(*tensors(16, BLOCKS, (1, 1, 1, 1))).backward()
    assert all(p.grad is None and p.requires_grad for p in parameters)


def test_a_dropped_block_of_width_zero_is_no_nan(mlp):
    from sr_tvm.speed.differentiable import latency

    for model in (physical(), mlp):
        inputs = tensors(16, ((0, 0), (30, 7)), (0, 1))
        latency(model, 360, 640, 2)(*inputs).backward()
        assert all(torch.isfinite(t.grad).all() for t in inputs)


def test_refused(mlp):
    from sr_tvm.speed.differentiable import latency

    with pytest.raises(SrTvmError, match="scale is 5"):
        latency(physical(), 360, 640, 5)
    with pytest.raises(SrTvmError, match="360x640 pixels only"):
        latency(mlp, 180, 320, 4)


def test_predicting_needs_no_scipy():
    import subprocess
    import sys

    code = (
        "import sys; sys.modules['scipy'] = None; sys.modules['tvm'] = None\n"
        "import torch, sr_tvm.speed.differentiable as d, sr_tvm.speed.model as m, sr_tvm.speed.physical as p\n"
        "f = d.latency(m.SpeedModel('physical', p.Physical((1e-9,) * 7), 'stand-in', 'ms'), 9, 9, 2)\n"
        "print(float(f(*(torch.ones(s) for s in ((), (2,), (2,), (2,))))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and float(done.stdout) > 0, done.stderr
