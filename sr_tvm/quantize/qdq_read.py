"""An integer network from ONNX with QuantizeLinear and DequantizeLinear: ours, or another quantiser's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from sr_tvm.errors import SrTvmError
from sr_tvm.quantize.network import S16, U8, Convolution, IntegerNetwork, Meaning, Narrow, Node, Picture, Residual, Sum
from sr_tvm.quantize.plain import LEAST_WIDE, SPARE_BITS, centring, offset

FRACTION_BITS = 6
MOST_SHIFT = 24
EXACT = 1e-4  # of a scale's ratio to a power of two, below which it is one: scales are float32
PASSED = ("Identity", "Clip")


def is_quantized(path: str | Path) -> bool:
    """Whether a file is ONNX with QuantizeLinear; what is no ONNX at all is others' to refuse."""
    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception:  # protobuf raises many kinds
        return False
    return any(node.op_type == "QuantizeLinear" for node in model.graph.node)


def from_onnx(path: str | Path) -> IntegerNetwork:
    """Read a QDQ network whose every convolution reads and makes uint8, with int8 weights.

    Scales become shifts where they are powers of two apart, else multipliers.

    Raises:
        SrTvmError: it is damaged, or has an operator, type or form that has no integer kernel; the message names it.
    """
    try:
        model = onnx.load(str(path))
        onnx.checker.check_model(model)
    except Exception as error:
        raise SrTvmError(f"{path}: not a valid ONNX model: {' '.join(str(error).split())[:200]}") from None
    return _Reader(model, str(path)).network()


