"""How many blocks: networks of every depth that fit the budget learn side by side, and those that learn worst drop out.

The gradient tells what is lost the moment that a block goes. Training gets most of that back, and the more of it the
wider the blocks that stay; so by gradients alone a tight budget ends with many blocks of no width (docs/search.md).
Depth is therefore tried: successive halving (Jamieson and Talwalkar 2016), each depth with the widths that the search
prefers so far.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from sr_tvm.nets.wdsr import WDSR
from sr_tvm.search.ddp import ProcessGroup
from sr_tvm.search.extract import extract
from sr_tvm.search.selection import Bounds, Selection
from sr_tvm.search.settle import drop, drop_blocks
from sr_tvm.search.supernet import SuperNet
from sr_tvm.speed.differentiable import Latency
from sr_tvm.training.optimizers import Optimizers
from sr_tvm.training.step import mixed

LR = 2e-3


def of_depth(net: SuperNet, worth: dict[str, Tensor], predict: Latency, bounds: Bounds, blocks: int) -> WDSR | None:
    """Build the network of so many blocks within ``bounds`` that the search would choose as it stands.

    Args:
        net: The supernet of the search; not changed.
        worth: The mean square of the task's gradient to each indicator, by the indicator's name in ``net``.
        predict: The speed model, as in speed/differentiable.py.
        bounds: Latencies that are allowed, in the speed model's unit.
        blocks: How many blocks the network has.

    Returns:
        A normed network to train on; None if no choice of widths with so many blocks fits.
    """
    net = copy.deepcopy(net)
    choice = Selection(net, worth, predict, blocks, blocks)
    if int(choice.kept[-1].sum()) < blocks:
        return None
    drop_blocks(choice)
    drop(choice, bounds, set())
    if not bounds.low <= choice.grow(bounds.low, bounds.high) <= bounds.high:
        return None
    choice.fix()
    return extract(net, normed=True)


@dataclass
class Contender:
    """One depth: the network, what moves it, and its losses in this round."""

    network: WDSR
    optimizers: Optimizers
    losses: list[float] = field(default_factory=list)
    before: float = math.inf

    @property
    def loss(self) -> float:
        """The mean over the second half of the round; at its beginning, that of the round before."""
        late = self.losses[len(self.losses) // 2 :]
        return math.fsum(late) / len(late) if late else self.before


class SuccessiveHalving:
    """Successive halving (Jamieson and Talwalkar 2016) of ``networks``, ``steps`` training steps in all.

    In each round every network that is left learns from the same batches; the better half, rounded up, goes on.

    Args:
        networks: Normed, at least one.
        steps: Training steps of all networks together.
        precision: Of the blocks' convolutions, a floating-point type's name.
        clip: The largest norm of the gradients of one network; 0 for none.
        group: Processes that share every batch; this one alone if None.
    """

    def __init__(
        self, networks: list[WDSR], steps: int, precision: str, clip: float, group: ProcessGroup | None = None
    ) -> None:
        self.group, self.clip = group or ProcessGroup(), clip
        self.left = [self._contender(n, precision) for n in networks]
        rounds = max(1, math.ceil(math.log2(len(networks))))
        self.share = steps // rounds
        self.ticks = self.done = 0  # steps of each network that is left, and of all
        self.told: dict[int, float] = {}  # of each depth, its loss in the last round that it was in

    def _contender(self, network: WDSR, precision: str) -> Contender:
        device = self.group.device
        network = network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if precision != "float32":
            mixed(network, device, getattr(torch, precision))
        return Contender(network, Optimizers(dict(network.named_parameters()), LR, device))

    @property
    def over(self) -> bool:
        """Whether one network is left."""
        return len(self.left) == 1

    @property
    def leader(self) -> Contender:
        """The network that is left with the smallest loss."""
        return min(self.left, key=lambda c: c.loss)

    def advance(self, low: Tensor, high: Tensor) -> bool:
        """Train each network that is left for one step, and at the end of a round drop the worse half.

        A loss that is no number counts as the worst.

        Args:
            low: This process's patches, RGB in 0..1, float32 (N, 3, H, W).
            high: What they should become, float32 (N, 3, scale H, scale W).

        Returns:
            Whether the step was the last of a round.
        """
        for contender in self.left:
            contender.network.zero_grad(set_to_none=True)
            loss = functional.l1_loss(contender.network(low), high)
            loss.backward()
            weights = list(contender.network.parameters())
            (value,) = self.group.mean([w.grad for w in weights if w.grad is not None], [loss.item()])
            contender.losses.append(value if math.isfinite(value) else math.inf)
            if self.clip:
                nn.utils.clip_grad_norm_(weights, self.clip)
            contender.optimizers.step()
        self.ticks += 1
        self.done += len(self.left)
        if len(self.left[0].losses) < max(1, self.share // len(self.left)):
            return False
        self.told |= {len(c.network.blocks): c.loss for c in self.left}
        self.left = sorted(self.left, key=lambda c: c.loss)[: (len(self.left) + 1) // 2]
        if not self.over:
            for contender in self.left:
                contender.before = contender.loss
                contender.losses.clear()
        return True
