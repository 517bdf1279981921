"""What latency adds to the loss: nothing under the target, and the target comes down from the supernet's latency."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from sr_tvm.architecture import Architecture
from sr_tvm.search.supernet import Widths
from sr_tvm.speed.differentiable import Latency

DEAD = 1e-3


def latency_of(predict: Latency, widths: Widths) -> Tensor:
    """A speed model's latency of a supernet's widths, a scalar in the model's unit. On the CPU, in float64: a
    hundred numbers are no work for a GPU."""
    return predict(*(w.cpu().double() for w in (widths.channels, widths.expand, widths.linear, widths.keep)))


def latency_of_architecture(predict: Latency, architecture: Architecture) -> float:
    """The same for an `Architecture`."""
    a = architecture
    columns = ([b.expand for b in a.blocks], [b.linear for b in a.blocks], [1] * len(a.blocks))
    with torch.no_grad():
        told = predict(torch.tensor(a.channels).double(), *(torch.tensor(c).double() for c in columns))
    return float(told)


@dataclass(frozen=True)
class Schedule:
    """The target of each step: from ``start`` straight down to ``goal`` within ``steps`` steps, then there.

    ``floor`` holds it up for the first ``held`` steps, in which only widths can give way: depth must have its share.
    """

    start: float
    goal: float
    steps: int
    floor: float = 0.0
    held: int = 0

    def target(self, step: int) -> float:
        """Of step 0, 1, ..."""
        done = min(1.0, (step + 1) / self.steps) if self.steps else 1.0
        target = self.start + (self.goal - self.start) * done
        return max(target, self.floor) if step < self.held else target


def penalty(latency: Tensor, target: float, gamma: float, unit: float) -> Tensor:
    """gamma * max(0, latency - target) / unit.

    The paper's gamma * max(0, v - v_T), with latencies as parts of ``unit``, the budget, so that one gamma does for
    milliseconds and for packets, and for large budgets and small ones.
    """
    return gamma * torch.clamp(latency - target, min=0) / unit


def balance(noise: Iterable[Tensor], prices: Iterable[Tensor | None]) -> float:
    """The gamma at which the penalty pulls at the median indicator as hard as the task pushes and pulls at it.

    A fixed gamma would have to be found anew for each supernet, batch and stage of training: the task's gradient to
    one indicator goes from 1e-3 in a fresh network to 1e-6 in a trained one. With much more than the balance all
    indicators of a layer fall at once, whatever they are worth; with much less none falls in time.

    Args:
        noise: the root mean square of the task's gradient to each indicator.
        prices: the derivative of the latency, in the penalty's unit, to the same ones; None for those that are fixed.
    """
    flat = [(n.flatten(), p.flatten()) for n, p in zip(noise, prices, strict=True) if p is not None]
    rms, price = (torch.cat(column) for column in zip(*flat, strict=True))
    # Dead ones are of no interest, and whether one is 0 or 1e-12 is a matter of rounding.
    alive = (rms > DEAD * rms.mean()) & (price > 0)
    return float((rms[alive] / price[alive]).median()) if alive.any() else 1.0