class _Reader:
    def __init__(self, model: onnx.ModelProto, where: str) -> None:
        self.graph, self.where = model.graph, where
        self.constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
        for node in self.graph.node:
            if node.op_type == "Constant":
                self.constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        self.maker = {name: node for node in self.graph.node for name in node.output}
        self.readers: dict[str, list[onnx.NodeProto]] = {}
        for node in self.graph.node:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)
        self.nodes: dict[str, Node] = {}
        self.scale: dict[str, float] = {}
        self.halfwords: dict[str, str] = {}  # by float tensor, a sum of a residual path that is not rounded to bytes
        self.exact: np.ndarray | None = None  # the picture's means before they are rounded, in pixels

    def fail(self, node: onnx.NodeProto, why: str) -> SrTvmError:
        return SrTvmError(f"{self.where}: {node.op_type} {node.name or node.output[0]!r}: {why}")

    def network(self) -> IntegerNetwork:
        inputs = [v.name for v in self.graph.input if v.name not in self.constants]
        if len(inputs) != 1 or len(self.graph.output) != 1:
            raise SrTvmError(
                f"{self.where}: {len(inputs)} inputs, {len(self.graph.output)} outputs; one of each is wanted"
            )
        shuffle, stored = self._result()
        for node in self.graph.node:
            if node.op_type == "QuantizeLinear" and node.input[0] not in self.constants:
                self._stored(node, inputs[0])
            elif node.op_type not in KNOWN:
                raise self.fail(node, f"has no integer form; {', '.join(sorted(KNOWN))} have")
        if stored not in self.nodes:
            raise SrTvmError(f"{self.where}: the output does not come from a quantised value")
        order = list(self.nodes.values())
        if order[-1].name != stored:
            raise SrTvmError(f"{self.where}: something is computed that the output does not depend on")
        return IntegerNetwork(tuple(order), shuffle)

    # The graph

    def _made(self, name: str, passed: tuple[str, ...] = PASSED) -> onnx.NodeProto | None:
        node = self.maker.get(name)
        while node is not None and node.op_type in passed:
            node = self.maker.get(node.input[0])
        return node

    def _result(self) -> tuple[int, str]:
        """The shuffle at the end, and the quantised value before it."""
        node, shuffle = self._made(self.graph.output[0].name), 1
        while node is not None and node.op_type in ("DepthToSpace", "DequantizeLinear", "QuantizeLinear"):
            if node.op_type == "DepthToSpace":
                attributes = _attributes(node)
                if attributes.get("mode", b"DCR") != b"CRD" or shuffle != 1:
                    raise self.fail(node, "only one, in mode CRD, has an integer form")
                shuffle = int(attributes["blocksize"])
            before = self._made(node.input[0])
            if node.op_type == "QuantizeLinear" and (before is None or before.op_type != "DepthToSpace"):
                return shuffle, node.output[0]
            node = before
        raise SrTvmError(f"{self.where}: the output does not come from a quantised value")

    def _numbers(self, name: str, node: onnx.NodeProto) -> np.ndarray:
        if name not in self.constants:
            raise self.fail(node, f"{name!r} is no constant")
        return self.constants[name]

    def _meaning(self, node: onnx.NodeProto, channels: int) -> Meaning:
        """Of a QuantizeLinear's value."""
        scale = np.asarray(self._numbers(node.input[1], node), np.float64).ravel()
        zero = self._numbers(node.input[2], node) if len(node.input) > 2 else np.zeros(1, np.uint8)
        if zero.dtype != np.uint8:
            raise self.fail(node, f"activations are {zero.dtype}; uint8 ones have an integer form here")
        for count in (scale.size, zero.size):
            if count not in (1, channels):
                raise self.fail(node, f"{count} scales or zero points for {channels} channels")
        if scale.size > 1 and np.ptp(scale) > EXACT * scale[0]:
            raise self.fail(node, "activations with a scale by channel; give one scale a tensor")
        zeros = np.broadcast_to(zero.ravel().astype(np.int64), (channels,)).copy()
        return Meaning(np.full(channels, scale[0]), zeros)

    def _value(self, name: str, node: onnx.NodeProto) -> str:
        """The quantised value that a float tensor is the dequantised form of."""
        maker = self._made(name)
        if maker is not None and self._centres(maker):
            maker = self._made(next(n for n in maker.input if n not in self.constants))
        if maker is None or maker.op_type != "DequantizeLinear":
            raise self.fail(node, f"reads {name!r}, which is not quantised")
        found = maker.input[0]
        if found not in self.nodes:
            raise self.fail(node, f"reads {name!r}, which is not quantised before")
        return found

    def _stored(self, node: onnx.NodeProto, picture: str) -> None:
        """What ends in a QuantizeLinear."""
        value, maker = node.output[0], self._made(node.input[0], (*PASSED, "Relu"))
        if maker is not None and maker.op_type == "DepthToSpace":
            return  # the result's second one, of the same numbers
        relu = self._relu(node.input[0])
        if maker is None or self._centres(maker) and picture in maker.input:
            self._picture(node, value, maker)
        elif maker.op_type == "Conv":
            self._convolution(node, value, maker, relu)
        elif maker.op_type == "Add" and not relu:
            self._sum(node, value, maker)
        elif maker.op_type == "DequantizeLinear":
            raise self.fail(node, "quantises again what is quantised; this has no integer form here")
        else:
            raise self.fail(maker, "has no integer form with what follows it")

    def _relu(self, name: str) -> bool:
        node = self.maker.get(name)
        while node is not None and node.op_type in PASSED:
            node = self.maker.get(node.input[0])
        return node is not None and node.op_type == "Relu"

    def _centres(self, node: onnx.NodeProto) -> bool:
        """Whether a node adds or subtracts a constant by channel."""
        return node.op_type in ("Sub", "Add") and any(name in self.constants for name in node.input)

    def _means(self, node: onnx.NodeProto, channels: int) -> np.ndarray:
        """What a node subtracts, by channel."""
        constant = next(self.constants[name] for name in node.input if name in self.constants)
        means = np.broadcast_to(np.asarray(constant, np.float64).reshape(-1), (channels,))
        return means if node.op_type == "Sub" else -means

    def _picture(self, node: onnx.NodeProto, value: str, maker: onnx.NodeProto | None) -> None:
        """The picture's bytes; a mean that is subtracted before or after they are quantised is their zero point."""
        (tensor,) = [v.type.tensor_type for v in self.graph.input if v.name not in self.constants]
        channels = tensor.shape.dim[1].dim_value
        meaning = self._meaning(node, channels)
        if abs(meaning.scale[0] * 255 - 1) > 0.01:
            raise self.fail(node, f"pixels in steps of {meaning.scale[0]:.6f}; bytes of a picture are 1/255 apart")
        if maker is not None:
            means = self._means(maker, channels)
            if np.abs(np.round(means * 255) - meaning.zero_point).max() > 0:
                raise self.fail(node, f"zero points {meaning.zero_point.tolist()}, means {means.round(4).tolist()}: "
                                "a picture's bytes would not be its quantised values")  # fmt: skip
        elif meaning.zero_point.any():
            raise self.fail(node, f"a picture's bytes have zero point 0, not {meaning.zero_point.tolist()}")
        after = [n for n in self.graph.node if self._centres(n) and value in self._quantised_of(n)]
        if after:
            self.exact = 255 * self._means(after[0], channels)
            meaning = Meaning(meaning.scale, np.clip(np.round(self.exact), 0, 255).astype(np.int64))
        self.nodes[value], self.scale[value] = Picture(value, meaning), float(meaning.scale[0])

    def _quantised_of(self, node: onnx.NodeProto) -> list[str]:
        made = [self._made(name) for name in node.input]
        return [m.input[0] for m in made if m is not None and m.op_type == "DequantizeLinear"]

    def _weights(self, node: onnx.NodeProto) -> tuple[np.ndarray, np.ndarray]:
        """The int8 weights of a Conv, and their scales by output."""
        made = self.maker.get(node.input[1])
        if made is None or made.op_type != "DequantizeLinear":
            raise self.fail(node, "its weights are not quantised")
        weight = self._numbers(made.input[0], made)
        if weight.dtype != np.int8 or (len(made.input) > 2 and np.any(self._numbers(made.input[2], made))):
            raise self.fail(node, "its weights are not int8 with zero point 0")
        scale = np.asarray(self._numbers(made.input[1], made), np.float64).ravel()
        return weight, np.broadcast_to(scale, (len(weight),)).copy()

    def _plain_bias(self, node: onnx.NodeProto, unit: np.ndarray) -> np.ndarray:
        """In units of the sums."""
        if len(node.input) < 3 or not node.input[2]:
            return np.zeros(len(unit), np.int64)
        name = node.input[2]
        made = self.maker.get(name)
        if made is not None and made.op_type == "DequantizeLinear":
            integers = self._numbers(made.input[0], made).astype(np.float64)
            scale = np.asarray(self._numbers(made.input[1], made), np.float64).ravel()
            if np.allclose(scale, unit, rtol=EXACT, atol=0):
                return integers.astype(np.int64)
            return np.round(integers * scale / unit).astype(np.int64)
        return np.round(self._numbers(name, node).astype(np.float64) / unit).astype(np.int64)

    def _check_conv(self, node: onnx.NodeProto, weight: np.ndarray) -> None:
        given, (tall, wide) = _attributes(node), weight.shape[2:]
        if given.get("group", 1) != 1 or any(n != 1 for key in ("strides", "dilations") for n in given.get(key, [1])):
            raise self.fail(node, "groups, strides and dilations other than 1 have no integer form")
        same = [tall // 2, wide // 2] * 2
        automatic = given.get("auto_pad", b"NOTSET") in (b"SAME_UPPER", b"SAME_LOWER")
        if tall % 2 == 0 or wide % 2 == 0 or not (automatic or list(given.get("pads", [0] * 4)) == same):
            raise self.fail(node, "only an odd kernel with as many pixels out as in has an integer form")

    def _made_convolution(
        self, name: str, node: onnx.NodeProto, dtype: str, scale: float, meaning: Meaning
    ) -> _Pending:
        weight, scales = self._weights(node)
        self._check_conv(node, weight)
        source = self._value(node.input[0], node)
        unit = scales * self.scale[source]
        shift, multiplier = requantized(unit / scale, 0 if dtype == S16 else SPARE_BITS)
        zero = self.nodes[source].meaning.zero_point
        bias = self._plain_bias(node, unit) - weight.astype(np.int64).sum((2, 3)) @ zero
        if self.exact is not None and isinstance(self.nodes[source], Picture):  # what rounding the means has moved
            bias = bias + centring(weight, zero, self.exact)
        return _Pending(name, source, weight, bias, shift, multiplier, dtype, meaning)

    def _convolution(self, node: onnx.NodeProto, value: str, maker: onnx.NodeProto, relu: bool) -> None:
        channels = len(self._weights(maker)[0])
        meaning = self._meaning(node, channels)
        if not relu and self._kept(maker.output[0]):
            self._wide(value, maker, meaning, None)
            return
        if relu and meaning.zero_point.any():
            raise self.fail(node, "a ReLU's zero point is 0 in its integer form")
        made = self._made_convolution(value, maker, U8, float(meaning.scale[0]), meaning)
        self._keep({**self.nodes, value: made.node(np.zeros(channels, np.int64))}, [made])
        self.scale[value] = float(meaning.scale[0])

    def _kept(self, name: str) -> bool:
        """Whether a float tensor is added to something beside being quantised."""
        return any(node.op_type == "Add" and not self._centres(node) for node in self.readers[name])

    def _wide(self, value: str, maker: onnx.NodeProto, meaning: Meaning, trunk: str | None) -> None:
        """A value of a residual path: a convolution, or the sum of one and ``trunk``, as halfwords; and as bytes."""
        half = Meaning(meaning.scale / (1 << FRACTION_BITS), np.zeros(len(meaning.scale), np.int64))
        name, small = f"{value}_halfword", float(half.scale[0])
        nodes = dict(self.nodes)
        if trunk is None:
            made = self._made_convolution(name, maker, S16, small, half)
        else:
            (branch,) = (n for n in maker.input if n != trunk)
            made = self._made_convolution(f"{branch}_halfword", self.maker[branch], S16, small, half)
        if trunk is None and made.multiplier is not None and made.multiplier.min() < LEAST_WIDE:
            raise self.fail(maker, "begins a residual path of float numbers, and the scales of its weights are too far "
                            "apart for 16 bits; quantise what is added, too")  # fmt: skip
        nodes[made.name] = made.node(np.zeros(len(meaning.scale), np.int64))
        if trunk is not None:
            nodes[name] = Sum(name, (made.name, self.halfwords[trunk]), 0, half, S16)
        nodes[value] = Narrow(value, (name,), FRACTION_BITS, meaning)
        self._keep(nodes, [made])
        self.scale[value], self.halfwords[maker.output[0]] = float(meaning.scale[0]), name

    def _keep(self, nodes: dict[str, Node], pending: list[_Pending]) -> None:
        """Add the zero points to the biases of new convolutions, once what reads them is known."""
        network = IntegerNetwork(tuple(nodes.values()), 1)
        for made in pending:
            bare = nodes[made.name]
            assert isinstance(bare, Convolution)
            nodes[made.name] = made.node(offset(network, bare))
        self.nodes = nodes

    def _sum(self, node: onnx.NodeProto, value: str, maker: onnx.NodeProto) -> None:
        convolutions = [name for name in maker.input if self._is_conv(name)]
        others = [name for name in maker.input if name not in convolutions]
        if not convolutions:
            raise self.fail(
                maker, "a sum has an integer form where one of its inputs is a convolution not yet quantised"
            )
        if others and others[0] in self.halfwords:
            self._wide(value, maker, self._meaning(node, len(self._weights(self.maker[convolutions[0]])[0])), others[0])
            return
        first = self.maker[convolutions[0]]
        channels = len(self._weights(first)[0])
        meaning = self._meaning(node, channels)
        scale = float(meaning.scale[0])
        half = Meaning(meaning.scale / (1 << FRACTION_BITS), np.zeros(channels, np.int64))
        small = scale / (1 << FRACTION_BITS)
        nodes, pending = dict(self.nodes), []
        for name in convolutions:
            made = self._made_convolution(f"{name}_halfword", self.maker[name], S16, small, half)
            nodes[made.name] = made.node(np.zeros(channels, np.int64))
            pending.append(made)
        if others:
            trunk = self._value(others[0], maker)
            factor = round(self.scale[trunk] / small)
            if not 1 <= factor <= 127:
                raise self.fail(
                    maker, f"a residual of scale {self.scale[trunk]:.3g} on one of {scale:.3g}: too far apart"
                )
            nodes[value] = Residual(value, (pending[0].name, trunk), factor, FRACTION_BITS, meaning)
        else:
            nodes[value] = Sum(value, (pending[0].name, pending[1].name), FRACTION_BITS, meaning)
        self._keep(nodes, pending)
        self.scale[value] = scale

    def _is_conv(self, name: str) -> bool:
        node = self.maker.get(name)
        return node is not None and node.op_type == "Conv" and len(self.readers[name]) == 1


KNOWN = frozenset(
    {"Conv", "Relu", "Add", "Sub", "QuantizeLinear", "DequantizeLinear", "DepthToSpace", "Constant", *PASSED}
)


class _Pending:
    """A convolution whose bias still lacks the zero point of what is stored in the end."""

    def __init__(
        self, name: str, source: str, weight: np.ndarray, bias: np.ndarray, shift: int, multiplier: np.ndarray | None,
        dtype: str, meaning: Meaning,
    ) -> None:  # fmt: skip
        self.name, self.source, self.weight, self.bias = name, source, weight, bias
        self.shift, self.multiplier, self.dtype, self.meaning = shift, multiplier, dtype, meaning

    def node(self, zeros: np.ndarray) -> Convolution:
        bias = np.clip(self.bias + zeros, -(2**31), 2**31 - 1).astype(np.int32)
        return Convolution(
            self.name, (self.source,), self.weight, bias, self.shift, self.multiplier, self.dtype, self.meaning
        )


def requantized(ratio: np.ndarray, spare: int = 0) -> tuple[int, np.ndarray | None]:
    """The shift that multiplies sums by ``ratio`` (O,), and the multipliers where no power of two does.

    ``spare`` bits of the halfwords between are below a unit of the value.
    """
    shift = int(np.floor(-np.log2(ratio.max()) + EXACT))
    shift = min(max(shift, 0), MOST_SHIFT)
    if np.abs(ratio * 2.0**shift - 1).max() < EXACT:
        return shift, None
    shift = max(0, shift - spare)
    return shift, np.clip(np.round(ratio * 2.0**shift * 32768), 1, 32767).astype(np.int16)


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
