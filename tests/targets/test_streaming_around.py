"""A network with operators that don't stream, through the whole pipeline: streaming kernels around them, any size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from target_runs import run_artifact
from torch import nn

from sr_tvm.build.compiler import compile_model
from sr_tvm.build.options import CompileOptions
from sr_tvm.frontend.export import export_onnx


class Mixed(nn.Module):
    """A pool, a sigmoid gate and a strided convolution between blocks that stream.

    A stride of 2 is only for known sizes: an output of half an odd size is no multiple of the input.
    """

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, 5, 3, padding=1)
        self.body = nn.Sequential(nn.Conv2d(5, 20, 1), nn.PReLU(20), nn.Conv2d(20, 5, 3, padding=1))
        self.gate = nn.Conv2d(5, 5, 1)
        self.down = nn.Conv2d(5, 13, 3, stride=stride, padding=1)
        self.tail = nn.Sequential(nn.Conv2d(13, 13, 3, padding=1), nn.ReLU(), nn.Conv2d(13, 48, 3, padding=1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.head(x)
        x = x + self.body(x)
        x = x * torch.sigmoid(self.gate(nn.functional.max_pool2d(x, 3, 1, 1)))
        return nn.functional.pixel_shuffle(self.tail(self.down(x)), 4)


@pytest.mark.parametrize("any_size", [False, True], ids=["one size", "any size"])
def test_it_is_fused_around_what_cannot_stream(tmp_path: Path, any_size: bool) -> None:
    torch.manual_seed(3)
    net = Mixed(stride=1 if any_size else 2).eval()
    export_onnx(net, tmp_path / "net.onnx", (1, 3, 20, 38), dynamic=any_size)
    options = CompileOptions(use_shipped_log=False)
    artifact = compile_model(tmp_path / "net.onnx", "cpu", tmp_path / "out", options=options)
    names = [kernel["kernel"] for kernel in artifact.kernels]
    assert sum(name.startswith("stream") for name in names) >= 3 - any_size
    assert any("max_pool2d" in name for name in names) and any("sigmoid" in name for name in names)
    assert any("conv2d" in name for name in names) != any_size
    for height, width in [(20, 38), (1, 2), (37, 70)] if any_size else [(20, 38)]:
        x = np.random.default_rng(0).random((1, 3, height, width), np.float32)
        want = net(torch.from_numpy(x)).detach().numpy()
        got = run_artifact(artifact, x)
        assert got.shape == want.shape
        assert np.abs(got - want).max() <= 1e-5 * max(1.0, float(np.abs(want).max()))
