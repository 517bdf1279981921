"""Files from both PyTorch exporters, over the operator sets: shape chains with symbolic H and W included."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sr_tvm.errors import SrTvmError
from sr_tvm.frontend.export import export_onnx
from sr_tvm.frontend.onnx_file import load_onnx, parse_input_shape, resolve_inputs
from sr_tvm.frontend.parity import compare, run_relax
from sr_tvm.frontend.to_relax import import_onnx


class Kitchen(nn.Module):
    """What super-resolution networks use, and what makes exporters write shape arithmetic."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        self.mode = mode
        self.head = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.slope = nn.PReLU(8)
        self.one = nn.PReLU()
        self.depthwise = nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=8)
        self.gate = nn.Conv2d(8, 8, 1)
        self.tail = nn.Conv2d(16, 12, 3)
        self.up = nn.ConvTranspose2d(3, 3, 5, stride=2, padding=2, output_padding=1)
        self.drop = nn.Dropout()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = self.slope(self.norm(self.head(x)))
        b = self.one(self.drop(self.depthwise(a)))
        # Channel attention: a mean over the picture, which exporters write in several ways.
        b = b * torch.sigmoid(self.gate(F.adaptive_avg_pool2d(b, 1)))
        both = F.relu6(torch.cat([a, b], dim=1).clamp(min=-0.5))
        deep = F.pixel_shuffle(self.tail(F.pad(both, (1, 1, 1, 1), mode="reflect")), 2)
        n, c, h, w = x.shape
        base = F.interpolate(x, size=(h * 2, w * 2), mode=self.mode)
        turned = deep.reshape(n, c, 4 * h * w).transpose(1, 2).transpose(1, 2).view(n, c, 2 * h, -1)
        left, right = turned.split([1, 2], dim=1)
        return torch.cat([right, left], dim=1) + base[:, :, :, :] - 0.5 * self.up(x).tanh()


def kitchen(mode: str) -> nn.Module:
    torch.manual_seed(1)
    net = Kitchen(mode)
    with torch.no_grad():
        net.norm.running_mean.uniform_(-1, 1)
        net.norm.running_var.uniform_(0.5, 2)
    return net.eval()


CASES = [
    *(("torchscript", o, True) for o in (9, 10, 11, 13, 17, 20)),
    ("torchscript", 13, False),
    ("dynamo", None, False),
    ("dynamo", 21, True),
]


def test_a_wrong_export_is_caught_and_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(SrTvmError, match="outputs differ"):
        export_onnx(kitchen("bilinear"), tmp_path / "net.onnx", (1, 3, 12, 10), False, "torchscript", 10)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("exporter", "opset", "dynamic"), CASES)
def test_exported_network_imports_with_the_same_numbers(
    exporter: str, opset: int | None, dynamic: bool, tmp_path: Path
) -> None:
    # Operator sets 9 and 10 have no half-pixel coordinates: PyTorch exports bilinear wrongly, and export_onnx says so.
    net, path = kitchen("nearest" if opset and opset < 11 else "bilinear"), tmp_path / "net.onnx"
    assert export_onnx(net, path, (1, 3, 12, 10), dynamic, exporter, opset).ok
    model = load_onnx(path)
    if opset:
        assert {o.version for o in model.opset_import if not o.domain} == {opset}
    # A symbolic model is compiled at a size other than the one it was traced at.
    shapes = resolve_inputs(model, parse_input_shape("1x3x9x14") if dynamic else None)
    x = np.random.default_rng(2).random(shapes["x"], np.float32)
    with torch.inference_mode():
        reference = net(torch.from_numpy(x)).numpy()
    (got,) = run_relax(import_onnx(model, shapes), [x])
    assert compare(f"{exporter} {opset}", reference, got).ok


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
def test_interpolate(mode: str, exporter: str, tmp_path: Path) -> None:
    class Net(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            corners = [False, True] if mode.startswith("bi") else [None]
            parts = []
            for corner in corners:
                parts += [
                    F.interpolate(x, scale_factor=2, mode=mode, align_corners=corner),
                    F.interpolate(x, size=(18, 24), mode=mode, align_corners=corner)[:, :, :, :20],
                ]
            return torch.cat([p[:, :, :16, :] for p in parts], dim=1)

    path = tmp_path / "net.onnx"
    export_onnx(Net(), path, (1, 2, 9, 10), exporter=exporter)
    model = load_onnx(path)
    x = np.random.default_rng(2).random((1, 2, 9, 10), np.float32)
    (got,) = run_relax(import_onnx(model, resolve_inputs(model)), [x])
    assert compare(mode, Net()(torch.from_numpy(x)).numpy(), got).ok
