"""An integer network as a PyTorch module: computes what the integers compute, with gradients that pass the rounding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from sr_tvm.errors import SrTvmError
from sr_tvm.quantize.network import (
    S16,
    IntegerNetwork,
    Narrow,
    Node,
    QuantizedConvolution,
    QuantizedInput,
    QuantizedSum,
    Residual,
)
from sr_tvm.quantize.plain import factors

LARGEST = 127  # of a weight
HALFWORD = -32768.0, 32767.0
BYTE = 0.0, 255.0
# A bias's parameter of 1 is so many units of what is stored (of bytes; of halfwords, 64 times as many): with it, a rate
# that moves weights well, moves biases well.
BIAS_UNITS = 16.0
HALFWORD_UNITS = 64.0


def rounded(value: Tensor) -> Tensor:
    """Round halves up; backwards as if nothing had been rounded (straight-through estimator, Bengio et al. 2013).

    Args:
        value: Of any shape.

    Returns:
        Whole numbers in the same dtype, with the gradient of ``value``.
    """
    return torch.floor(value + 0.5).detach() + (value - value.detach())  # the second is 0, and has the gradient


class IntegerConvolution(nn.Module):
    """A convolution of bytes, whose int8 weights and int32 bias are the rounded values of float parameters.

    The parameters are ``weight``, in units of the largest int8 (O, I, kh, kw), and ``bias`` (O,), which has no zero
    points in it. Shift, multiplier and what the stored values mean stay as they are.
    """

    zero: Tensor
    factor: Tensor
    multiplier: Tensor | None
    before: Tensor | None
    slope: Tensor | None
    added: Tensor
    unit: Tensor

    def __init__(self, node: QuantizedConvolution, zero: np.ndarray) -> None:
        super().__init__()
        self.node = node
        weight = torch.from_numpy(node.weight.astype(np.float32))
        self.weight = nn.Parameter(weight / LARGEST)
        stored = HALFWORD_UNITS if node.dtype == S16 else 1.0
        buffers = {
            "zero": zero.reshape(1, -1, 1, 1),
            "unit": BIAS_UNITS * stored / factors(node),
            "before": None if node.before is None else 2.0 ** node.before.reshape(1, -1, 1, 1),
            "multiplier": None if node.multiplier is None else node.multiplier.reshape(1, -1, 1, 1),
            "slope": None if node.slope is None else node.slope.reshape(1, -1, 1, 1),
            "added": (node.meaning.zero_point << node.fraction).reshape(1, -1, 1, 1),
        }
        for name, numbers in buffers.items():
            made = None if numbers is None else torch.from_numpy(np.asarray(numbers, np.float32))
            self.register_buffer(name, made, persistent=False)
        plain = node.bias + node.weight.astype(np.int64).sum((2, 3)) @ zero.astype(np.int64)
        self.bias = nn.Parameter((torch.from_numpy(plain) / self.unit.double()).float())

    def forward(self, value: Tensor) -> Tensor:
        """Convolve as the integers do.

        Args:
            value: Bytes (N, I, H, W), as numbers in float32.

        Returns:
            Bytes or halfwords (N, O, H, W), as numbers in float32.
        """
        weight = rounded((self.weight * LARGEST).clamp(-LARGEST, LARGEST))
        tall, wide = weight.shape[2:]
        bias, padding = rounded(self.bias * self.unit), (tall // 2, wide // 2)
        total = functional.conv2d(value - self.zero, weight, bias, padding=padding)
        if self.before is not None:
            total = rounded(total / self.before - 0.5)  # down
        total = rounded(total * 2.0**-self.node.shift).clamp(*HALFWORD)
        if self.multiplier is not None:
            total = rounded(total * self.multiplier / 32768.0).clamp(*HALFWORD)
        if self.slope is not None:
            bent = torch.maximum(total, rounded(total * self.slope / 32768.0)).clamp(*HALFWORD) + self.added
            return _divided(bent, self.node.fraction)
        return total if self.node.dtype == S16 else total.clamp(*BYTE)

    def integers(self) -> QuantizedConvolution:
        """Give the convolution with the weights and the bias that :meth:`forward` rounds to.

        Returns:
            Weights in int8 and the bias in int32, zero points in it.
        """
        with torch.no_grad():
            weight = torch.floor((self.weight * LARGEST).clamp(-LARGEST, LARGEST) + 0.5).cpu().numpy().astype(np.int8)
            plain = torch.floor(self.bias * self.unit + 0.5).cpu().numpy().astype(np.int64)
        zero = self.zero.cpu().numpy().reshape(-1).astype(np.int64)
        bias = plain - weight.astype(np.int64).sum((2, 3)) @ zero
        return replace(self.node, weight=weight, bias=bias.astype(np.int32))


def _residual(node: Residual) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda halfword, byte: _divided(halfword + byte * float(node.factor), node.shift)


def _sum(node: QuantizedSum) -> Callable[[Tensor, Tensor], Tensor]:
    if node.dtype == S16:
        return lambda one, two: (one + two).clamp(*HALFWORD)
    return lambda one, two: _divided(one + two, node.shift)


def _narrow(node: Narrow) -> Callable[[Tensor], Tensor]:
    return lambda halfword: _divided(halfword, node.shift)


def _divided(total: Tensor, shift: int) -> Tensor:
    return rounded(total.clamp(*HALFWORD) * 2.0**-shift).clamp(*BYTE)


class IntegerModel(nn.Module):
    """An :class:`~sr_tvm.quantize.network.IntegerNetwork` whose weights and biases can be trained.

    Pictures in 0..1 of shape (N, C, H, W), as multiples of 1/255, to (N, C', scale H, scale W), again multiples of
    1/255: those of the integer network, as long as its sums stay within the 24 bits of a float32.

    Raises:
        SrTvmError: A node has no form that can be trained; the message names it.
    """

    def __init__(self, network: IntegerNetwork) -> None:
        super().__init__()
        self.network = network
        self.steps: dict[str, Callable[..., Tensor]] = {}
        self.convolutions = nn.ModuleList()
        for node in network.nodes:
            if not isinstance(node, QuantizedInput):
                self.steps[node.name] = self._step(node)

    def _step(self, node: Node) -> Callable[..., Tensor]:
        match node:
            case QuantizedConvolution():
                made = IntegerConvolution(node, self.network.by_name[node.inputs[0]].meaning.zero_point)
                self.convolutions.append(made)
                return made
            case Residual():
                return _residual(node)
            case QuantizedSum():
                return _sum(node)
            case Narrow():
                return _narrow(node)
        raise SrTvmError(f"{node.name}: {type(node).__name__} can't be trained in integers; convolutions and sums can")

    def forward(self, low: Tensor) -> Tensor:
        """Enlarge pictures as the integer network does.

        Args:
            low: (N, C, H, W) in 0..1, float32; it is rounded to multiples of 1/255.

        Returns:
            (N, C', scale H, scale W), multiples of 1/255.
        """
        found = {self.network.picture.name: torch.floor(low * 255 + 0.5)}
        for node in self.network.nodes:
            if node.name in self.steps:
                found[node.name] = self.steps[node.name](*(found[name] for name in node.inputs))
        return functional.pixel_shuffle(found[self.network.result.name], self.network.shuffle) / 255

    def integers(self) -> IntegerNetwork:
        """Give the network with the weights as they are now.

        Returns:
            A network of the same nodes and scales.

        Raises:
            SrTvmError: A sum may leave its 32 bits.
        """
        made = {c.node.name: c.integers() for c in self.convolutions if isinstance(c, IntegerConvolution)}
        nodes = tuple(made.get(node.name, node) for node in self.network.nodes)
        return IntegerNetwork(nodes, self.network.shuffle)
