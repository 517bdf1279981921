"""An integer network from ONNX with QuantizeLinear and DequantizeLinear: ours, or another quantiser's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import onnx
from onnx import numpy_helper

from sr_tvm.errors import SrTvmError
from sr_tvm.quantize.network import IntegerNetwork
from sr_tvm.quantize.plain import centring
from sr_tvm.quantize.qdq_nodes import STEP, Nodes
from sr_tvm.quantize.qdq_values import Bytes, Constant, Halfwords, Line, Product, Real, Steps, Tensor, Total
from sr_tvm.quantize.qdq_write import FRACTION_NOTE
from sr_tvm.regions import transposed

SIGNED = 128  # what signed bytes are kept larger by


def is_quantized(path: str | Path) -> bool:
    """Tell whether a file is an ONNX model of quantised operators.

    Args:
        path: The file, of any kind.

    Returns:
        False, too, where it is no ONNX or can't be read: refusing that is left to who reads it.
    """
    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception:  # protobuf raises many kinds
        return False
    return has_quantized(model)


def has_quantized(model: onnx.ModelProto) -> bool:
    """Tell whether an ONNX model has quantised operators.

    Args:
        model: The model, as it was parsed.

    Returns:
        True where there is a QuantizeLinear or a QLinearConv.
    """
    return any(node.op_type in ("QuantizeLinear", "QLinearConv") for node in model.graph.node)


def from_onnx(path: str | Path, parsed: onnx.ModelProto | None = None) -> IntegerNetwork:
    """Read a QDQ network of 8-bit activations and weights: ours, or by ONNX Runtime's quantiser and such.

    Scales become shifts where they are powers of two apart, else multipliers; what stands between two quantisations
    without a convolution becomes a blend. The picture is uint8, 0...255, whatever the file's input is scaled by, and so
    is the result.

    Args:
        path: The file; where ``parsed`` is given, what errors name, and beside which other files with its data lie.
        parsed: What the file holds, if it was read before: data in other files is read into it. None: the file is read.

    Returns:
        The network in integers.

    Raises:
        SrTvmError: It is damaged, or has an operator, type or form that has no integer kernel; the message names it.
    """
    try:
        model = onnx.load(str(path)) if parsed is None else parsed
        onnx.load_external_data_for_model(model, str(Path(path).parent))
        onnx.checker.check_model(model)
    except Exception as error:
        raise SrTvmError(f"{path}: not a valid ONNX model: {' '.join(str(error).split())[:200]}") from None
    return _Reader(model, str(path)).network()


class _Reader:
    """A reader that goes through the nodes in order: what each tensor is follows from what its inputs are."""

    def __init__(self, model: onnx.ModelProto, where: str) -> None:
        self.graph, self.where = model.graph, where
        self.tensors: dict[str, Tensor] = {
            t.name: Constant(numpy_helper.to_array(t)) for t in self.graph.initializer
        }  # fmt: skip
        self.readers: dict[str, int] = {}
        self.quantizers: dict[str, onnx.NodeProto] = {}  # by what they read
        for node in self.graph.node:
            for name in node.input:
                self.readers[name] = self.readers.get(name, 0) + 1
            if node.op_type == "QuantizeLinear":
                self.quantizers[node.input[0]] = node
        self.operators: dict[str, Callable[[onnx.NodeProto], Tensor]] = {
            "Constant": lambda node: Constant(numpy_helper.to_array(node.attribute[0].t)),
            "Identity": lambda node: self._input(node, 0),
            "QuantizeLinear": self._quantize,
            "DequantizeLinear": self._dequantize,
            "Conv": self._conv,
            "ConvTranspose": self._transposed,
            "Relu": lambda node: self._bent(node, np.zeros(1)),
            "LeakyRelu": lambda node: self._bent(node, np.array([_attributes(node).get("alpha", 0.01)])),
            "PRelu": lambda node: self._bent(node, self._constant(node, 1).real),
            "Clip": self._clip,
            "Add": self._add,
            "Sub": self._add,
            "Mul": self._scaled,
            "Div": self._scaled,
            "DepthToSpace": self._shuffle,
        }

    def fail(self, node: onnx.NodeProto, why: str) -> NoReturn:
        raise SrTvmError(f"{self.where}: {node.op_type} {node.name or node.output[0]!r}: {why}") from None

    def network(self) -> IntegerNetwork:
        inputs = [v for v in self.graph.input if v.name not in self.tensors]
        if len(inputs) != 1 or len(self.graph.output) != 1:
            raise SrTvmError(
                f"{self.where}: {len(inputs)} inputs, {len(self.graph.output)} outputs; one of each is wanted"
            )
        self._picture(inputs[0])
        for node in self.graph.node:
            if node.op_type not in self.operators:
                self.fail(node, f"has no integer form; {', '.join(sorted(self.operators))} have")
            try:
                self.tensors[node.output[0]] = self.operators[node.op_type](node)
            except SrTvmError as error:
                if str(error).startswith(self.where):
                    raise
                self.fail(node, str(error))
            except (ValueError, IndexError, KeyError, TypeError) as error:  # shapes that do not go together, and such
                self.fail(node, f"its inputs or attributes do not go together: {' '.join(str(error).split())[:150]}")
        return self._result(self.graph.output[0].name)

    def _picture(self, given: onnx.ValueInfoProto) -> None:
        tensor = given.type.tensor_type
        if len(tensor.shape.dim) != 4 or not tensor.shape.dim[1].dim_value:
            raise SrTvmError(f"{self.where}: input {given.name!r} is no (1, C, height, width) with a known C")
        channels = tensor.shape.dim[1].dim_value
        self.nodes = Nodes(f"{given.name}_pixels" if given.name in self.tensors else given.name, channels)
        line = Line(((self.nodes.picture, np.ones(channels)),), np.zeros(channels))
        self.tensors[given.name] = line
        kind = tensor.elem_type
        if kind not in (onnx.TensorProto.FLOAT, onnx.TensorProto.UINT8, onnx.TensorProto.INT8):
            raise SrTvmError(f"{self.where}: input {given.name!r} is neither float32, uint8 nor int8")

    def _result(self, name: str) -> IntegerNetwork:
        """Return the network up to the output; where bytes are scaled otherwise than pixels, one more step makes these.

        Raises:
            SrTvmError: The output is not quantised, or the picture itself.
        """
        found = self.tensors.get(name)
        if isinstance(found, Bytes):
            found = self._real_of(found)
        if not isinstance(found, Line):
            raise SrTvmError(f"{self.where}: the output does not come from a quantised value")
        try:
            pixels = self.nodes.quantized("pixels_of_the_result", found, Steps(STEP))
        except SrTvmError as error:
            raise SrTvmError(f"{self.where}: output {name!r}: {error}") from None
        if pixels.value == self.nodes.picture:
            raise SrTvmError(f"{self.where}: the output is the picture itself")
        return self.nodes.network(pixels.value, found.shuffle)

    # What inputs are

    def _input(self, node: onnx.NodeProto, i: int) -> Tensor:
        found = self.tensors.get(node.input[i])
        if found is None:
            self.fail(node, f"reads {node.input[i]!r}, which nothing makes before it")
        return found

    def _constant(self, node: onnx.NodeProto, i: int) -> Constant:
        found = self._input(node, i)
        if not isinstance(found, Constant):
            self.fail(node, f"{node.input[i]!r} is no constant")
        return found

    def _real(self, node: onnx.NodeProto, i: int = 0) -> Real:
        found = self._input(node, i)
        if isinstance(found, Constant | Bytes):
            self.fail(node, f"reads {node.input[i]!r}, which is {type(found).__name__.lower()}, as real numbers")
        if isinstance(found, Product | Total) and self.readers[node.input[i]] > 1:
            self.fail(node, f"reads {node.input[i]!r}, which something else reads before it is quantised")
        return found

    def _by_channel(self, node: onnx.NodeProto, numbers: np.ndarray, real: Line | Product) -> np.ndarray:
        """Return numbers of one axis by channel, as channels are before the pixel shuffle."""
        channels = len(real.constant if isinstance(real, Line) else real.unit)
        shape = np.shape(numbers)
        if numbers.size > 1 and not (len(shape) >= 3 and shape[-3] == numbers.size):
            self.fail(node, f"a constant of shape {list(shape)}; one number, or one by channel, has an integer form")
        flat = np.asarray(numbers, np.float64).ravel()
        if flat.size > 1 and real.shuffle > 1:
            flat = np.repeat(flat, real.shuffle**2)
        if flat.size not in (1, channels):
            self.fail(node, f"{flat.size} numbers for {channels} channels")
        return np.broadcast_to(flat, (channels,)).copy()

    # Quantisation

    def _steps(self, node: onnx.NodeProto) -> Steps:
        scale = np.asarray(self._constant(node, 1).numbers, np.float64).ravel()
        zero = np.asarray(self._constant(node, 2).numbers if len(node.input) > 2 and node.input[2] else np.uint8(0))
        if zero.dtype not in (np.uint8, np.int8):
            self.fail(node, f"activations are {zero.dtype}; uint8 and int8 ones have an integer form")
        if scale.size > 1 and np.ptp(scale) > 1e-6 * scale[0]:
            self.fail(node, "activations with a scale by channel; give one scale a tensor")
        if not np.isfinite(scale[0]) or scale[0] <= 0:
            self.fail(node, f"a scale of {scale[0]:g}")
        return Steps(float(scale[0]), zero.ravel().astype(np.int64) + (SIGNED if zero.dtype == np.int8 else 0))

    def _quantize(self, node: onnx.NodeProto) -> Tensor:
        found = self._input(node, 0)
        if isinstance(found, Constant):  # as ONNX Runtime's quantiser writes means
            scale, zero = self._constant(node, 1).real, self._constant(node, 2).numbers
            limits = np.iinfo(zero.dtype)
            return Constant(np.clip(np.rint(found.real / scale) + zero, limits.min, limits.max).astype(zero.dtype))
        if isinstance(found, Halfwords) and found.quantized == node.output[0]:
            return Bytes(found.quantized, 1)
        return self.nodes.quantized(node.output[0], self._real(node), self._steps(node))

    def _dequantize(self, node: onnx.NodeProto) -> Tensor:
        found = self._input(node, 0)
        if isinstance(found, Constant):
            axis = _attributes(node).get("axis", 1)
            scale, zero = (np.asarray(n) for n in (self._constant(node, 1).numbers, self._zero(node, found)))
            if scale.size > 1:
                shape = [-1 if i == axis % found.numbers.ndim else 1 for i in range(found.numbers.ndim)]
                scale, zero = scale.reshape(shape), zero.reshape(shape) if zero.size > 1 else zero
            return Constant(found.numbers.astype(np.int64) - zero.astype(np.int64), scale.astype(np.float64))
        if isinstance(found, Line):  # the input, of bytes
            found = self.nodes.quantized(node.output[0], found, self._steps(node))
        if not isinstance(found, Bytes):
            self.fail(node, f"reads {node.input[0]!r}, which is not quantised")
        return self._real_of(found)

    def _zero(self, node: onnx.NodeProto, found: Constant) -> np.ndarray:
        given = len(node.input) > 2 and node.input[2]
        return self._constant(node, 2).numbers if given else np.zeros(1, found.numbers.dtype)

    def _real_of(self, found: Bytes) -> Line:
        channels = len(self.nodes.meaning(found.value).scale)
        constant = np.zeros(channels) if found.constant is None else found.constant
        return Line(((found.value, np.ones(channels)),), constant, shuffle=found.shuffle)

    # Convolutions

    def _weights(self, node: onnx.NodeProto, outputs: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the weights as int8, and what a unit of them stands for by output, which is axis ``outputs``."""
        found = self._constant(node, 1)
        if found.scale is None:
            self.fail(node, "its weights are not quantised")
        if np.abs(found.numbers + 0.5).max() > 128:
            self.fail(node, "its weights less their zero point are no int8: beyond -128...127")
        count = found.numbers.shape[outputs]
        if found.scale.size > 1 and found.scale.shape[outputs] != count:
            self.fail(node, "its weights have scales along another axis than that of its outputs")
        return found.numbers.astype(np.int8), np.broadcast_to(found.scale.ravel(), (count,)).copy()

    def _source(self, node: onnx.NodeProto) -> tuple[str, np.ndarray]:
        """Return the value that a convolution reads, and which of its bytes stands for 0, by channel, not rounded."""
        line = self._real(node)
        whole = isinstance(line, Line) and len(line.terms) == 1 and line.slope is None and line.shuffle == 1
        if not whole or not isinstance(line, Line) or np.abs(line.terms[0][1] - 1).max() > 1e-6:
            self.fail(node, f"reads {node.input[0]!r}, which is not quantised")
        ((value, _),) = line.terms
        meaning = self.nodes.meaning(value)
        zero = meaning.zero_point - line.constant / meaning.scale
        if value == self.nodes.picture:
            self.nodes.centred(zero)
        elif line.constant.any():
            self.fail(node, f"reads {node.input[0]!r}, to which something is added after it was quantised")
        return value, zero

    def _product(
        self, node: onnx.NodeProto, weight: np.ndarray, scale: np.ndarray, value: str, exact: np.ndarray, each: int = 1
    ) -> Product:
        """Return a convolution's sums; ``each`` outputs, one after another, share a number of the file's bias."""
        unit = scale * float(self.nodes.meaning(value).scale[0])
        bias = np.zeros(len(unit), np.int64)
        if len(node.input) > 2 and node.input[2]:
            bias = np.round(np.repeat(self._constant(node, 2).real.ravel(), each) / unit).astype(np.int64)
        zero = self.nodes.by_name[value].meaning.zero_point
        bias = bias - weight.astype(np.int64).sum((2, 3)) @ zero
        if value == self.nodes.picture:
            bias = bias + centring(weight, zero, exact)  # what rounding the means has moved
        return Product(node.output[0], value, weight, unit, bias)

    def _conv(self, node: onnx.NodeProto) -> Tensor:
        weight, scale = self._weights(node, 0)
        given, (tall, wide) = _attributes(node), weight.shape[2:]
        if given.get("group", 1) != 1 or any(n != 1 for key in ("strides", "dilations") for n in given.get(key, [1])):
            self.fail(node, "groups, strides and dilations other than 1 have no integer form")
        automatic = given.get("auto_pad", b"NOTSET") in (b"SAME_UPPER", b"SAME_LOWER")
        same = automatic or list(given.get("pads", [0] * 4)) == [tall // 2, wide // 2] * 2
        if tall % 2 == 0 or wide % 2 == 0 or not same:
            self.fail(node, "only an odd kernel with as many pixels out as in has an integer form")
        return self._kept(node, self._product(node, weight, scale, *self._source(node)))

    def _kept(self, node: onnx.NodeProto, found: Product | Total) -> Tensor:
        """Return a sum as halfwords where it is quantised and added to, as we write residual paths; else as it is."""
        name = node.output[0]
        if name not in self.quantizers or self.readers[name] < 2 or found.shuffle > 1:
            return found
        quantizer = self.quantizers[name]
        return self.nodes.halfwords(quantizer.output[0], found, self._steps(quantizer))

    def _transposed(self, node: onnx.NodeProto) -> Tensor:
        weight, scale = self._weights(node, 1)
        given, kernel = _attributes(node), weight.shape[2:]
        strides, pads = list(given.get("strides", [1, 1])), list(given.get("pads", [0] * 4))
        extra = list(given.get("output_padding", [0, 0]))
        fits = all(kernel[i] + extra[i] - pads[i] - pads[i + 2] == strides[i] for i in (0, 1))
        plain = given.get("group", 1) == 1 and all(n == 1 for n in given.get("dilations", [1]))
        if not fits or not plain or strides[0] != strides[1] or given.get("auto_pad", b"NOTSET") != b"NOTSET":
            self.fail(node, "only one group, whose output is a whole number of times its input, has an integer form")
        stride = int(strides[0])
        made = transposed.as_convolution(weight, 1, stride, *pads[:2])
        value, zero = self._source(node)
        product = self._product(node, made, np.repeat(scale, stride**2), value, zero, stride**2)
        return replace(product, shuffle=stride)

    # What is done by channel

    def _bent(self, node: onnx.NodeProto, slopes: np.ndarray) -> Tensor:
        found, relu = self._real(node), not np.any(slopes)
        if isinstance(found, Total | Halfwords):
            self.fail(node, "a ReLU or PReLU of a sum that is not quantised has no integer form")
        slope = self._by_channel(node, slopes, found)
        if isinstance(found, Line):
            bent = found.bent(slope)
            if bent is None:
                self.fail(node, "only of a quantised value, or a convolution, it has an integer form")
            return bent
        if found.slope is not None or found.limits != (-np.inf, np.inf):
            self.fail(node, "a second one behind a convolution has no integer form")
        note = node.doc_string.removeprefix(FRACTION_NOTE)
        return replace(found, slope=slope, fraction=int(note) if not relu and note.isdecimal() else None)

    def _clip(self, node: onnx.NodeProto) -> Tensor:
        found, limits = self._real(node), [-np.inf, np.inf]
        for i, name in enumerate(("min", "max")):
            if len(node.input) > i + 1 and node.input[i + 1]:
                limits[i] = float(self._constant(node, i + 1).real)
            limits[i] = _attributes(node).get(name, limits[i])
        return replace(found, limits=(max(limits[0], found.limits[0]), min(limits[1], found.limits[1])))

    def _scaled(self, node: onnx.NodeProto) -> Tensor:
        i = 0 if isinstance(self._input(node, 1), Constant) else 1
        if i and node.op_type == "Div":
            self.fail(node, "by what is no constant has no integer form")
        found, constant = self._real(node, i), self._constant(node, 1 - i).real
        if not isinstance(found, Line):
            self.fail(node, "of a convolution that is not quantised yet has no integer form")
        gain = self._by_channel(node, 1 / constant if node.op_type == "Div" else constant, found)
        return self._held(node, found.times(gain))

    def _held(self, node: onnx.NodeProto, made: Line | None) -> Line:
        if made is None:
            self.fail(node, "behind a clip, or with a negative factor behind a ReLU, it has no integer form")
        return made

    def _add(self, node: onnx.NodeProto) -> Tensor:
        sign = -1.0 if node.op_type == "Sub" else 1.0
        constants = [isinstance(self._input(node, i), Constant) for i in (0, 1)]
        if any(constants):
            i = constants.index(False)
            found = self._real(node, i)
            if not isinstance(found, Line):
                self.fail(node, "a constant added to a convolution that is not quantised yet has no integer form")
            addend = self._by_channel(node, self._constant(node, 1 - i).real, found)
            if i == 1 and sign < 0:
                return self._held(node, self._held(node, found.times(-np.ones(1))).plus(addend))
            return self._held(node, found.plus(sign * addend))
        one, two = self._real(node, 0), self._real(node, 1)
        if one.shuffle != two.shuffle:
            self.fail(node, "a sum of what is shuffled and what is not has no integer form")
        if isinstance(one, Line) and isinstance(two, Line):
            return self._sum(node, one, self._held(node, two.times(np.full(1, sign))))
        if sign < 0:
            self.fail(node, "a difference from a convolution that is not quantised yet has no integer form")
        return self._kept(node, self._total(node, one, two))

    def _sum(self, node: onnx.NodeProto, one: Line, two: Line) -> Line:
        terms = {name: gain for name, gain in one.terms}
        for name, gain in two.terms:
            terms[name] = terms[name] + gain if name in terms else gain
        bent = one.slope is not None or two.slope is not None or one.limits != two.limits
        if len(terms) > 2 or bent or one.limits != (-np.inf, np.inf):
            self.fail(node, "a sum of more than two quantised values, or of what is bent before, has no integer form")
        return replace(one, terms=tuple(terms.items()), constant=one.constant + two.constant)

    def _total(self, node: onnx.NodeProto, one: Real, two: Real) -> Total:
        first, second = (one, two) if isinstance(one, Product) else (two, one)
        plain = isinstance(first, Product) and not isinstance(second, Total)
        for part in (first, second):
            bent = isinstance(part, Line | Product) and part.slope is not None
            bare = not isinstance(part, Total) and not bent and part.limits == (-np.inf, np.inf)
            plain = plain and bare
        if isinstance(second, Line):
            plain = plain and len(second.terms) == 1 and not second.constant.any()
            plain = plain and bool(np.all(second.terms[0][1] == 1)) and second.terms[0][0] != self.nodes.picture
        if not plain or not isinstance(first, Product) or isinstance(second, Total):
            self.fail(node, "a sum with what is not quantised yet has an integer form only of plain convolutions")
        return Total(first, second, shuffle=first.shuffle)

    def _shuffle(self, node: onnx.NodeProto) -> Tensor:
        given, found = _attributes(node), self._input(node, 0)
        factor = int(given["blocksize"])
        if isinstance(found, Constant) or found.shuffle != 1:
            self.fail(node, "only one, of a value of the network, has an integer form")
        if given.get("mode", b"DCR") != b"CRD" and self._channels(found) != factor**2:
            self.fail(node, "only in mode CRD it has an integer form, but for a result of one plane")
        return replace(found, shuffle=factor)

    def _channels(self, found: Bytes | Real) -> int:
        match found:
            case Bytes():
                return len(self.nodes.meaning(found.value).scale)
            case Line():
                return len(found.constant)
            case Product():
                return len(found.unit)
            case Total():
                return len(found.first.unit)
            case Halfwords():
                return len(self.nodes.by_name[found.value].meaning.scale)


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
