"""What an integer network computes: the definition, in NumPy, that every kernel must equal bit by bit."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sr_tvm.quantize.network import (
    BLEND_BITS,
    S16,
    Blend,
    IntegerNetwork,
    Narrow,
    Node,
    QuantizedConvolution,
    QuantizedInput,
    QuantizedSum,
    Residual,
    divided,
    multiplied,
    shifted,
    sums,
)


def run(network: IntegerNetwork, picture: np.ndarray) -> np.ndarray:
    """Enlarge a picture as an integer network does, by the definition in NumPy.

    Args:
        network: The network.
        picture: (C, H, W) uint8.

    Returns:
        (C', H * network.shuffle, W * network.shuffle) uint8; C' is the channels of the network's result by shuffle **
        2.
    """
    return shuffled(values(network, picture)[network.result.name], network.shuffle)


def values(network: IntegerNetwork, picture: np.ndarray) -> dict[str, np.ndarray]:
    """Compute every value of an integer network.

    Args:
        network: The network.
        picture: (C, H, W) uint8.

    Returns:
        By name, each value before any pixel shuffle, (C, H, W) uint8 or int16; the picture is among them.
    """
    found: dict[str, np.ndarray] = {}
    for node in network.nodes:
        found[node.name] = picture if isinstance(node, QuantizedInput) else compute(network, node, found)
    return found


def compute(network: IntegerNetwork, node: Node, found: Mapping[str, np.ndarray]) -> np.ndarray:
    """Compute the value of one node from those that it reads.

    Args:
        network: The network, which says what the integers of the values that are read stand for.
        node: One of its nodes, but not its input.
        found: By name, at least the values that the node reads, (C, H, W) uint8 or int16.

    Returns:
        (C, H, W) of the node's dtype, uint8 or int16.

    Raises:
        TypeError: The node is of a type that nothing computes.
    """
    match node:
        case QuantizedConvolution():
            zero = network.by_name[node.inputs[0]].meaning.zero_point
            total = divided(shifted(node, accumulate(node, found[node.inputs[0]], zero)), node.shift)
            if node.multiplier is not None:
                total = multiplied(total, node.multiplier.astype(np.int32)[:, None, None])
            total = np.clip(total, -32768, 32767)
            if node.slope is not None:
                bent = np.maximum(total, multiplied(total, node.slope.astype(np.int32)[:, None, None]))
                whole = np.clip(bent, -32768, 32767) + (node.meaning.zero_point[:, None, None] << node.fraction)
                return _bytes(divided(np.clip(whole, -32768, 32767), node.fraction))
            return total.astype(np.int16) if node.dtype == S16 else _bytes(total)
        case Residual():
            halfword, byte = (found[name].astype(np.int32) for name in node.inputs)
            return _bytes(divided(np.clip(halfword + byte * node.factor, -32768, 32767), node.shift))
        case Narrow():
            return _bytes(divided(found[node.inputs[0]].astype(np.int32), node.shift))
        case QuantizedSum():
            a, b = (found[name].astype(np.int32) for name in node.inputs)
            if node.dtype == S16:
                return np.clip(a + b, -32768, 32767).astype(np.int16)
            return _bytes(divided(np.clip(a + b, -32768, 32767), node.shift))
        case Blend():
            return _blend(network, node, found)
    raise TypeError(f"nothing computes {type(node).__name__}")


def _blend(network: IntegerNetwork, node: Blend, found: Mapping[str, np.ndarray]) -> np.ndarray:
    def column(numbers: np.ndarray) -> np.ndarray:
        return numbers.astype(np.int32)[:, None, None]

    zeros = [network.by_name[name].meaning.zero_point for name in node.inputs]
    wide = [(found[n].astype(np.int32) - column(z)) << BLEND_BITS for n, z in zip(node.inputs, zeros, strict=True)]
    parts = [multiplied(h, column(m)) for h, m in zip(wide, node.multipliers, strict=True)]
    total = np.clip(sum(parts[1:], parts[0]), -32768, 32767)
    if node.slope is not None:
        total = np.maximum(total, multiplied(wide[0], column(node.slope)))
    if node.smaller is not None:
        total = np.where(node.smaller[:, None, None], ~total, total)
    return _bytes(divided(np.clip(total + column(node.offset), -32768, 32767), node.fraction))


def accumulate(node: QuantizedConvolution, value: np.ndarray, zero_point: np.ndarray) -> np.ndarray:
    """Add up the sums of a convolution, before they are shifted, multiplied or saturated.

    BLAS adds them up in floating point, which is exact: a float32 holds integers up to 2 ** 24, a float64 to 2 ** 53.

    Args:
        node: The convolution, with O outputs.
        value: What it reads, (C, H, W) uint8.
        zero_point: (C,) what lies outside of the picture, 0...255.

    Returns:
        (O, H, W) int32, begun at the bias.
    """
    low, high = sums(node)
    largest = 255 * int(np.abs(node.weight.astype(np.int64)).reshape(len(node.bias), -1).sum(1).max())
    exact = np.float32 if max(largest, -int(low.min()), int(high.max())) < 1 << 24 else np.float64
    return convolve(node.weight.astype(exact), node.bias.astype(exact), value.astype(exact), zero_point).astype(
        np.int32
    )


def convolve(weight: np.ndarray, bias: np.ndarray, value: np.ndarray, padding: np.ndarray) -> np.ndarray:
    """Convolve with stride 1, such that as many pixels come out as go in; all arrays are of one element type.

    Args:
        weight: (O, C, kh, kw), kh and kw odd.
        bias: (O,) where the sums begin.
        value: (C, H, W).
        padding: (C,) what lies outside of the picture.

    Returns:
        (O, H, W) of the same element type.
    """
    (tall, wide), (_, height, width) = weight.shape[2:], value.shape
    padded = np.empty((len(value), height + tall - 1, width + wide - 1), value.dtype)
    padded[:] = padding[:, None, None]
    padded[:, tall // 2 : tall // 2 + height, wide // 2 : wide // 2 + width] = value
    total = np.repeat(bias, height * width).reshape(len(bias), height * width)
    for dy in range(tall):
        for dx in range(wide):
            window = padded[:, dy : dy + height, dx : dx + width].reshape(len(value), -1)
            total += weight[:, :, dy, dx] @ window
    return total.reshape(len(bias), height, width)


def shuffled(value: np.ndarray, factor: int) -> np.ndarray:
    """Shuffle channels into pixels, in PyTorch's order.

    Args:
        value: (C * factor ** 2, H, W).
        factor: Times as many pixels along each side, 1 or more.

    Returns:
        (C, H * factor, W * factor), contiguous.
    """
    channels, height, width = value.shape
    apart = value.reshape(channels // factor**2, factor, factor, height, width)
    return np.ascontiguousarray(apart.transpose(0, 3, 1, 4, 2).reshape(-1, height * factor, width * factor))


def _bytes(total: np.ndarray) -> np.ndarray:
    return np.clip(total, 0, 255).astype(np.uint8)
