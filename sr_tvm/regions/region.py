"""What a fused region computes: a small graph of operators on tensors of one spatial size, free of TVM and of targets.

Every tensor is (N, C, H, W) with the region's own N, H and W; only a result may be larger, by the pixel shuffle of its
last store. What its numbers are is a :class:`~sr_tvm.regions.value.Value`; how it lies in memory between kernels is the
lowering's choice. Convolutions have stride 1, an odd square or oblong kernel and "same" zero padding, so a region is
valid at every picture size. Which operators form a region is decided in the passes; how it becomes TIR is a target's
lowering.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from sr_tvm.regions.value import FLOAT32, Quantization, Value


@dataclass(frozen=True, eq=False, kw_only=True)
class _Node:
    """What every node has: the type of the numbers that it makes."""

    dtype: str = FLOAT32
    quantization: Quantization | None = None


@dataclass(frozen=True, eq=False)
class Source(_Node):
    """A tensor the region reads from memory: (N, channels, H, W)."""

    name: str
    channels: int

    inputs = ()


@dataclass(frozen=True, eq=False)
class Conv(_Node):
    """Convolution of the inputs, concatenated along the channels; stride 1, zero padding of half the kernel.

    ``weight`` is (O, I / groups, kh, kw) float32 with odd kh and kw, ``bias`` (O,) float32.
    """

    name: str
    inputs: tuple[str, ...]
    weight: np.ndarray
    bias: np.ndarray
    groups: int = 1

    @property
    def channels(self) -> int:
        """The number of output channels."""
        return int(self.weight.shape[0])


@dataclass(frozen=True, eq=False)
class Pointwise(_Node):
    """One-to-one arithmetic on one tensor of ``channels`` channels.

    ``parameters``: relu none; prelu (slope,); clip (low, high); shift (addend,); scale (factor,). Each is float32 of
    shape (C,), also where the network has a scalar.
    """

    name: str
    inputs: tuple[str]
    function: Literal["relu", "prelu", "clip", "shift", "scale"]
    parameters: tuple[np.ndarray, ...]
    channels: int


@dataclass(frozen=True, eq=False)
class Add(_Node):
    """Sum of two tensors of the same channels: a residual or a long skip."""

    name: str
    inputs: tuple[str, str]
    channels: int


@dataclass(frozen=True, eq=False)
class Concat(_Node):
    """The inputs one after another along the channels."""

    name: str
    inputs: tuple[str, ...]
    channels: int


Node = Source | Conv | Pointwise | Add | Concat


@dataclass(frozen=True)
class Result:
    """A tensor the region writes: the node's value, after a pixel shuffle where ``shuffle`` is over 1.

    The shuffle is PyTorch's: channel c * r * r + dy * r + dx of pixel (y, x) goes to channel c of
    (y * r + dy, x * r + dx).
    """

    value: str
    shuffle: int = 1


@dataclass(frozen=True, eq=False)
class Region:
    """Operators in topological order, and what of them is written to memory. Names are unique."""

    nodes: tuple[Node, ...]
    results: tuple[Result, ...]

    @cached_property
    def by_name(self) -> dict[str, Node]:
        """The nodes by name, in the region's order."""
        return {node.name: node for node in self.nodes}

    @cached_property
    def readers(self) -> dict[str, tuple[Node, ...]]:
        """The nodes that read each value, in order; results are not counted."""
        found: dict[str, list[Node]] = {node.name: [] for node in self.nodes}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                found[name].append(node)
        return {name: tuple(nodes) for name, nodes in found.items()}

    @property
    def sources(self) -> tuple[Source, ...]:
        """The tensors that the region reads from memory, in the region's order."""
        return tuple(node for node in self.nodes if isinstance(node, Source))

    def value(self, name: str, shuffle: int = 1) -> Value:
        """Describe what a node makes as a value in plain memory, with planes of channels.

        Args:
            name: Of the node.
            shuffle: The factor of a pixel shuffle that follows it; 1: none does.

        Returns:
            Of channels / shuffle^2 channels, enlarged by ``shuffle`` along both axes.
        """
        node = self.by_name[name]
        return Value(name, node.channels // shuffle**2, shuffle, node.dtype, quantization=node.quantization)

    def convolutions(self) -> Iterator[Conv]:
        """Go through the convolutions in the region's order.

        Returns:
            An iterator over those of the nodes that are a :class:`Conv`.
        """
        return (node for node in self.nodes if isinstance(node, Conv))

    def macs(self) -> int:
        """Count the multiply-accumulates for each pixel of the region.

        Returns:
            Multiply-accumulates of the convolutions, without taps that are zero for all inputs.
        """
        return sum(taps(conv.weight).sum() * conv.weight.shape[1] for conv in self.convolutions())

    def describe(self) -> list[dict[str, Any]]:
        """Describe the region without its numbers, as plain JSON, so that tuning records find it.

        Returns:
            A row for each node, its inputs by position, and one for the results; equal for regions of equal structure.
        """
        order = {node.name: i for i, node in enumerate(self.nodes)}
        rows: list[dict[str, Any]] = []
        for node in self.nodes:
            row: dict[str, Any] = {"kind": type(node).__name__.lower(), "channels": node.channels}
            row["inputs"] = [order[name] for name in node.inputs]
            if isinstance(node, Conv):
                row |= {"kernel": list(node.weight.shape[1:]), "groups": node.groups}
                if not (present := taps(node.weight)).all():
                    row["taps"] = ["".join("01"[int(t)] for t in row_.ravel()) for row_ in present]
            if isinstance(node, Pointwise):
                row["function"] = node.function
            if node.dtype != FLOAT32:
                row["dtype"] = node.dtype
            rows.append(row)
        rows.append({"kind": "results", "values": [[order[r.value], r.shuffle] for r in self.results]})
        return rows


def taps(weight: np.ndarray) -> np.ndarray:
    """Tell which taps of a convolution's weights are not zero for all inputs.

    A transposed convolution written as convolution and shuffle has such zeros; lowerings skip them.

    Args:
        weight: (O, I, kh, kw), of any element type.

    Returns:
        Of bool, (O, kh, kw).
    """
    return np.any(weight != 0, axis=1)
