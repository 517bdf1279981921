"""What a streaming region computes, by PyTorch: the meaning that every lowering is tested against."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from sr_tvm.regions.region import Add, Concat, Conv, Node, Pointwise, Region


def evaluate(
    region: Region, inputs: Mapping[str, np.ndarray], dtype: torch.dtype = torch.float32
) -> dict[str, np.ndarray]:
    """The region's results by value name: (N, C / r^2, H r, W r) of ``inputs``, (N, C, H, W) by source name.

    A value that is both shuffled and plain result comes as ``name`` and ``name*r``; see :func:`result_name`. In
    ``torch.float64`` it is the yardstick for rounding.
    """
    values: dict[str, Tensor] = {}
    for node in region.nodes:
        if node.name in inputs:
            values[node.name] = torch.from_numpy(np.asarray(inputs[node.name])).to(dtype)
            assert values[node.name].shape[1] == node.channels, node.name
        else:
            values[node.name] = _node(node, [values[name] for name in node.inputs])
        assert values[node.name].shape[1] == node.channels, node.name
    made = {}
    for result in region.results:
        value = values[result.value]
        made[result_name(result.value, result.shuffle)] = (
            functional.pixel_shuffle(value, result.shuffle).contiguous().numpy()
        )
    return made


def result_name(value: str, shuffle: int = 1) -> str:
    """The key of a result in what :func:`evaluate` gives: ``conv3``, or ``conv3*2`` where it is stored shuffled."""
    return value if shuffle == 1 else f"{value}*{shuffle}"


def _node(node: Node, inputs: list[Tensor]) -> Tensor:
    if isinstance(node, Conv):
        x = torch.cat(inputs, dim=1)
        weight = torch.from_numpy(node.weight).to(x.dtype)
        bias = torch.from_numpy(node.bias).to(x.dtype)
        kh, kw = node.weight.shape[2:]
        return functional.conv2d(x, weight, bias, padding=(kh // 2, kw // 2), groups=node.groups)
    if isinstance(node, Pointwise):
        (x,) = inputs
        numbers = [torch.from_numpy(p).to(x.dtype).reshape(1, -1, 1, 1) for p in node.parameters]
        assert all(p.shape == (node.channels,) for p in node.parameters), node.name
        match node.function:
            case "relu":
                return torch.relu(x)
            case "prelu":
                return torch.where(x > 0, x, x * numbers[0])
            case "clip":
                return torch.minimum(torch.maximum(x, numbers[0]), numbers[1])
            case "shift":
                return x + numbers[0]
            case "scale":
                return x * numbers[0]
    if isinstance(node, Add):
        return inputs[0] + inputs[1]
    if isinstance(node, Concat):
        return torch.cat(inputs, dim=1)
    raise AssertionError(f"no value for {node.name}, a {type(node).__name__}")
