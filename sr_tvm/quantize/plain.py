"""What lies between an integer network and its ONNX form: scales by tensor, and biases without zero points."""

from __future__ import annotations

import numpy as np

from sr_tvm.quantize.network import S16, IntegerNetwork, Narrow, QuantizedConvolution, QuantizedSum, Residual

SPARE_BITS = 4  # of halfwords that a multiplier makes bytes of: else they would be rounded to whole units twice
BYTE_REACH = 256  # a sum that stands for so much may leave 16 bits: the byte is 255 anyhow
NEAR = 1e-4  # of a power of two, below which a ratio is one


def plain_scales(network: IntegerNetwork) -> dict[str, float]:
    """Choose one scale for each value, where those of its channels go over into the weights beside it.

    The scales of the result and of the picture stay as they are. Values that are added share theirs.

    Args:
        network: The network.

    Returns:
        By name of the value, what a step of its bytes or halfwords stands for: the geometric mean over its channels,
        where nothing else gives it.
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
    """Compute how many steps of a convolution's value one unit of its sums is.

    Args:
        node: The convolution, with O outputs.

    Returns:
        (O,) float64, by shifts and multiplier, the multiplier as it was rounded.
    """
    whole = np.ones(len(node.bias)) if node.multiplier is None else node.multiplier / 32768.0
    before = 0 if node.before is None else node.before.astype(np.int64)
    return whole / 2.0 ** (before + node.shift + node.fraction)


def offset(network: IntegerNetwork, node: QuantizedConvolution) -> np.ndarray:
    """Compute how much of a convolution's bias is the zero point of what is stored in the end.

    Args:
        network: The network, whose nodes that read the convolution are there already.
        node: The convolution, with O outputs.

    Returns:
        (O,) int64, in units of the sums; 0 where a PReLU follows, behind which the zero point is added.
    """
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
    """Compute what sums change by where the picture's zero points are rounded.

    Args:
        weight: (O, C, kh, kw) int8, of a convolution that reads the picture.
        zero_point: (C,) whole numbers, 0...255.
        exact: (C,) the same, not rounded.

    Returns:
        (O,) int64, to be added to a bias that holds the rounded ones; to be taken from one that is to hold the exact
        ones.
    """
    return np.round(weight.astype(np.float64).sum((2, 3)) @ (zero_point - exact)).astype(np.int64)


def own_shifts(ratio: np.ndarray, shift: int, most: np.ndarray, reach: int) -> np.ndarray | None:
    """Choose how much more the sums of outputs are shifted first, where one shift does not fit all outputs.

    That is where scales are so far apart that sums leave 16 bits, shifted by ``shift``, before they are worth
    ``reach``; then the output's multiplier becomes as large as others' or larger, up to 1.

    Args:
        ratio: (O,) what a unit of the sums is worth in steps of the value.
        shift: Bits that the sums of all outputs are shifted by.
        most: (O,) the largest magnitude that a sum may have.
        reach: Steps of the value beyond which it does not matter that a sum leaves 16 bits.

    Returns:
        (O,) int8, 0 to 31 bits; None where one shift fits all.
    """
    far = np.minimum(most / 32767, reach / 32767 / ratio) / 2.0**shift
    room = np.floor(-np.log2(ratio) - shift + NEAR)  # a multiplier is 1 at most
    needed = np.minimum(np.ceil(np.log2(np.maximum(far, 1)) - NEAR), room)
    apart = np.maximum(np.floor(np.log2(ratio.max() / ratio) + NEAR), needed)
    found = np.where(far > 1, apart, 0).clip(0, 31).astype(np.int8)
    return found if found.any() else None
