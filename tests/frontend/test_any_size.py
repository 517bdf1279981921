"""One import for pictures of every size, or a refusal that names what depends on the size."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
import tvm
from torch import nn
from tvm import relax

from sr_tvm.errors import SrTvmError
from sr_tvm.frontend.any_size import normalize_any_size
from sr_tvm.frontend.export import export_onnx
from sr_tvm.frontend.input_shapes import parse_open_shape, resolve_open
from sr_tvm.frontend.onnx_file import load_onnx
from sr_tvm.frontend.parity import compare
from sr_tvm.frontend.to_relax import import_onnx
from sr_tvm.nets import registry

SIZES = [(1, 1), (1, 9), (7, 5), (24, 20), (31, 42)]


class Enlarge(nn.Module):
    """Every way to enlarge, a mean over the picture, and a slice of everything."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(3, 3, 5, stride=2, padding=2, output_padding=1)
        self.norm = nn.BatchNorm2d(3)
        self.gate = nn.Conv2d(3, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, c, h, w = x.shape
        y = self.up(x) * torch.sigmoid(self.gate(F.adaptive_avg_pool2d(x, 1)))
        y = self.norm(y) + F.interpolate(x, size=(2 * h, 2 * w), mode="bilinear")[:, :, :, :]
        y = F.pad(y, (1, 1, 1, 1), mode="replicate")
        return F.max_pool2d(y, 3, 1) + F.interpolate(x, scale_factor=2.0, mode="nearest")


def enlarge() -> nn.Module:
    torch.manual_seed(2)
    return Enlarge().eval()


def runner(path: Path, shapes: dict | None = None) -> Callable[[np.ndarray], np.ndarray]:
    model = load_onnx(path)
    mod = import_onnx(model, resolve_open(model, shapes))
    machine = relax.VirtualMachine(tvm.compile(mod, target=tvm.target.Target({"kind": "llvm"})), tvm.cpu())
    return lambda x: machine["main"](tvm.runtime.tensor(x)).numpy()


@pytest.mark.parametrize(
    ("net", "channels", "exporter", "opset"),
    [
        (lambda: registry.build("wdsr-1x4"), 3, "torchscript", 9),  # pixel shuffle as Reshape, Transpose, Reshape
        (lambda: registry.build("fsrcnn"), 1, "dynamo", None),
        (lambda: registry.build("carn-m"), 3, "torchscript", None),
        (enlarge, 3, "torchscript", 17),
        (enlarge, 3, "dynamo", 21),
    ],
)
def test_one_import_for_every_size(net: Callable, channels: int, exporter: str, opset: int | None, tmp_path) -> None:
    module, path = net(), tmp_path / "net.onnx"
    export_onnx(module, path, (1, channels, 12, 10), True, exporter, opset)
    run = runner(path)
    for height, width in SIZES:
        x = np.random.default_rng(2).random((1, channels, height, width), np.float32)
        with torch.inference_mode():
            reference = module(torch.from_numpy(x)).numpy()
        assert compare(f"{height}x{width}", reference, run(x)).ok


def test_a_batch_of_any_size_too(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    net = registry.build("wdsr-1x4")
    export_onnx(net, path, (1, 3, 12, 10), True, "torchscript")
    proto = onnx.load(path)
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "n"
    onnx.save(proto, path)
    x = np.random.default_rng(2).random((3, 3, 5, 6), np.float32)
    with torch.inference_mode():
        assert compare("batch", net(torch.from_numpy(x)).numpy(), runner(path)(x)).ok
    assert resolve_open(load_onnx(path), parse_open_shape("1x3xHxW")) == {"x": (1, 3, "H", "W")}


class Lambda(nn.Module):
    def __init__(self, function: Callable) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect"), "operator Pad .* needs a picture larger than its padding"),
        (lambda x: x[:, :, 1:], "makes an empty tensor"),
        (lambda x: F.relu(x).flatten(2), "depends on the size|whole multiple"),
        (lambda x: F.interpolate(x, scale_factor=1.5, mode="nearest"), "depends on the size"),
        (lambda x: F.pad(x, (1, 1, 1, 1)), "no whole multiple of the input"),
        (lambda x: F.avg_pool2d(x, 2, ceil_mode=True), "no whole multiple of the input|empty"),
        (lambda x: x + torch.arange(x.shape[3]), "depends on the size"),
    ],
)
def test_what_is_not_for_any_size_says_why_and_what_to_type(function: Callable, message: str, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    export_onnx(Lambda(function), path, (1, 3, 12, 10), True, "torchscript", 17)
    model = load_onnx(path)
    with pytest.raises(
        SrTvmError, match=f"({message}).*the model is not for any size: fix it.*--input-shape 1x3x360x640"
    ):
        normalize_any_size(model, resolve_open(model))


def test_channels_must_be_fixed() -> None:
    info = onnx.helper.make_tensor_value_info
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    x, y = info("x", 1, ["n", "c", "h", "w"]), info("y", 1, None)
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "g", [x], [y]))
    with pytest.raises(SrTvmError, match=r"dimension 'c' \(axis 1\) must be fixed; .* --input-shape 1x3x360x640"):
        normalize_any_size(model, resolve_open(model))
