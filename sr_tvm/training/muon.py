"""Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/): momentum, made orthogonal before each step.

Adam's step is large along the few directions that all gradients share and small along the rest. Here all singular
values of a filter matrix's step are about 1, so that the rest is learnt as fast: docs/training.md.

PyTorch has `torch.optim.Muon`, for two dimensions only, one matrix at a time, with a rate that it reads on the host.
Ours takes filters, all of one shape at once, and can be recorded in a CUDA graph.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

MOMENTUM, ROUNDS = 0.95, 5
# Of the quintic that brings singular values of 0 to 1 close to 1, fastest where they are small; Jordan et al.
QUINTIC = (3.4445, -4.7750, 2.0315)


class Muon(torch.optim.Optimizer):
    """The Muon optimizer for filters, (out, in, kernel, kernel), read as matrices (out, in * kernel * kernel).

    ``lr`` is the size of a step's singular values, times sqrt(rows / columns) in tall matrices. It may be a tensor, for
    steps that are recorded.
    """

    def __init__(self, filters: Iterable[nn.Parameter], lr: float | Tensor) -> None:
        super().__init__(filters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Move the weights by one step, by the gradients that are there.

        Args:
            closure: Ignored; PyTorch's optimizers have it.
        """
        for group in self.param_groups:
            alike: dict[torch.Size, list[Tensor]] = {}
            for weight in group["params"]:
                if weight.grad is not None:
                    alike.setdefault(weight.shape, []).append(weight)
            for weights in alike.values():
                self._move(weights, group["lr"])

    def _move(self, weights: list[Tensor], lr: float | Tensor) -> None:
        grads = [weight.grad for weight in weights if weight.grad is not None]
        for weight in weights:
            if "momentum" not in self.state[weight]:
                self.state[weight]["momentum"] = torch.zeros_like(weight)
        momenta = [self.state[weight]["momentum"] for weight in weights]
        torch._foreach_lerp_(momenta, grads, 1 - MOMENTUM)
        ahead = torch._foreach_lerp(grads, momenta, MOMENTUM)  # Nesterov's
        matrices = torch.stack([g.flatten(1) for g in ahead])
        rows, columns = matrices.shape[1:]
        moves = orthogonal(matrices) * (max(1.0, rows / columns) ** 0.5 * lr)
        torch._foreach_sub_(weights, [m.view(w.shape) for m, w in zip(moves, weights, strict=True)])


def orthogonal(matrices: Tensor) -> Tensor:
    """Bring the singular values of matrices to about 1 (0.7 to 1.2), by Newton-Schulz rounds.

    Args:
        matrices: (N, rows, columns), floating point.

    Returns:
        Matrices of the same shape and, nearly, the same singular vectors.
    """
    a, b, c = QUINTIC
    x = matrices / (torch.linalg.matrix_norm(matrices, keepdim=True) + 1e-7)
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    for _ in range(ROUNDS):
        square = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x
