"""Over-parameterised 3x3 filters: trained as a sum of linear branches, whose kernel is computed anew in each step.

A step so costs hardly more than that of the plain network, and what is trained folds into plain convolutions
(weights.py). All branches begin as nothing, so that a network starts as what it would be without them. The kinds:

- ``sum``: a 1x1, a 1x3 and a 3x1 beside the 3x3 (Ding et al. 2019, ACNet; Ding et al. 2021, RepVGG)
- ``edges``: 1x1s that read the pixel, its two Sobel gradients and its Laplacian (Zhang et al. 2021, ECBSR)
- ``product``: a 3x3 to `WIDER` times the channels, then a 1x1 back (Bhardwaj et al. 2022, SESR)
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

from sr_tvm.nets.wdsr import WDSR, WideBlock

NONE = "none"
WIDER = 4
SIDE = 3
# Each scaled to a sum of squares of 1, as a single pixel has.
EDGES = {
    "pixel": ((0, 0, 0), (0, 1, 0), (0, 0, 0)),
    "across": ((-1, 0, 1), (-2, 0, 2), (-1, 0, 1)),
    "down": ((-1, -2, -1), (0, 0, 0), (1, 2, 1)),
    "laplacian": ((0, 1, 0), (1, -4, 1), (0, 1, 0)),
}


class SumBranch(nn.Module):
    """A parametrization that adds a 1x1, a 1x3 and a 3x1 to a kernel (out, in, 3, 3)."""

    def __init__(self, out: int, read: int) -> None:
        super().__init__()
        self.pixel = nn.Parameter(torch.zeros(out, read, 1, 1))
        self.row = nn.Parameter(torch.zeros(out, read, 1, SIDE))
        self.column = nn.Parameter(torch.zeros(out, read, SIDE, 1))

    def forward(self, kernel: Tensor) -> Tensor:
        """Add the branches to a kernel.

        Args:
            kernel: (out, in, 3, 3), float32.

        Returns:
            The sum, of the same shape.
        """
        row, column = functional.pad(self.row, (0, 0, 1, 1)), functional.pad(self.column, (1, 1))
        return kernel + functional.pad(self.pixel, (1, 1, 1, 1)) + row + column


class Edges(nn.Module):
    """A parametrization that adds 1x1s behind fixed filters to a kernel (out, in, 3, 3)."""

    filters: Tensor

    def __init__(self, out: int, read: int) -> None:
        super().__init__()
        fixed = torch.tensor(list(EDGES.values()), dtype=torch.float32)
        self.register_buffer("filters", fixed / fixed.square().sum((1, 2), keepdim=True).sqrt(), persistent=False)
        self.mixes = nn.ParameterList(torch.zeros(out, read, 1, 1) for _ in EDGES)

    def forward(self, kernel: Tensor) -> Tensor:
        """Add the branches to a kernel.

        Args:
            kernel: (out, in, 3, 3), float32.

        Returns:
            The sum, of the same shape.
        """
        for mix, fixed in zip(self.mixes, self.filters, strict=True):
            kernel = kernel + mix * fixed
        return kernel


class ProductBranch(nn.Module):
    """A parametrization that adds the product of a wide 3x3 and a 1x1 to a kernel (out, in, 3, 3)."""

    def __init__(self, out: int, read: int) -> None:
        super().__init__()
        wide = WIDER * out
        self.wide = nn.Parameter(torch.randn(wide, read, SIDE, SIDE) / (read * SIDE**2) ** 0.5)
        self.back = nn.Parameter(torch.zeros(out, wide, 1, 1))

    def forward(self, kernel: Tensor) -> Tensor:
        """Add the branch to a kernel, in float32 also under autocast.

        Args:
            kernel: (out, in, 3, 3), float32.

        Returns:
            The sum, of the same shape.
        """
        with torch.autocast(kernel.device.type, enabled=False):  # a kernel is rounded once, not twice
            return kernel + (self.back.flatten(1) @ self.wide.flatten(1)).view_as(kernel)


_MODULES = {"sum": SumBranch, "edges": Edges, "product": ProductBranch}


def branch(model: WDSR, kind: str) -> None:
    """Have the 3x3 filters of a network's blocks be trained with branches.

    Args:
        model: Its ``project`` convolutions get the parametrization, in place.
        kind: ``sum``, ``edges`` or ``product``; ``none`` changes nothing.
    """
    if kind == NONE:
        return
    for block in model.blocks:
        assert isinstance(block, WideBlock)
        made = _MODULES[kind](block.project.out_channels, block.project.in_channels)
        parametrize.register_parametrization(block.project, "weight", made)
