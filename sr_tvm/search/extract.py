"""From a supernet with masks to the dense network that it computes."""

from __future__ import annotations

from typing import cast

import torch

from sr_tvm.nets.wdsr import WDSR, WideBlock
from sr_tvm.search.supernet import SuperNet
from sr_tvm.training.slicing import adopt, copy_part


@torch.no_grad()
def extract(supernet: SuperNet, normed: bool = False) -> WDSR:
    """Build the dense network of what a supernet keeps: the same function, without the masked channels and blocks.

    Args:
        supernet: The network with masks; not changed.
        normed: With weight norm, to train on; else plain and in eval mode.

    Returns:
        A network with its own copies of the weights, on the supernet's device.
    """
    net = supernet.net
    dense = WDSR(supernet.architecture(), normed=False).to(net.mean.device)
    path = supernet.channels.kept()
    copy_part(dense.head, net.head, path, None)
    chosen = supernet.blocks.kept().nonzero().flatten().tolist()
    for i, small in zip(chosen, dense.blocks, strict=True):
        big, block = cast(WideBlock, net.blocks[i]), cast(WideBlock, small)
        expand, linear = supernet.mask("expand", i).kept(), supernet.mask("linear", i).kept()
        copy_part(block.expand, big.expand, expand, path)
        copy_part(block.linear, big.linear, linear, expand)
        copy_part(block.project, big.project, path, linear)
    copy_part(dense.tail, net.tail, None, path)
    copy_part(dense.skip, net.skip, None, None)
    if not normed:
        return dense.eval()
    model = WDSR(dense.architecture).to(net.mean.device)
    adopt(model, dense)
    return model
