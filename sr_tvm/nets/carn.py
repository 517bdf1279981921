"""CARN-M (Ahn, Kang, Sohn 2018, "Fast, Accurate, and Lightweight Super-Resolution with Cascading Residual Network")."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sr_tvm.nets.wdsr import MEAN
from sr_tvm.records.architecture import COLOURS, SCALES

# The paper's 412K counts the convolution weights, without biases, of the network that holds the x2, x3 and x4
# upsamplers at once; its 91.2G multiply-adds are those of x2 alone at an output of 1280 x 720. The tests assert both.
PUBLISHED_WEIGHTS = 412_032
PUBLISHED_GMACS_X2 = 91.2
CHANNELS, GROUPS = 64, 4


def _conv(cin: int, cout: int, kernel: int, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(cin, cout, kernel, padding=kernel // 2, groups=groups)


class EfficientResidual(nn.Module):
    """Two grouped 3x3 convolutions with ReLU, a 1x1, plus the input, ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _conv(CHANNELS, CHANNELS, 3, GROUPS),
            nn.ReLU(),
            _conv(CHANNELS, CHANNELS, 3, GROUPS),
            nn.ReLU(),
            _conv(CHANNELS, CHANNELS, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Compute the block.

        Args:
            x: (N, 64, H, W), float32.

        Returns:
            A tensor of the same shape.
        """
        return torch.relu(self.body(x) + x)


class Cascade(nn.Module):
    """Three stages; after each, a 1x1 convolution sees its output beside everything before it.

    A single stage given is used three times: the recursion that makes CARN-M small.
    """

    def __init__(self, stages: list[nn.Module]) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.joins = nn.ModuleList(_conv(CHANNELS * n, CHANNELS, 1) for n in (2, 3, 4))

    def forward(self, x: Tensor) -> Tensor:
        """Compute the three stages.

        Args:
            x: (N, 64, H, W), float32.

        Returns:
            A tensor of the same shape.
        """
        seen = out = x
        for i, join in enumerate(self.joins):
            seen = torch.cat([seen, self.stages[i % len(self.stages)](out)], dim=1)
            out = torch.relu(join(seen))
        return out


def _upsampler(scale: int) -> nn.Sequential:
    steps = (2, 2) if scale == 4 else (scale,)
    layers: list[nn.Module] = []
    for step in steps:
        layers += [_conv(CHANNELS, CHANNELS * step**2, 3, GROUPS), nn.ReLU(), nn.PixelShuffle(step)]
    return nn.Sequential(*layers)


class CARNM(nn.Module):
    """RGB in 0..1, shape (N, 3, H, W), to (N, 3, scale H, scale W).

    ``multi_scale`` keeps the upsamplers of all scales beside the one that is used, as the published network does.
    The mean shifts, 1x1 identity convolutions in the authors' code, are a buffer here.
    """

    mean: Tensor

    def __init__(self, scale: int = 2, multi_scale: bool = False) -> None:
        super().__init__()
        self.scale = scale
        self.register_buffer("mean", torch.tensor(MEAN).view(1, COLOURS, 1, 1), persistent=False)
        self.entry = _conv(COLOURS, CHANNELS, 3)
        # One residual block a cascade: it is applied three times.
        self.body = Cascade([Cascade([EfficientResidual()]) for _ in range(3)])
        self.up = nn.ModuleDict({f"x{s}": _upsampler(s) for s in (SCALES if multi_scale else (scale,))})
        self.exit = _conv(CHANNELS, COLOURS, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Enlarge pictures.

        Args:
            x: RGB in 0..1, (N, 3, H, W), float32.

        Returns:
            RGB, (N, 3, scale H, scale W), not clipped to 0..1.
        """
        deep = self.body(self.entry(x - self.mean))
        return self.exit(self.up[f"x{self.scale}"](deep)) + self.mean
