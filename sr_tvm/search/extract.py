"""From a supernet with masks to the dense network that it computes."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from sr_tvm.nets.wdsr import WDSR, WideBlock
from sr_tvm.search.supernet import SuperNet
from sr_tvm.training.slicing import adopt


@torch.no_grad()
def extract(supernet: SuperNet, normed: bool = False) -> WDSR:
    """The dense network of what ``supernet`` keeps: the same function, without the masked channels and blocks.

    Args:
        normed: with weight norm, to train on; else plain and in eval mode.
    """
    net = supernet.net
    dense = WDSR(supernet.architecture(), normed=False).to(net.mean.device)
    path, every = supernet.channels.kept(), slice(None)
    _copy(net.head, dense.head, path, every)
    chosen = supernet.blocks.kept().nonzero().flatten().tolist()
    for i, small in zip(chosen, dense.blocks, strict=True):
        big, block = cast(WideBlock, net.blocks[i]), cast(WideBlock, small)
        expand, linear = supernet.mask("expand", i).kept(), supernet.mask("linear", i).kept()
        _copy(big.expand, block.expand, expand, path)
        _copy(big.linear, block.linear, linear, expand)
        _copy(big.project, block.project, path, linear)
    _copy(net.tail, dense.tail, every, path)
    _copy(net.skip, dense.skip, every, every)
    if not normed:
        return dense.eval()
    model = WDSR(dense.architecture).to(net.mean.device)
    adopt(model, dense)
    return model


def _copy(big: nn.Conv2d, small: nn.Conv2d, out: Tensor | slice, into: Tensor | slice) -> None:
    """Copy the filters ``out`` and their inputs ``into`` of ``big``."""
    assert big.bias is not None and small.bias is not None
    small.weight.copy_(big.weight[out][:, into])
    small.bias.copy_(big.bias[out])
