"""A WDSR with masks: every network that the search can find, in one set of weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from sr_tvm.nets.wdsr import WDSR, WideBlock
from sr_tvm.records.architecture import Architecture, Block
from sr_tvm.search.masks import Choice, Mask


@dataclass(frozen=True)
class Least:
    """The fewest channels that a mask keeps: of the residual path, of an expanded and of a linear layer; and blocks.

    The widths are the smallest of the block latencies that the shipped speed models were fitted to.
    """

    channels: int = 4
    expand: int = 8
    linear: int = 3
    blocks: int = 1

    def within(self, supernet: Architecture) -> Architecture:
        """Describe the smallest network of a supernet.

        Args:
            supernet: Which may itself be smaller in places.

        Returns:
            A network of ``blocks`` blocks.
        """
        blocks = (Block(min(self.expand, b.expand), min(self.linear, b.linear)) for b in supernet.blocks[: self.blocks])
        return Architecture(supernet.scale, min(self.channels, supernet.channels), tuple(blocks))


@dataclass(frozen=True)
class Widths:
    """Tensors that are differentiable to the masks: ``channels`` (), ``expand``, ``linear`` and ``keep`` (B,)."""

    channels: Tensor
    expand: Tensor
    linear: Tensor
    keep: Tensor


KINDS = ("expand", "linear")


class SuperNet(nn.Module):
    """A normed WDSR, ``net``, whose channels and blocks are masked.

    One mask is shared along the residual path: by the head's output and that of every block. Each block has one for its
    expanded and one for its linear layer. RGB in 0..1, (N, 3, H, W), to (N, 3, scale H, scale W).

    Masks multiply weights, not activations: the same function for a hundredth of the memory traffic. That of an
    expanded layer multiplies the inputs of the next, behind the ReLU, where the gradient of a masked channel is alive.
    ``precision`` is that of the blocks' convolutions; all else is float32, as in training/step.py.
    """

    def __init__(self, net: WDSR, least: Least | None = None, precision: str = "float32") -> None:
        super().__init__()
        self.precision: torch.dtype = getattr(torch, precision)
        least = least or Least()
        a = net.architecture
        self.net, self.least = net, least
        self.channels = Mask(a.channels, min(least.channels, a.channels))
        self.expand = nn.ModuleList(Mask(b.expand, min(least.expand, b.expand)) for b in a.blocks)
        self.linear = nn.ModuleList(Mask(b.linear, min(least.linear, b.linear)) for b in a.blocks)
        self.blocks = Choice(len(a.blocks))

    def mask(self, kind: str, block: int) -> Mask:
        """Find the mask of one layer of a block.

        Args:
            kind: ``expand`` or ``linear``.
            block: Counted from 0.

        Returns:
            The mask itself.
        """
        return cast(Mask, getattr(self, kind)[block])

    @property
    def masks(self) -> list[Mask]:
        """All channel masks: the residual path's, then those of the expanded, then those of the linear layers."""
        return [self.channels, *(self.mask(kind, i) for kind in KINDS for i in range(len(self.expand)))]

    def indicators(self) -> list[nn.Parameter]:
        """List the parameters that are not weights.

        Returns:
            The scores of all masks, and both paths' indicators of the blocks.
        """
        return [p for name, p in self.named_parameters() if not name.startswith("net.")]

    def widths(self) -> Widths:
        """Count the channels that are kept, and tell which blocks are, differentiably to the indicators.

        Returns:
            Counts and choices as float32 tensors.
        """
        count = range(len(self.expand))
        expand, linear = (torch.stack([self.mask(kind, i)().sum() for i in count]) for kind in KINDS)
        return Widths(self.channels().sum(), expand, linear, self.keep())

    def keep(self) -> Tensor:
        """Tell which blocks are kept, differentiably to their indicators.

        Returns:
            (B,) of 0 and 1, float32.
        """
        return self.blocks()

    def architecture(self) -> Architecture:
        """Describe what is kept as a network of its own; a block that is not kept is gone.

        Returns:
            The architecture.
        """
        kept = self.blocks.kept().nonzero().flatten().tolist()
        blocks = [Block(*(int(self.mask(kind, i).kept().sum()) for kind in KINDS)) for i in kept]
        return Architecture(self.net.architecture.scale, int(self.channels.kept().sum()), tuple(blocks))

    def confine(self) -> None:
        """Bring all indicators back into their range, after an optimizer's step."""
        for mask in self.masks:
            mask.confine()
        self.blocks.confine()

    @override
    def forward(self, x: Tensor) -> Tensor:
        net, path, keep = self.net, self.channels(), self.keep()
        x = x - net.mean
        deep = _conv(x, net.head, path)
        for i, block in enumerate(net.blocks):
            assert isinstance(block, WideBlock)
            expand, linear = (self.mask(kind, i)() for kind in KINDS)
            with torch.autocast(x.device.type, self.precision, self.precision != torch.float32, cache_enabled=False):
                wide = torch.relu(block.expand(deep))
                low = _conv(wide, block.linear, linear, expand)
                branch = _conv(low, block.project, path * keep[i])
            # around * deep + through * (deep + branch), where exactly one of the two is 1.
            deep = deep + branch
        return net.shuffle(net.tail(deep) + net.skip(x)) + net.mean


def _conv(x: Tensor, conv: nn.Conv2d, out: Tensor, into: Tensor | None = None) -> Tensor:
    """Return a convolution whose output channels, and input channels unless ``into`` is None, are masked."""
    assert conv.bias is not None
    weight = conv.weight * out.view(-1, 1, 1, 1)
    if into is not None:
        weight = weight * into.view(1, -1, 1, 1)
    return functional.conv2d(x, weight, conv.bias * out, padding=cast(tuple[int, int], conv.padding))
