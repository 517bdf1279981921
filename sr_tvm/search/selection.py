"""What is kept of a supernet, moved unit by unit in the order of the search, outside of the gradient.

Under a lasting pull (penalty.py) Adam moves a score by price / noise^2 in each step, where price is the derivative of
the latency and noise the root mean square of the score's gradient (its square is the diagonal of the Fisher
information, by which pruning ranks too: Theis et al. 2018). So the score that would cross the threshold first goes
first: the one with the smallest distance * worth / price, where worth is noise^2. Regrown is what a lasting reward
would bring first.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sr_tvm.search.masks import THRESHOLD, Choice, Mask
from sr_tvm.search.supernet import SuperNet
from sr_tvm.speed.differentiable import Latency

TOLERANCE = 0.03
EDGE = 1e-5
TINY = 1e-12
# Added to every distance: scores at the threshold alike are told apart by their worth.
NEAR = 1e-3


@dataclass(frozen=True)
class Bounds:
    """Latencies that are allowed, in the speed model's unit, the fewest blocks and, unless None, the most."""

    low: float
    high: float
    blocks: int
    most: int | None = None

    @classmethod
    def under(cls, high: float, blocks: int, most: int | None = None) -> Bounds:
        """Make the bounds of a target: within 3 % under it, and not at the very edges, as an MLP rounds to float32.

        Args:
            high: The target, in the speed model's unit.
            blocks: The fewest blocks.
            most: The most blocks; any number if None.

        Returns:
            The bounds.
        """
        return cls(high * (1 - TOLERANCE) * (1 + EDGE), high * (1 - EDGE), blocks, most)


@dataclass(frozen=True)
class Move:
    """A move of a `Selection`: unit ``index`` of group ``group``, on or off; the smaller ``cost``, the sooner."""

    group: int
    index: int
    cost: float


class Selection:
    """Groups of units that are on or off: 0 the residual path, 1..B expanded, B+1..2B linear layers, 2B+1 blocks.

    ``scores``, ``worth`` and ``kept`` hold one tensor each; ``least`` how many units stay on. No block is regrown
    beyond ``most``.

    Args:
        net: The supernet, from which the choice begins.
        worth: The mean square of each indicator's gradient, by the indicator's name in ``net``.
        predict: The speed model, as in speed/differentiable.py.
        blocks: The fewest blocks.
        most: The most blocks; all of the supernet's if None.
    """

    def __init__(
        self, net: SuperNet, worth: dict[str, Tensor], predict: Latency, blocks: int, most: int | None = None
    ) -> None:
        self.net, self.predict, self.count = net, predict, len(net.expand)
        self.masks = net.masks
        names = ["channels", *(f"{kind}.{i}" for kind in ("expand", "linear") for i in range(self.count))]
        # A block's indicators move apart at twice the pace of a score.
        margin = THRESHOLD + net.blocks.margin().detach() / 2
        self.scores = [*(m.scores.detach().cpu().double() for m in self.masks), margin.cpu().double()]
        self.worth = [worth[n].cpu().double() + TINY**2 for n in (*(f"{n}.scores" for n in names), "blocks.through")]
        self.kept = [*(m.kept().cpu() for m in self.masks), net.blocks.kept().cpu()]
        self.least = [*(m.least for m in self.masks), blocks]
        self.most = self.count if most is None else most

    def latency(self) -> float:
        """Predict the latency of the choice as it stands.

        Returns:
            The latency in the speed model's unit.
        """
        with torch.no_grad():
            return float(self.predict(*self._widths()))

    def _widths(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        b, sums = self.count, [float(k.sum()) for k in self.kept]
        return (
            torch.tensor(sums[0], dtype=torch.float64),
            torch.tensor(sums[1 : b + 1], dtype=torch.float64),
            torch.tensor(sums[b + 1 : 2 * b + 1], dtype=torch.float64),
            self.kept[-1].double(),
        )

    def _prices(self) -> list[Tensor]:
        """Return per group the latency of one more unit, a scalar tensor; for the blocks (B,), one each."""
        widths = [w.requires_grad_() for w in self._widths()]
        channels, expand, linear, keep = torch.autograd.grad(self.predict(*widths), widths)
        return [channels, *expand.unbind(), *linear.unbind(), keep]

    def toggle(self, move: Move) -> None:
        """Turn a unit on if it is off, and off if it is on.

        Args:
            move: Which unit of which group.
        """
        self.kept[move.group][move.index] ^= True

    def moves(self, grow: bool) -> list[Move]:
        """List what can be dropped, or regrown, the best first: of each layer one channel, and every block.

        Args:
            grow: Whether to turn units on; else to turn them off.

        Returns:
            The moves by rising cost.
        """
        found, blocks, b = [], self.kept[-1], self.count
        for group, price in enumerate(self._prices()):
            on, is_blocks = self.kept[group], group == 2 * b + 1
            if not grow and int(on.sum()) <= self.least[group]:
                continue
            if grow and is_blocks and int(on.sum()) >= self.most:
                continue
            if not is_blocks and group and not blocks[(group - 1) % b]:
                continue  # a layer of a block that is gone
            # How far the score is on its side of the threshold, in steps of a lasting push.
            distance = (self.scores[group] - THRESHOLD) * (-1 if grow else 1)
            pace = price.clamp(min=TINY) / self.worth[group]
            # What was dropped early lies at 0 alike: there, too, worth decides.
            near = distance.clamp(min=0) + NEAR
            costs = near * pace if grow else near / pace
            costs = torch.where(on if grow else ~on, torch.inf, costs)
            chosen = range(len(on)) if is_blocks else [int(costs.argmin())]
            found += [Move(group, i, float(costs[i])) for i in chosen if torch.isfinite(costs[i])]
        return sorted(found, key=lambda m: m.cost)

    def grow(self, low: float, high: float) -> float:
        """Turn on the strongest unit that does not lead over ``high``, until the latency is no longer below ``low``.

        Args:
            low: Where it is enough, in the speed model's unit.
            high: The largest latency that is allowed, in the same unit.

        Returns:
            The latency after it, in the same unit; below ``low`` where nothing more fits.
        """
        latency = self.latency()
        while latency < low:
            for move in self.moves(grow=True):
                self.toggle(move)
                after = self.latency()
                if latency <= after <= high:  # what costs nothing may come too
                    latency = after
                    break
                self.toggle(move)
            else:
                break
        return latency

    def fix(self) -> None:
        """Make the choice in the supernet for good."""
        device = self.net.channels.scores.device
        parts: tuple[Mask | Choice, ...] = (*self.masks, self.net.blocks)
        for part, kept in zip(parts, self.kept, strict=True):
            part.settle(kept.to(device))

    def lead(self) -> None:
        """Make the choice in the supernet for now: scores that say otherwise go just beyond the threshold."""
        device = self.net.channels.scores.device
        parts: tuple[Mask | Choice, ...] = (*self.masks, self.net.blocks)
        for part, kept in zip(parts, self.kept, strict=True):
            part.agree(kept.to(device))
