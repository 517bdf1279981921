"""What lies between an integer network and its ONNX form: scales by tensor, and biases without zero points."""

from __future__ import annotations

import numpy as np

from sr_tvm.quantize.network import S16, IntegerNetwork, Narrow, QuantizedConvolution, QuantizedSum, Residual

SPARE_BITS = 4  # of halfwords that a multiplier makes bytes of: else they would be rounded to whole units twice
BYTE_REACH = 256  # a sum that stands for so much may leave 16 bits: the byte is 255 anyhow
NEAR = 1e-4  # of a power of two, below which a ratio is one


def plain_scales(network: IntegerNetwork) -> dict[str, float]:
    """One scale of each value, where those of its channels go over into the weights beside it.

    The result's and the picture's stay as they are. Values that are added share theirs.
    """
    found: dict[str, float] = {}
    for node in network.nodes:
        if isinstance(node, Residual) and node.inputs[1] in found:
            found[node.name] = found[node.inputs[1]] * node.factor / 2.0**node.shift
        elif isinstance(node, QuantizedSum) and node.dtype == S16:
            found[node.name] = found[node.inputs[1]]
        elif isinstance(node, Narrow):
            found[node.name] = found[node.inputs[0]] * 2.0**node.shift
        elif node.name not in found:
            found[node.name] = float(np.exp(np.log(np.abs(node.meaning.scale)).mean()))
    for node in network.nodes:
        if isinstance(node, Residual | QuantizedSum):
            for name in node.inputs:
                if name == node.inputs[0] or network.by_name[name].dtype == S16 and node.dtype != S16:
                    found[name] = found[node.name] / 2.0**node.shift
    return found


def factors(node: QuantizedConvolution) -> np.ndarray:
    """What a unit of its sums is of a unit of the value, by output channel."""
    whole = np.ones(len(node.bias)) if node.multiplier is None else node.multiplier / 32768.0
    before = 0 if node.before is None else node.before.astype(np.int64)
    return whole / 2.0 ** (before + node.shift + node.fraction)


def offset(network: IntegerNetwork, node: QuantizedConvolution) -> np.ndarray:
    """What of the bias is the zero point of what is stored in the end: (O,) int64, in units of the sums."""
    zero = node.meaning.zero_point.astype(np.float64)
    if node.slope is not None:
        return np.zeros(len(node.bias), np.int64)  # it is added behind the PReLU
    if node.dtype == S16:
        reader = network.readers(node.name)[0]
        zero = np.zeros(len(node.bias))
        narrow = next((r for r in network.readers(node.name) if isinstance(r, Narrow)), None)
        if narrow is not None:
            zero = narrow.meaning.zero_point * 2.0**narrow.shift
            return np.round(zero / factors(node)).astype(np.int64)
        if isinstance(reader, QuantizedSum) and reader.inputs[0] == node.name and reader.dtype != S16:
            zero = reader.meaning.zero_point * 2.0**reader.shift
        elif isinstance(reader, Residual):  # its u8 brings one, times the factor
            trunk = network.by_name[reader.inputs[1]].meaning.zero_point
            zero = reader.meaning.zero_point * 2.0**reader.shift - trunk * float(reader.factor)
    return np.round(zero / factors(node)).astype(np.int64)


def centring(weight: np.ndarray, zero_point: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """What sums change by where the picture's zero points (C,) are not rounded, but ``exact``: (O,) int64."""
    return np.round(weight.astype(np.float64).sum((2, 3)) @ (zero_point - exact)).astype(np.int64)


def own_shifts(ratio: np.ndarray, shift: int, most: np.ndarray, reach: int) -> np.ndarray | None:
    """By how much more outputs' sums are to be shifted first: (O,) int8, or None where one shift fits all.

    It is needed where scales are so far apart that sums of up to ``most`` (O,) leave 16 bits, shifted by ``shift``,
    before they are worth ``reach``; then the output's multiplier becomes as large as others' or larger, up to 1.

    Args:
        ratio: (O,) what a unit of the sums is worth.
    """
    far = np.minimum(most / 32767, reach / 32767 / ratio) / 2.0**shift
    room = np.floor(-np.log2(ratio) - shift + NEAR)  # a multiplier is 1 at most
    needed = np.minimum(np.ceil(np.log2(np.maximum(far, 1)) - NEAR), room)
    apart = np.maximum(np.floor(np.log2(ratio.max() / ratio) + NEAR), needed)
    found = np.where(far > 1, apart, 0).clip(0, 31).astype(np.int8)
    return found if found.any() else None
