"""A region in float32 as NumPy computes it, value by value: what calibration looks at."""

from __future__ import annotations

import numpy as np

from sr_tvm.errors import SrTvmError
from sr_tvm.quantize.reference import convolve
from sr_tvm.regions.region import Add, Conv, Node, Pointwise, Region, Source


def values(region: Region, picture: np.ndarray) -> dict[str, np.ndarray]:
    """Compute every value of a region in float32, before any pixel shuffle.

    Args:
        region: A region with one source.
        picture: What the source is, (C, H, W) float32.

    Returns:
        By name, (C', H, W) float32; the source is among them.

    Raises:
        SrTvmError: An operator has no integer form; the message names it.
    """
    found: dict[str, np.ndarray] = {}
    for node in region.nodes:
        found[node.name] = picture if isinstance(node, Source) else _compute(node, found)
    return found


def _compute(node: Node, found: dict[str, np.ndarray]) -> np.ndarray:
    match node:
        case Conv() if node.groups == 1 and len(node.inputs) == 1:
            value = found[node.inputs[0]]
            return convolve(node.weight, node.bias, value, np.zeros(len(value), np.float32))
        case Pointwise():
            value = found[node.inputs[0]]
            parameters = [p[:, None, None] for p in node.parameters]
            match node.function:
                case "relu":
                    return np.maximum(value, 0)
                case "prelu":
                    return np.where(value > 0, value, value * parameters[0])
                case "clip":
                    return np.clip(value, *parameters)
                case "shift":
                    return value + parameters[0]
                case "scale":
                    return value * parameters[0]
        case Add():
            return found[node.inputs[0]] + found[node.inputs[1]]
    raise SrTvmError(f"{node.name}: {type(node).__name__.lower()} of this kind has no integer form yet")
