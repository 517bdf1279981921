"""WDSR-B: wide activation for efficient super-resolution (Yu et al. 2018), as the paper searches it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from sr_tvm.records.architecture import BLOCK_KERNEL, COLOURS, HEAD_KERNEL, SKIP_KERNEL, Architecture, Block

# Mean of DIV2K in RGB, 0..1: what published WDSR models subtract.
MEAN = (0.4488, 0.4371, 0.4040)


def _conv(cin: int, cout: int, kernel: int, normed: bool) -> nn.Conv2d:
    conv = nn.Conv2d(cin, cout, kernel, padding=kernel // 2)
    return weight_norm(conv) if normed else conv


class WideBlock(nn.Module):
    """1x1 expand, ReLU, 1x1 linear, 3x3, plus the input. Shape (N, C, H, W) to the same."""

    def __init__(self, channels: int, block: Block, normed: bool) -> None:
        super().__init__()
        self.expand = _conv(channels, block.expand, 1, normed)
        self.linear = _conv(block.expand, block.linear, 1, normed)
        self.project = _conv(block.linear, channels, BLOCK_KERNEL, normed)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the block.

        Args:
            x: (N, C, H, W), float32.

        Returns:
            A tensor of the same shape.
        """
        return x + self.project(self.linear(torch.relu(self.expand(x))))


class WDSR(nn.Module):
    """RGB in 0..1, shape (N, 3, H, W), to (N, 3, scale H, scale W).

    ``normed`` keeps weight norm as a parametrization, for training; folded networks are plain convolutions.
    """

    mean: Tensor

    def __init__(self, architecture: Architecture, normed: bool = True) -> None:
        super().__init__()
        self.architecture = a = architecture
        out = COLOURS * a.scale**2
        self.register_buffer("mean", torch.tensor(MEAN).view(1, COLOURS, 1, 1), persistent=False)
        self.head = _conv(COLOURS, a.channels, HEAD_KERNEL, normed)
        self.blocks = nn.ModuleList(WideBlock(a.channels, b, normed) for b in a.blocks)
        self.tail = _conv(a.channels, out, HEAD_KERNEL, normed)
        self.skip = _conv(COLOURS, out, SKIP_KERNEL, normed)
        self.shuffle = nn.PixelShuffle(a.scale)

    def forward(self, x: Tensor) -> Tensor:
        """Enlarge pictures.

        Args:
            x: RGB in 0..1, (N, 3, H, W), float32.

        Returns:
            RGB, (N, 3, scale H, scale W), not clipped to 0..1.
        """
        x = x - self.mean
        deep = self.head(x)
        for block in self.blocks:
            deep = block(deep)
        return self.shuffle(self.tail(deep) + self.skip(x)) + self.mean
