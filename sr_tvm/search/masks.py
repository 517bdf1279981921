"""Indicators: what a supernet keeps of its channels and blocks, learned apart from the weights.

After the width and depth search of "Compiler-Aware Neural Architecture Search for On-Mobile Real-time Super-Resolution"
(Wu et al. 2022): an indicator per channel, binary at a threshold in the forward pass, and a straight-through estimator
(Bengio et al. 2013) for the gradient; two paths that are aggregated for each block, itself and the way around it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from typing_extensions import override

THRESHOLD = 0.5
NUDGE = 0.01


def straight_through(hard: Tensor, soft: Tensor) -> Tensor:
    """Take values from one tensor and their gradient from another (Bengio et al. 2013).

    Args:
        hard: The values, of any shape.
        soft: Of the same shape; the gradient of the result goes here.

    Returns:
        Exactly ``hard``, as a tensor whose gradient to ``soft`` is 1.
    """
    # soft - soft is 0 for finite numbers, so that nothing is rounded.
    return hard + (soft - soft.detach())


class Mask(nn.Module):
    """One indicator for each of ``count`` channels; the ``least`` largest are kept whatever they are.

    ``scores`` (count,) begin at 1; a channel is kept where its score exceeds 0.5. Of equal scores the first is larger.

    Raises:
        ValueError: ``least`` is not in 1..count.
    """

    def __init__(self, count: int, least: int) -> None:
        super().__init__()
        if not 1 <= least <= count:
            raise ValueError(f"least is {least}; 1 to {count} is allowed")
        self.least = least
        self.scores = nn.Parameter(torch.ones(count))

    def kept(self) -> Tensor:
        """Decide which channels stay: those with a score over the threshold, and the ``least`` largest anyway.

        Returns:
            (count,) bool.
        """
        scores = self.scores.detach()
        kept = scores > THRESHOLD
        strongest = torch.argsort(scores, descending=True, stable=True)[: self.least]
        return kept.index_fill(0, strongest, True)

    @override
    def forward(self) -> Tensor:
        return straight_through(self.kept().to(self.scores.dtype), self.scores)

    @torch.no_grad()
    def settle(self, kept: Tensor) -> None:
        """Fix the choice for good: scores become 1 for what is kept and 0 for the others.

        Args:
            kept: (count,) bool.
        """
        self.scores.copy_(kept)

    @torch.no_grad()
    def agree(self, kept: Tensor) -> None:
        """Make ``kept`` the choice: scores that say otherwise go just over, or under, the threshold.

        What is kept only for being among the least has a score under the threshold and may keep it, but not beside
        others that are over it: there would be room for these alone.

        Args:
            kept: (count,) bool.
        """
        more = int(kept.sum()) > self.least
        raised = kept & (self.scores <= THRESHOLD) & (more | ~self.kept())
        self.scores.copy_(torch.where(raised, THRESHOLD + NUDGE, self.scores))
        self.scores.copy_(torch.where(~kept & (self.scores > THRESHOLD), THRESHOLD - NUDGE, self.scores))

    @torch.no_grad()
    def confine(self) -> None:
        """Keep scores within 0..1, so that what was certain for long can still change its mind."""
        self.scores.clamp_(0, 1)


class Choice(nn.Module):
    """Two-path aggregation for each of ``count`` blocks: the way around it, or the block.

    ``around`` and ``through`` (count,) are the paths' indicators; the larger is taken, the block where they are equal.
    They begin at 0 and 1: moving both, an optimizer
    takes as long to a change of mind as with a mask's scores. The output of a block with input x
    and residual branch f is around * x + through * (x + f(x)); with exactly one of the two taken, x + through * f(x).
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        self.around = nn.Parameter(torch.zeros(count))
        self.through = nn.Parameter(torch.ones(count))

    def margin(self) -> Tensor:
        """Compute how much each block's indicator exceeds that of the way around it.

        Returns:
            (count,) in -1..1.
        """
        return self.through - self.around

    def kept(self) -> Tensor:
        """Decide which blocks stay: those whose margin is not below 0.

        Returns:
            (count,) bool.
        """
        return self.margin().detach() >= 0

    @override
    def forward(self) -> Tensor:
        margin = self.margin()
        return straight_through(self.kept().to(margin.dtype), margin)

    @torch.no_grad()
    def settle(self, kept: Tensor) -> None:
        """Fix the choice for good: of each block one path's indicator becomes 1 and the other's 0.

        Args:
            kept: (count,) bool, of the blocks.
        """
        self.through.copy_(kept)
        self.around.copy_(~kept)

    @torch.no_grad()
    def agree(self, kept: Tensor) -> None:
        """Make ``kept`` the choice: margins that say otherwise go just over, or under, 0.

        Args:
            kept: (count,) bool, of the blocks.
        """
        before = self.kept()
        for scores, sign in ((self.around, -1), (self.through, 1)):
            scores.copy_(torch.where(kept & ~before, THRESHOLD + sign * NUDGE, scores))
            scores.copy_(torch.where(before & ~kept, THRESHOLD - sign * NUDGE, scores))

    @torch.no_grad()
    def confine(self) -> None:
        """Keep both indicators within 0..1."""
        for scores in (self.around, self.through):
            scores.clamp_(0, 1)
