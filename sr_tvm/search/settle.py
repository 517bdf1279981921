"""What is kept, moved unit by unit: to the target in each step of a search, into the last 3 % at its end."""

from __future__ import annotations

import torch
from torch import Tensor

from sr_tvm.search.penalty import latency_of
from sr_tvm.search.selection import TOLERANCE, Bounds, Move, Selection
from sr_tvm.search.supernet import SuperNet
from sr_tvm.speed.differentiable import Latency

# The part of the budget that is used where single channels are small enough for it.
FULL = 0.995
TRIES = 400  # of regrowing something that is too large and dropping other things for it


def follow(net: SuperNet, worth: dict[str, Tensor], predict: Latency, bounds: Bounds) -> None:
    """Have what ``net`` keeps stay with the target after an optimizer's step.

    A step can carry several scores over the threshold at once, all blocks even, where one would have done: what fell
    too far is brought back, the strongest first, up to the lower bound. A block that returns is a quarter of a small
    network at once, and noise lets one return that lies at the threshold: what is more than 3 % above the target is
    dropped, the weakest first. So is a block that is one too many for ``bounds``.

    Args:
        net: The supernet, whose indicators are moved where they say otherwise.
        worth: The mean square of each indicator's gradient, by the indicator's name in ``net``.
        predict: The speed model, as in speed/differentiable.py.
        bounds: Of latency, the target being the upper one, and of depth.
    """
    high = bounds.high * (1 + TOLERANCE)
    with torch.no_grad():  # the usual case, told without looking at every unit
        near, kept = bounds.low <= float(latency_of(predict, net.widths())) <= high, int(net.blocks.kept().sum())
        if near and kept >= bounds.blocks and (bounds.most is None or kept <= bounds.most):
            return
    choice = Selection(net, worth, predict, bounds.blocks, bounds.most)
    _need_blocks(choice)
    drop_blocks(choice)
    drop(choice, Bounds(bounds.low, high, bounds.blocks), set())
    choice.grow(bounds.low, bounds.high)
    choice.lead()


def settle(net: SuperNet, worth: dict[str, Tensor], predict: Latency, bounds: Bounds) -> float:
    """Move the choice of ``net`` into ``bounds``, as near as it gets, and fix it.

    Args:
        net: The supernet, whose indicators become 0 and 1.
        worth: The mean square of each indicator's gradient, by the indicator's name in ``net``.
        predict: The speed model, as in speed/differentiable.py.
        bounds: Of latency and depth.

    Returns:
        The latency of the choice, in the speed model's unit.
    """
    choice = Selection(net, worth, predict, bounds.blocks, bounds.most)
    _need_blocks(choice)
    drop_blocks(choice)
    banned: set[tuple[int, int]] = set()
    best: tuple[float, list[Tensor]] | None = None
    for _ in range(TRIES):
        drop(choice, bounds, banned)
        latency = choice.grow(bounds.low, bounds.high)
        if latency <= bounds.high and (best is None or latency > best[0]):
            best = latency, [k.clone() for k in choice.kept]
        if latency >= bounds.low:
            break
        # Nothing fits by itself: take one that is too large, keep it, and drop other things for it.
        move = next((m for m in choice.moves(grow=True) if (m.group, m.index) not in banned), None)
        if move is None:
            break
        banned.add((move.group, move.index))
        choice.toggle(move)
    if best is not None:
        choice.kept = best[1]
        choice.grow(bounds.high * FULL, bounds.high)
    choice.fix()
    return choice.latency()


def _need_blocks(choice: Selection) -> None:
    """Take back the strongest of the blocks where too few are left."""
    while int(choice.kept[-1].sum()) < choice.least[-1]:
        scores = torch.where(choice.kept[-1], -torch.inf, choice.scores[-1])
        choice.kept[-1][int(scores.argmax())] = True


def drop_blocks(choice: Selection) -> None:
    """Drop the weakest blocks where there are more than the most.

    Args:
        choice: What is kept; changed.
    """
    while int(choice.kept[-1].sum()) > max(choice.most, choice.least[-1]):
        choice.toggle(next(m for m in choice.moves(grow=False) if m.group == len(choice.kept) - 1))


def drop(choice: Selection, bounds: Bounds, banned: set[tuple[int, int]]) -> None:
    """Drop units until the latency is not above the upper bound.

    Each time it is the weakest that does not lead below the lower bound, or else the weakest.

    Args:
        choice: What is kept; changed. It stays above the bound where nothing more can go.
        bounds: Of latency.
        banned: Group and index of units that must stay.
    """
    latency = choice.latency()
    while latency > bounds.high:
        fallback: Move | None = None
        for move in choice.moves(grow=False):
            if (move.group, move.index) in banned:
                continue
            choice.toggle(move)
            after = choice.latency()
            if bounds.low <= after < latency:
                break
            choice.toggle(move)
            if fallback is None and after <= latency:
                fallback = move
        else:
            if fallback is None:
                return
            choice.toggle(fallback)
        latency = choice.latency()
