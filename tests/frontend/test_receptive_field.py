"""The halo computed from the graph against what one changed input pixel changes."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx_cases import Case, model_of
from torch import nn

from sr_tvm.errors import SrTvmError
from sr_tvm.frontend.export import export_onnx
from sr_tvm.frontend.onnx_file import load_onnx
from sr_tvm.frontend.receptive_field import receptive_field
from sr_tvm.nets import registry
from sr_tvm.nets.wdsr import WDSR
from sr_tvm.records.architecture import Architecture

SIZE = 40


def measured_halo(path: Path, channels: int, scale: int) -> int:
    """Change the middle pixel; how far away, in input pixels, does any output pixel change?"""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    x = np.random.default_rng(0).random((1, channels, SIZE, SIZE)).astype(np.float64).astype(np.float32)
    y = x.copy()
    y[:, :, SIZE // 2, SIZE // 2] += 1e3
    a, b = (session.run(None, {name: v})[0] for v in (x, y))
    changed = np.argwhere((a != b).any(axis=(0, 1))) // scale - SIZE // 2
    return int(np.abs(changed).max())


class Plain(nn.Module):
    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


NETS = {
    "wdsr x2": (lambda: WDSR(Architecture.uniform(2, 2, 8)), 3, 2),
    "wdsr x3, no block": (lambda: WDSR(Architecture.uniform(3, 0, 4)), 3, 3),
    "fsrcnn x2": (lambda: registry.build("fsrcnn", 2), 1, 2),
    "fsrcnn x3": (lambda: registry.build("fsrcnn", 3), 1, 3),
    "dilated": (lambda: Plain(nn.Conv2d(1, 2, 3, padding=3, dilation=3)), 1, 1),
    "batch norm": (lambda: Plain(nn.BatchNorm2d(3), nn.Conv2d(3, 2, 3, padding=1)), 3, 1),
    "even kernel": (lambda: Plain(nn.ZeroPad2d((0, 3, 1, 2)), nn.Conv2d(1, 2, 4)), 1, 1),
    "reflection": (lambda: Plain(nn.ReflectionPad2d(2), nn.Conv2d(1, 2, 5), nn.PixelShuffle(1)), 1, 1),
    "nearest": (lambda: Plain(nn.Upsample(scale_factor=2), nn.Conv2d(1, 2, 5, padding=2)), 1, 2),
    "bilinear": (lambda: Plain(nn.Conv2d(1, 2, 1), nn.Upsample(scale_factor=4, mode="bilinear")), 1, 4),
    "bicubic": (lambda: Plain(nn.Upsample(scale_factor=3, mode="bicubic"), nn.Conv2d(1, 1, 3, padding=1)), 1, 3),
    "deconv": (lambda: Plain(nn.ConvTranspose2d(1, 2, 6, 2, 2), nn.Conv2d(2, 1, 3, padding=1)), 1, 2),
    "up and down": (lambda: Plain(nn.ConvTranspose2d(1, 2, 4, 2, 1), nn.Conv2d(2, 1, 3, 2, 1)), 1, 1),
}


@pytest.mark.parametrize("name", NETS)
def test_halo_is_exactly_what_a_changed_pixel_reaches(name: str, tmp_path: Path) -> None:
    make, channels, scale = NETS[name]
    torch.manual_seed(3)
    path = tmp_path / "net.onnx"
    net = make()
    for parameter in net.parameters():  # positive weights: a ReLU then hides no change
        parameter.data = parameter.data.abs() + 0.01
    torch.onnx.export(
        net.eval(), (torch.rand(1, channels, SIZE, SIZE),), str(path), dynamo=False, input_names=["x"],
        dynamic_axes={"x": {2: "height", 3: "width"}}, opset_version=17,
    )  # fmt: skip
    field = receptive_field(load_onnx(path))
    assert field.scale == scale
    assert field.halo == measured_halo(path, channels, scale)


def test_carn_m_from_the_new_exporter(tmp_path: Path) -> None:
    export_onnx(registry.build("carn-m"), tmp_path / "net.onnx", (1, 3, 12, 10), dynamic=True)
    field = receptive_field(load_onnx(tmp_path / "net.onnx"))
    # 1 entry + 3 cascades x 3 residuals x 2 + 1 upsampler, and the last 3x3 at twice the size reaches 1
    assert (field.halo, field.scale) == (1 + 18 + 1 + 1, 2)


def test_static_model_with_pixel_shuffle_in_parts(tmp_path: Path) -> None:
    weight = np.ones((4, 1, 3, 3), np.float32)
    six, four = np.array([1, 1, 2, 2, 8, 8]), np.array([1, 1, 16, 16])
    one = Case("shuffle", 13, [
        ("Conv", ["x", "w"], ["a"], {"pads": [1, 1, 1, 1]}), ("Reshape", ["a", "six"], ["b"], {}),
        ("Transpose", ["b"], ["c"], {"perm": [0, 1, 4, 2, 5, 3]}), ("Reshape", ["c", "four"], ["y"], {}),
    ], {"w": weight, "six": six, "four": four}, (1, 1, 8, 8))  # fmt: skip
    onnx.save(model_of([one]), tmp_path / "m.onnx")
    field = receptive_field(load_onnx(tmp_path / "m.onnx"))
    assert (field.halo, field.scale) == (1, 2)


@pytest.mark.parametrize(
    ("layers", "word"),
    [
        ([nn.AdaptiveAvgPool2d(1)], "GlobalAveragePool"),
        ([nn.Conv2d(1, 1, 3, 2, 1), nn.Upsample(scale_factor=2)], "Conv"),
        ([nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)], "Resize"),
        ([nn.Conv2d(1, 1, 3)], "whole"),
        ([nn.Softmax(3)], "Softmax"),
        ([nn.Upsample(scale_factor=1.5)], "Gather"),
    ],
)
def test_networks_that_cannot_be_tiled_are_refused(layers: list[nn.Module], word: str, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    torch.onnx.export(
        Plain(*layers).eval(), (torch.rand(1, 1, 12, 12),), str(path), dynamo=False, input_names=["x"],
        dynamic_axes={"x": {2: "h", 3: "w"}}, opset_version=17,
    )  # fmt: skip
    with pytest.raises(SrTvmError, match=word):
        receptive_field(load_onnx(path))
