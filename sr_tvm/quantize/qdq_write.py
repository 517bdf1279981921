"""An integer network as ONNX with QuantizeLinear and DequantizeLinear, which any engine can run in float."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from sr_tvm.quantize.blends import numbers_of
from sr_tvm.quantize.network import (
    S16,
    Blend,
    IntegerNetwork,
    Narrow,
    Node,
    QuantizedConvolution,
    QuantizedInput,
    QuantizedSum,
    Residual,
)
from sr_tvm.quantize.plain import centring, factors, offset, plain_scales

OPSET, IR_VERSION = 17, 8
FRACTION_NOTE = "bits below a byte: "  # in the doc string of a PRelu


def to_onnx(network: IntegerNetwork, means: np.ndarray | None = None) -> onnx.ModelProto:
    """Write a network as QDQ: int8 weights and int32 biases by output channel, uint8 activations of one scale each.

    Scales that differ between the channels of a value go over into the weights beside it, whose integers stay. Input
    and output are float, 0...1, (n, C, height, width).

    Args:
        network: The network.
        means: (C,) what is subtracted from the input, 0...1, not rounded to pixels; None: its zero points.

    Returns:
        A model of opset 17 for pictures of any number and size.
    """
    return _Writer(network, means).model()


class _Writer:
    def __init__(self, network: IntegerNetwork, means: np.ndarray | None) -> None:
        self.network = network
        self.scale = plain_scales(network)
        zero = network.picture.meaning.zero_point
        # As they are written: what is read back must give the same biases.
        self.means = np.asarray(zero / 255 if means is None else means, np.float32).astype(np.float64)
        self.real: dict[str, str] = {}  # a value's float tensor, where it is not that of its name
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def model(self) -> onnx.ModelProto:
        network = self.network
        for node in network.nodes:
            self._node(node)
        channels = network.channels(network.picture.name)
        out = network.channels(network.result.name) // network.shuffle**2
        last = self._of(network.result.name)
        if network.shuffle > 1:
            self._add("DepthToSpace", [last], "output", blocksize=network.shuffle, mode="CRD")
        else:
            self._add("Identity", [last], "output")
        r = network.shuffle
        sizes = ("height", "width") if r == 1 else (f"{r}*height", f"{r}*width")
        graph = helper.make_graph(
            self.nodes,
            "integer_network",
            [helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, ["n", channels, "height", "width"])],
            [helper.make_tensor_value_info("output", onnx.TensorProto.FLOAT, ["n", out, *sizes])],
            self.constants,
        )
        opset = helper.make_opsetid("", OPSET)
        return helper.make_model(graph, producer_name="sr-tvm", opset_imports=[opset], ir_version=IR_VERSION)

    def _node(self, node: Node) -> None:
        match node:
            case QuantizedInput():
                self._quantize(node, "input", np.zeros(len(self.means), np.int64))
                if np.any(self.means):
                    means = self._constant("means", self.means[:, None, None], np.float32)
                    self._add("Sub", [self._of(node.name), means], f"{node.name}_centred")
                    self.real[node.name] = f"{node.name}_centred"
            case QuantizedConvolution():
                self._convolution(node)
            case Narrow():
                self._quantize(node, self._of(node.inputs[0]))
            case QuantizedSum() if node.dtype == S16:
                self._add("Add", [self._of(name) for name in node.inputs], f"{node.name}_real")
            case Blend():
                self._blend(node)
            case Residual() | QuantizedSum():
                self._add("Add", [self._of(name) for name in node.inputs], f"{node.name}_sum")
                self._quantize(node, f"{node.name}_sum")

    def _convolution(self, node: QuantizedConvolution) -> None:
        name, source = node.name, self.network.by_name[node.inputs[0]]
        scale_in = self.scale[source.name]
        unit = factors(node) * self.scale[name] / scale_in
        zero = source.meaning.zero_point.astype(np.int64)
        bias = node.bias + node.weight.astype(np.int64).sum((2, 3)) @ zero - offset(self.network, node)
        if isinstance(source, QuantizedInput):
            bias = bias - centring(node.weight, zero, 255 * self.means)
        weight = self._constant(f"{name}_weight", node.weight, np.int8)
        by_output = self._constant(f"{name}_scale", unit, np.float32)
        self._add("DequantizeLinear", [weight, by_output], f"{name}_weight_real", axis=0)
        constant = self._constant(f"{name}_bias", bias, np.int32)
        by_sum = self._constant(f"{name}_bias_scale", (unit * scale_in).astype(np.float32), np.float32)
        self._add("DequantizeLinear", [constant, by_sum], f"{name}_bias_real", axis=0)
        tall, wide = node.weight.shape[2:]
        pads = [tall // 2, wide // 2] * 2
        out = f"{name}_real" if node.dtype == S16 else f"{name}_conv"
        self._add(
            "Conv", [self._of(source.name), f"{name}_weight_real", f"{name}_bias_real"], out,
            kernel_shape=[tall, wide], pads=pads,
        )  # fmt: skip
        if node.dtype != S16:
            if node.slope is None and not node.meaning.zero_point.any() and node is not self.network.result:
                self._add("Relu", [out], f"{name}_relu")
                out = f"{name}_relu"
            if node.slope is not None:
                slope = self._constant(f"{name}_slope", node.slope[:, None, None] / 32768.0, np.float32)
                self._add("PRelu", [out, slope], f"{name}_bent")
                # How far the sums are divided before the PReLU is no number of ONNX: readers of ours find it here.
                self.nodes[-1].doc_string = f"{FRACTION_NOTE}{node.fraction}"
                out = f"{name}_bent"
            self._quantize(node, out)

    def _blend(self, node: Blend) -> None:
        name, scale = node.name, self.scale[node.name]
        ratios, below, moved = numbers_of(node)
        made = []
        for i, source in enumerate(node.inputs):
            gain = (ratios[i] * scale / self.scale[source])[:, None, None]
            made.append(f"{name}_part{i}")
            self._add("Mul", [self._of(source), self._constant(f"{name}_gain{i}", gain, np.float32)], made[-1])
        if len(made) == 2:
            self._add("Add", made, f"{name}_sum")
            made = [f"{name}_sum"]
        if below is not None:
            slope = np.divide(below, ratios[0], out=np.zeros_like(below), where=ratios[0] != 0)[:, None, None]
            self._add("PRelu", [made[0], self._constant(f"{name}_slope", slope, np.float32)], f"{name}_bent")
            made = [f"{name}_bent"]
        shift = (moved - node.meaning.zero_point) * scale
        if np.any(shift):
            self._add(
                "Add", [made[0], self._constant(f"{name}_shift", shift[:, None, None], np.float32)], f"{name}_moved"
            )
            made = [f"{name}_moved"]
        self._quantize(node, made[0])

    def _quantize(self, node: Node, source: str, zeros: np.ndarray | None = None) -> None:
        zeros = node.meaning.zero_point if zeros is None else zeros
        one = bool((zeros == zeros[0]).all())
        scale = np.float32(self.scale[node.name])
        constants = [
            self._constant(f"{node.name}_s", scale if one else np.full(len(zeros), scale), np.float32),
            self._constant(f"{node.name}_z", zeros[0] if one else zeros, np.uint8),
        ]
        axis: dict[str, Any] = {} if one else {"axis": 1}
        self._add("QuantizeLinear", [source, *constants], f"{node.name}_q", **axis)
        self._add("DequantizeLinear", [f"{node.name}_q", *constants], f"{node.name}_real", **axis)

    def _of(self, name: str) -> str:
        return self.real.get(name, f"{name}_real")

    def _add(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> None:
        self.nodes.append(helper.make_node(operator, inputs, [output], name=f"{operator}_{output}", **attributes))

    def _constant(self, name: str, numbers: Any, dtype: Any) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(numbers, dtype), name))
        return name
