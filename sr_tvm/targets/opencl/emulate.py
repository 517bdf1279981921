"""What the kernels of a region compute in float16, step by step on this CPU: no driver here has such arithmetic."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sr_tvm.regions.region import Conv, Pointwise, Region
from sr_tvm.regions.value import FLOAT16
from sr_tvm.targets.opencl.decisions import OpenClDecisions
from sr_tvm.targets.opencl.shares import LANES
from sr_tvm.targets.opencl.stages import cut_stages
from sr_tvm.targets.opencl.steps import AddedConvolution, Apply, ConvolutionSum, Join, Load, plan_steps
from sr_tvm.targets.opencl.weights import ungrouped

Arrays = dict[str, np.ndarray]


def emulate(region: Region, decisions: OpenClDecisions, inputs: Mapping[str, np.ndarray]) -> Arrays:
    """Compute the results of a region as its kernels do with float16 in memory, and in float16 where sums are.

    Numbers are added in the kernels' order. Each product with its addition is rounded once, as a fused multiply-add
    does; a GPU that rounds the product, too, is a little worse.

    Args:
        region: What the kernels compute.
        decisions: How it is cut into kernels, and what each adds in; an item of ``stages`` for each of them.
        inputs: By source, (C, H, W) float32.

    Returns:
        By value, (C, H, W) float32, before a pixel shuffle.
    """
    memory: Arrays = {name: array.astype(np.float32) for name, array in inputs.items()}
    results = {result.value for result in region.results}
    found: Arrays = {}
    pieces = cut_stages(region, *decisions.way)
    for piece, decided in zip(pieces, decisions.stages, strict=True):
        half = decided.sums == FLOAT16
        made = _Stage(piece.region, memory, half).run(decisions.narrow)
        for result in piece.region.results:
            if result.value in results:
                found[result.value] = made[result.value]
            memory[result.value] = _round(made[result.value])
    return found


def _round(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float16).astype(np.float32)


class _Stage:
    """One stage on whole pictures; ``values`` are what work-items have in registers."""

    def __init__(self, region: Region, memory: Mapping[str, np.ndarray], half: bool) -> None:
        self.region, self.memory = region, memory
        self.keep = _round if half else lambda array: array
        self.values: Arrays = {}

    def run(self, narrow: int) -> Arrays:
        for step in plan_steps(self.region, narrow):
            match step:
                case Load():
                    value = self.keep(self.memory[step.value])
                case Apply():
                    value = self._arithmetic(step.node, self.values[step.node.inputs[0]])
                case Join():
                    value = np.concatenate([self.values[name] for name in step.node.inputs])
                case ConvolutionSum():
                    value = self._sum(step)
            self.values[step.value] = value
        return self.values

    def _sum(self, step: ConvolutionSum) -> np.ndarray:
        size = next(iter(self.memory.values())).shape[1:]
        bias = _round(step.bias.astype(np.float32))
        total = np.zeros((step.channels, *size), np.float32)
        for name in step.centers:
            total = self.keep(total + self.values[name])
        total = self.keep(total + bias[:, None, None])
        for product in step.convs:
            self._add(total, product)
        return total

    def _add(self, total: np.ndarray, product: AddedConvolution) -> None:
        if product.hidden is not None:
            self._add_hidden(total, product)
            return
        conv = product.conv
        weight, first = _weight(conv), 0
        for name in conv.inputs:
            x = self.values[name] if product.registers else self._seen(name)
            channels = self.region.by_name[name].channels
            self._convolve(total, x, weight[:, first : first + channels])
            first += channels

    def _convolve(self, total: np.ndarray, x: np.ndarray, weight: np.ndarray) -> None:
        """Add a convolution in the order of the kernels: rows, groups of four channels, columns, channels."""
        _, channels, tall, wide = weight.shape
        _, height, width = x.shape
        padded = np.pad(x, ((0, 0), (tall // 2, tall // 2), (wide // 2, wide // 2)))
        for dy in range(tall):
            for group in range(0, channels, LANES):
                for dx in range(wide):
                    for c in range(group, min(group + LANES, channels)):
                        seen = padded[c, dy : dy + height, dx : dx + width]
                        total[:] = self.keep(total + weight[:, c, dy, dx, None, None] * seen)

    def _add_hidden(self, total: np.ndarray, product: AddedConvolution) -> None:
        assert product.hidden is not None
        expand, project = product.hidden.expand, _weight(product.conv)[:, :, 0, 0]
        x = np.concatenate([self.values[name] for name in expand.inputs])
        weight, bias = _weight(expand)[:, :, 0, 0], _round(expand.bias)
        for first in range(0, expand.channels, LANES):
            some = slice(first, first + LANES)
            hidden = np.repeat(bias[some, None], x[0].size, 1).reshape(-1, *x.shape[1:])
            for c, plane in enumerate(x):
                hidden = self.keep(hidden + weight[some, c, None, None] * plane)
            for node in product.hidden.arithmetic:
                hidden = self._arithmetic(node, hidden, some)
            for lane, plane in enumerate(hidden):
                total[:] = self.keep(total + project[:, first + lane, None, None] * plane)

    def _seen(self, name: str) -> np.ndarray:
        """Return a value in memory as a convolution reads it, with the arithmetic on the way."""
        node = self.region.by_name[name]
        if isinstance(node, Pointwise):
            return self._arithmetic(node, self._seen(node.inputs[0]))
        return self.keep(self.memory[name])

    def _arithmetic(self, node: Pointwise, x: np.ndarray, some: slice = slice(None)) -> np.ndarray:
        with np.errstate(over="ignore"):  # the bounds of a clip may be infinite
            given = [_round(np.asarray(p, np.float32))[some, None, None] for p in node.parameters]
        match node.function:
            case "relu":
                return np.maximum(x, 0)
            case "prelu":
                return self.keep(np.maximum(x, 0) + given[0] * np.minimum(x, 0))
            case "clip":
                return np.minimum(np.maximum(x, given[0]), given[1])
            case "shift":
                return self.keep(x + given[0])
            case "scale":
                return self.keep(x * given[0])


def _weight(conv: Conv) -> np.ndarray:
    dense = ungrouped(conv.weight, conv.groups) if conv.groups > 1 else conv.weight
    return _round(dense.astype(np.float32))
