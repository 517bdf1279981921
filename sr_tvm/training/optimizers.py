"""What moves the weights of a run: Muon the filters of the blocks, Adam the rest; or Adam all."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sr_tvm.training.muon import Muon

# Adam remembers squares for a hundred steps: those of the first ones are far too large for what comes after.
BETAS = (0.9, 0.99)
# Of a filter's step by Muon, in Adam's rates.
FILTERS = 5.0
MOMENTS = {"adam": ("exp_avg", "exp_avg_sq"), "muon": ("momentum",)}


class Optimizers:
    """What moves the parameters of a `WDSR` with weight norm, or some of them.

    Args:
        weights: By their names in the network; those of filters in blocks are told by them.
        lr: The first rate; see :meth:`rate`.
        device: Where the weights are.
        optimizer: ``muon`` or ``adam``: what moves the filters of blocks.
    """

    def __init__(
        self, weights: dict[str, nn.Parameter], lr: float, device: torch.device, optimizer: str = "muon"
    ) -> None:
        self.weights = dict(weights)
        on_gpu = device.type == "cuda"
        self.filters = {n for n, w in weights.items() if optimizer == "muon" and _filter(n, w)}
        # Tensors, for steps that are recorded.
        rate, faster = (torch.tensor(x, device=device) if on_gpu else x for x in (lr, lr * FILTERS))
        rest = [w for name, w in weights.items() if name not in self.filters]
        # One fused update instead of a loop over dozens of small tensors.
        self.adam = torch.optim.Adam(rest, lr=rate, betas=BETAS, fused=True, capturable=on_gpu)
        self.muon = Muon([weights[n] for n in weights if n in self.filters], faster) if self.filters else None

    def add(self, weights: dict[str, nn.Parameter], lr: float) -> None:
        """Have Adam move other parameters too, always at one rate and with its usual memory.

        Args:
            weights: By names that none of the others has.
            lr: Their rate.
        """
        self.weights |= weights
        self.adam.add_param_group({"params": list(weights.values()), "lr": lr, "betas": (0.9, 0.999)})

    def rate(self, lr: float) -> None:
        """Set the learning rate of the next steps.

        Args:
            lr: Adam's; Muon's is `FILTERS` times that.
        """
        for optimizer, rate in ((self.adam, lr), (self.muon, lr * FILTERS)):
            if optimizer is None:
                continue
            group = optimizer.param_groups[0]
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate

    def step(self) -> None:
        """Move all weights by one step, by the gradients that are there."""
        self.adam.step()
        if self.muon:
            self.muon.step()

    def moments(self) -> dict[str, Tensor]:
        """List what is remembered of each weight.

        Returns:
            By names like ``exp_avg.head.bias``, each of its weight's shape; zeros before the first step.
        """
        out: dict[str, Tensor] = {}
        for name, weight in self.weights.items():
            kind, optimizer = self._of(name)
            state = optimizer.state.get(weight, {})
            out |= {f"{k}.{name}": state[k] if k in state else torch.zeros_like(weight) for k in MOMENTS[kind]}
        return out

    def remember(self, moments: dict[str, Tensor], steps: int) -> None:
        """Take up the moments of another run.

        Args:
            moments: What its :meth:`moments` listed.
            steps: How many steps it had done.
        """
        for name, weight in self.weights.items():
            kind, optimizer = self._of(name)
            state = {k: torch.empty_like(weight).copy_(moments[f"{k}.{name}"]) for k in MOMENTS[kind]}
            if kind == "adam":  # fused, it keeps its counter as a float32 tensor on the parameter's device
                state["step"] = torch.tensor(float(steps), dtype=torch.float32, device=weight.device)
            optimizer.state[weight] = state

    def _of(self, name: str) -> tuple[str, torch.optim.Optimizer]:
        return ("muon", self.muon) if self.muon and name in self.filters else ("adam", self.adam)


def _filter(name: str, weight: Tensor) -> bool:
    """Return whether it is weight norm's v, not its g, of a convolution of a block."""
    return "blocks." in name and weight.dim() == 4 and weight[0].numel() > 1
