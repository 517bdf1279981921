"""A speed model's prediction as a function of widths that are tensors, for the loss of a search."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from sr_tvm.errors import SrTvmError
from sr_tvm.records.architecture import BLOCK_KERNEL, COLOURS, HEAD_KERNEL, SCALES, SKIP_KERNEL
from sr_tvm.speed import physical
from sr_tvm.speed.model import SpeedModel
from sr_tvm.speed.sample import FEATURES, layer_bytes, layer_macs

if TYPE_CHECKING:
    from sr_tvm.speed.mlp import Mlp

Latency = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def latency(model: SpeedModel, height: int, width: int, scale: int) -> Latency:
    """Make a differentiable function that predicts the latency of a WDSR network from its widths.

    It takes float tensors of B blocks, ``channels`` (), ``expand`` (B,), ``linear`` (B,) and ``keep`` (B,), and gives a
    scalar in ``model.unit``, differentiable to all four. ``keep`` multiplies the whole cost of its block. Where widths
    are whole and ``keep`` is 0 or 1, it equals ``model.predict`` of the network without the blocks of keep 0, up to
    rounding. Widths need not be whole; below 1 an MLP takes them for 1.

    Args:
        model: What predicts.
        height: Of the low-resolution input, in pixels.
        width: Of the low-resolution input, in pixels.
        scale: Times as many pixels along each side, 2, 3 or 4.

    Returns:
        The function of channels, expand, linear and keep.

    Raises:
        SrTvmError: The scale is unknown, or an MLP was fitted to another input size.
    """
    if scale not in SCALES:
        raise SrTvmError(f"scale is {scale!r}; 2, 3 or 4 is allowed")
    if model.kind == physical.KIND:
        return _physical(model, height * width, scale)
    return _mlp(model, height, width, scale)


def _physical(model: SpeedModel, pixels: int, scale: int) -> Latency:
    prices = dict(zip(FEATURES, model.predictor.prices, strict=True))

    def predict(channels: Tensor, expand: Tensor, linear: Tensor, keep: Tensor) -> Tensor:
        # MACs are 1e9 and their prices 1e-9: in float32 the sum over many blocks would lose the seventh digit.
        n, e, m, k = (x.double() for x in (channels, expand, linear, keep))
        blocks = (
            _layer(prices, "macs_expand", n, e, 1, pixels)
            + _layer(prices, "macs_linear", e, m, 1, pixels)
            + _layer(prices, "macs_project", m, n, BLOCK_KERNEL, pixels)
        )
        ends = _ends(prices, n, scale, pixels) if model.ends else 0.0
        return (ends + (k * blocks).sum()).to(channels.dtype)

    return predict


def _layer(prices: Mapping[str, float], macs: str, cin: Any, cout: Any, kernel: int, pixels: int) -> Any:
    """Return the price of one convolution, or of one in each block."""
    moved = prices["bytes"] * layer_bytes(cin, cout, kernel, pixels)
    return prices[macs] * layer_macs(cin, cout, kernel, pixels) + moved + prices["kernels"]


def _ends(prices: Mapping[str, float], channels: Tensor, scale: int, pixels: int) -> Tensor:
    """Return the price of head, tail, skip and one inference."""
    out = COLOURS * scale**2
    head = _layer(prices, "macs_ends", COLOURS, channels, HEAD_KERNEL, pixels)
    tail = _layer(prices, "macs_ends", channels, out, HEAD_KERNEL, pixels)
    return head + tail + _layer(prices, "macs_ends", COLOURS, out, SKIP_KERNEL, pixels) + prices["inference"]


def _mlp(model: SpeedModel, height: int, width: int, scale: int) -> Latency:
    from sr_tvm.speed.mlp import CHANNELS

    model.predictor.check_size(height, width)
    frozen: Mlp = model.predictor.frozen()
    known = bool(frozen.prices.any())  # fitted to blocks alone: the ends have the physical model's prices
    prices = dict(zip(FEATURES, frozen.prices.tolist(), strict=True))
    base, slope = functional.softplus(frozen.ends.detach()).tolist()
    unit = float(frozen.unit)

    def predict(channels: Tensor, expand: Tensor, linear: Tensor, keep: Tensor) -> Tensor:
        widths = torch.stack([channels.expand_as(expand), expand, linear], 1).clamp(min=1).float()
        blocks = unit * (keep * frozen.to(channels.device).blocks(widths).to(keep.dtype)).sum()
        if not model.ends:
            return blocks
        if known:
            return blocks + _ends(prices, channels.double(), scale, height * width).to(channels.dtype)
        return blocks + unit * (base + slope * channels / CHANNELS)

    return predict
