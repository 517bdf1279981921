"""Whether a budget can be met at all, found out before the first step."""

from __future__ import annotations

import torch

from sr_tvm.errors import SrTvmError
from sr_tvm.nets.wdsr import WDSR
from sr_tvm.search.penalty import latency_of_architecture
from sr_tvm.search.selection import TOLERANCE
from sr_tvm.search.settings import SearchSettings
from sr_tvm.search.settle import settle
from sr_tvm.search.supernet import SuperNet
from sr_tvm.speed.differentiable import Latency


def reachable(predict: Latency, settings: SearchSettings) -> tuple[float, float]:
    """Check that a budget can be met, and predict how fast and how slow a network of the supernet can be.

    Args:
        predict: The speed model, as in speed/differentiable.py.
        settings: Of the search; its budget is in the speed model's unit.

    Returns:
        The latencies of the smallest network of the supernet and of the whole, in that unit.

    Raises:
        SrTvmError: The budget is not between them, or nothing is found within 3 % under it.
    """
    small, large = settings.smallest.within(settings.supernet), settings.supernet
    least, most = (latency_of_architecture(predict, a) for a in (small, large))
    what = f"of this supernet ({len(large.blocks)} blocks of {large.channels} channels)"
    other = "; choose another latency, or another supernet"
    if not least <= settings.budget or most < settings.budget * (1 - TOLERANCE):
        raise SrTvmError(
            f"a latency of {settings.budget:g} cannot be reached: the smallest network {what} takes {least:.4g}, "
            f"the largest {most:.4g}{other}"
        )
    # A rehearsal of the end, with all indicators alike: where a block more is too much and one less too little,
    # widths may not fill the gap.
    net = SuperNet(WDSR(large), settings.smallest)
    worth = {n: torch.ones_like(p) for n, p in net.named_parameters() if not n.startswith("net.")}
    found = settle(net, worth, predict, settings.bounds)
    if not settings.bounds.low <= found <= settings.budget:
        raise SrTvmError(
            f"a latency of {settings.budget:g} cannot be reached: the nearest network {what} takes {found:.4g}; with "
            f"one block more it would be above, whatever its widths{other}"
        )
    return least, most
