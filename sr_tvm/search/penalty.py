"""How latency pulls at what a supernet keeps: not at all under its target, which comes down from the supernet's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sr_tvm.records.architecture import Architecture
from sr_tvm.search.supernet import Widths
from sr_tvm.speed.differentiable import Latency

DEAD = 1e-3
# What an indicator is worth is its noise to this power.
POWER = 2


def latency_of(predict: Latency, widths: Widths) -> Tensor:
    """Predict the latency of a supernet's widths, differentiably.

    On the CPU, in float64: a hundred numbers are no work for a GPU.

    Args:
        predict: The speed model, as in speed/differentiable.py.
        widths: How many channels are kept of each layer, and which blocks.

    Returns:
        A scalar in the speed model's unit.
    """
    return predict(*(w.cpu().double() for w in (widths.channels, widths.expand, widths.linear, widths.keep)))


def latency_of_architecture(predict: Latency, architecture: Architecture) -> float:
    """Predict the latency of a network as a plain number.

    Args:
        predict: The speed model, as in speed/differentiable.py.
        architecture: Of the scale and input size that ``predict`` was made for.

    Returns:
        The latency in the speed model's unit.
    """
    a = architecture
    columns = ([b.expand for b in a.blocks], [b.linear for b in a.blocks], [1] * len(a.blocks))
    with torch.no_grad():
        told = predict(torch.tensor(a.channels).double(), *(torch.tensor(c).double() for c in columns))
    return float(told)


@dataclass(frozen=True)
class Schedule:
    """The target latency of each step: from ``start`` straight down to ``goal`` within ``steps`` steps, then there.

    ``floor`` holds it up for the first ``held`` steps, in which only widths can give way: depth must have its share.
    ``start``, ``goal`` and ``floor`` are in the speed model's unit.
    """

    start: float
    goal: float
    steps: int
    floor: float = 0.0
    held: int = 0

    def target(self, step: int) -> float:
        """Compute the latency that a step aims at.

        Args:
            step: Counted from 0, of the steps in which masks are searched.

        Returns:
            The target in the speed model's unit.
        """
        done = min(1.0, (step + 1) / self.steps) if self.steps else 1.0
        target = self.start + (self.goal - self.start) * done
        return max(target, self.floor) if step < self.held else target


def pulls(noise: Sequence[Tensor], prices: Sequence[Tensor | None], power: int = POWER) -> list[Tensor | None]:
    """Compute what a latency above its target adds to the gradient of each indicator, at a gamma of 1.

    The paper's penalty, gamma * max(0, v - v_T), pulls at an indicator by its price p, the derivative of the latency.
    An indicator that the task's gradient pushes about by s (root mean square) is then moved by Adam at a pace of p / s.
    But what the loss rises by without it goes with s^2 (the diagonal of the Fisher information; Theis et al. 2018), so
    what is worth least for its price would fall first at a pace of p / s^2. Hence a pull of p / s: with p alone, what
    is dear, a residual channel or a block, falls long before as much in expanded channels that is worth less.

    Args:
        noise: The root mean square of the task's gradient to each indicator.
        prices: The derivative of the latency to the same ones, in any unit; None for those that are fixed.
        power: Of s in the pace's denominator; 1 is the paper's pull, by price alone.

    Returns:
        Pulls that are as large as ``noise`` at the median indicator; None where the price is.
    """
    unit = balance([n**power for n in noise], prices)
    # The dead ones, too, fall no faster than Adam can move them.
    least = float((DEAD * torch.cat([n.flatten() for n in noise]).square().mean()).sqrt()) or 1.0
    return [
        p if p is None else unit * p / n.clamp(min=least) ** (power - 1) for n, p in zip(noise, prices, strict=True)
    ]


def balance(sizes: Iterable[Tensor], prices: Iterable[Tensor | None]) -> float:
    """Compute the factor at which the median of ``prices`` is as large as that of ``sizes``: the median of their ratio.

    A fixed factor would have to be found anew for each supernet, batch and stage of training: the task's gradient to
    one indicator goes from 1e-3 in a fresh network to 1e-6 in a trained one. With a pull of much more than that all
    indicators of a layer fall at once, whatever they are worth; with much less none falls in time.

    Args:
        sizes: Of the task's gradient to each indicator.
        prices: The derivative of the latency to the same ones; None for those that are fixed.

    Returns:
        The factor; 1 where no indicator has both a gradient and a price.
    """
    flat = [(n.flatten(), p.flatten()) for n, p in zip(sizes, prices, strict=True) if p is not None]
    size, price = (torch.cat(column) for column in zip(*flat, strict=True))
    # Dead ones are of no interest, and whether one is 0 or 1e-12 is a matter of rounding.
    alive = (size > DEAD * size.mean()) & (price > 0)
    return float((size[alive] / price[alive]).median()) if alive.any() else 1.0
