"""How much the task's gradient pushes each indicator about, and what the indicator is worth for that."""

from __future__ import annotations

import torch
from torch import Tensor

from sr_tvm.search.supernet import KINDS, SuperNet

# Of the running mean of squared gradients.
MEMORY = 0.99


class Noise:
    """The noise of all ``indicators`` of ``net``, by name; also of those that a phase does not move.

    ``squares`` is the running mean of their squared gradients, of ``seen`` steps. What an indicator is worth is its
    noise to the ``power``; see penalty.py.
    """

    def __init__(self, net: SuperNet, power: int) -> None:
        self.net, self.power, self.seen = net, power, 0
        self.indicators = {n: p for n, p in net.named_parameters() if not n.startswith("net.")}
        self.squares = {n: torch.zeros_like(p) for n, p in self.indicators.items()}

    def look(self) -> None:
        """Take note of the gradients of a step.

        Layers of a block that is passed by have none, and are worth what they were when it went.
        """
        off = (~self.net.blocks.kept()).nonzero().flatten().tolist()
        asleep = {f"{kind}.{i}.scores" for kind in KINDS for i in off}
        for name, parameter in self.indicators.items():
            if parameter.grad is not None and name not in asleep:
                self.squares[name].lerp_(parameter.grad.square(), 1 - MEMORY)
        self.seen += 1

    def sizes(self) -> dict[str, Tensor]:
        """Compute the root mean square of the task's gradient to each indicator.

        A few gradients tell little of one indicator: as long as they are few, it counts as much as its layer's mean.

        Returns:
            By the indicator's name, tensors of its shape.
        """
        few = MEMORY ** max(1, self.seen)
        squares = {name: square / (1 - few) for name, square in self.squares.items()}
        return {name: square.lerp(square.mean(), few).sqrt() for name, square in squares.items()}

    def worth(self) -> dict[str, Tensor]:
        """Compute what each indicator is worth: its noise to the ``power``.

        Returns:
            By the indicator's name, tensors of its shape; in the unit of the squared gradient at a power of 2.
        """
        return {name: n**self.power for name, n in self.sizes().items()}
