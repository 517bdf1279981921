"""Multiply-accumulates of a network: each convolution done directly, as the papers count; nothing else counts."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


def count(module: nn.Module, x: Tensor) -> tuple[int, Tensor]:
    """The multiply-accumulates of one run on ``x``, biases not counted, and the run's output.

    Padding counts like any other pixel. A transposed convolution multiplies each input by its whole kernel.
    """
    total = 0

    def convolution(layer: Any, args: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        pixels = args[0] if isinstance(layer, nn.ConvTranspose2d) else output
        total += pixels[:, 0].numel() * layer.weight.numel()

    def linear(layer: Any, args: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        total += output[..., 0].numel() * layer.weight.numel()

    hooks = []
    for layer in module.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            hooks.append(layer.register_forward_hook(convolution))
        elif isinstance(layer, nn.Linear):
            hooks.append(layer.register_forward_hook(linear))
    try:
        y = module(x)
    finally:
        for hook in hooks:
            hook.remove()
    return total, y
