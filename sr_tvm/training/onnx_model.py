"""An ONNX file as an upscaler, by ONNX Runtime, and its size: parameters and multiply-accumulates."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from sr_tvm.errors import SrTvmError
from sr_tvm.training import resize
from sr_tvm.training.evaluate import Upscale
from sr_tvm.training.upscalers import to_uint8

# Which inputs of an operator are learnt: weight and bias, or the slope.
LEARNT = {"Conv": (1, 2), "ConvTranspose": (1, 2), "Gemm": (1, 2), "MatMul": (0, 1), "PRelu": (1,)}
# RGB 0..255 to full-range YCbCr (JFIF): colours of a network that sees the luma alone.
TO_YCC = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])


def read(path: Path) -> onnx.ModelProto:
    """Read and check an ONNX file.

    Raises:
        SrTvmError: it is missing, is not ONNX or is cut off, or is not a network from pictures to pictures.
    """
    if not path.is_file():
        raise SrTvmError(f"{path}: {'not a file' if path.exists() else 'no such file'}; name an .onnx file")
    try:
        onnx.checker.check_model(str(path))
        model = onnx.load(path)
    # protobuf, the checker and the loader each have their own exceptions, not all of them public
    except Exception as error:
        first = str(error).strip().splitlines()
        raise SrTvmError(f"{path}: not a valid ONNX file ({(first or [type(error).__name__])[0][:120]})") from None
    known = {t.name for t in model.graph.initializer}
    inputs = [i for i in model.graph.input if i.name not in known]
    shapes = [_shape(value) for value in (*inputs, *model.graph.output)]
    if len(shapes) != 2 or any(len(s) != 4 for s in shapes) or shapes[0][1] not in (1, 3):
        raise SrTvmError(f"{path}: not a network from one picture to one: its inputs and outputs are {shapes}")
    return model


def _shape(value: onnx.ValueInfoProto) -> tuple[int | str, ...]:
    dims = value.type.tensor_type.shape.dim
    return tuple(d.dim_value if d.HasField("dim_value") else d.dim_param or "?" for d in dims)


@dataclass(frozen=True)
class Size:
    """``params`` counts learnt weights and biases; ``macs`` is None where shapes cannot be inferred."""

    params: int
    macs: int | None


def size(model: onnx.ModelProto, height: int, width: int) -> Size:
    """Count parameters, and the multiply-accumulates of one input picture of ``height`` x ``width``."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    known = {t.name: tuple(t.dims) for t in fixed.graph.initializer}
    for node in fixed.graph.node:
        if node.op_type == "Constant":
            known.update((node.output[0], tuple(a.t.dims)) for a in node.attribute if a.name == "value")
    (value,) = (i for i in fixed.graph.input if i.name not in known)
    dims = value.type.tensor_type.shape.dim
    for dim, number in zip((dims[0], dims[2], dims[3]), (1, height, width), strict=True):
        dim.Clear()
        dim.dim_value = number
    for output in fixed.graph.output:  # may tell a size that no longer holds
        output.type.tensor_type.ClearField("shape")
    del fixed.graph.value_info[:]
    inferred = onnx.shape_inference.infer_shapes(fixed).graph
    shapes = {v.name: _shape(v) for v in (*inferred.value_info, *inferred.input, *inferred.output)} | known
    learnt = {
        name
        for node in fixed.graph.node
        for i, name in enumerate(node.input)
        if i in LEARNT.get(node.op_type, ()) and name in known
    }
    try:
        macs = sum(_macs(node, shapes) for node in fixed.graph.node if node.op_type in LEARNT)
    except (KeyError, TypeError):
        return Size(sum(math.prod(known[n]) for n in learnt), None)
    return Size(sum(math.prod(known[n]) for n in learnt), macs)


def _macs(node: onnx.NodeProto, shapes: dict[str, Any]) -> int:
    """Raises KeyError or TypeError where a shape is not known."""
    if node.op_type == "PRelu":
        return 0
    weight = shapes[node.input[1]]
    if node.op_type in ("Conv", "ConvTranspose"):
        # each output pixel of a convolution, each input pixel of a transposed one, meets every weight once
        pixels = shapes[node.output[0] if node.op_type == "Conv" else node.input[0]][2:]
        return int(math.prod(int(p) for p in pixels) * math.prod(weight))
    transposed = any(a.name == "transA" and a.i for a in node.attribute)
    inner = shapes[node.input[0]][0 if transposed else -1]
    return int(math.prod(int(d) for d in shapes[node.output[0]]) * int(inner))


def upscaler(path: Path, model: onnx.ModelProto, scale: int, threads: int | None) -> Upscale:
    """An upscaler that runs the file in ONNX Runtime. A network of one channel is given the luma; bicubic colours.

    Raises:
        SrTvmError: ONNX Runtime is not installed or refuses the file, or the network takes one size only.
    """
    try:
        import onnxruntime
    except ModuleNotFoundError:
        raise SrTvmError(
            "scoring an .onnx file needs ONNX Runtime: pip install onnxruntime (or score the weights file)"
        ) from None
    known = {t.name for t in model.graph.initializer}
    (value,) = (i for i in model.graph.input if i.name not in known)
    batch, channels, *sides = _shape(value)
    if any(isinstance(s, int) for s in sides):
        raise SrTvmError(
            f"{path}: takes pictures of {sides[0]}x{sides[1]} only; export it with any height and width to score it"
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions have no public base class
        raise SrTvmError(f"{path}: ONNX Runtime refuses it ({str(error).splitlines()[0][:160]})") from None

    def run(planes: NDArray[np.float32]) -> NDArray[np.float32]:
        try:
            (out,) = session.run(None, {value.name: planes[None]})
        except Exception as error:
            raise SrTvmError(f"{path}: ONNX Runtime failed ({str(error).splitlines()[0][:160]})") from None
        wanted = (planes.shape[0], planes.shape[1] * scale, planes.shape[2] * scale)
        if out.shape[1:] != wanted:
            raise SrTvmError(f"{path}: from {planes.shape} it made {out.shape[1:]}; at scale {scale} {wanted} is right")
        return np.asarray(out[0], np.float32)

    def upscale(low: NDArray[np.uint8]) -> NDArray[np.uint8]:
        pixels = low.astype(np.float32) / np.float32(255)
        if channels == 3:
            return to_uint8(run(np.ascontiguousarray(pixels.transpose(2, 0, 1))))
        luma = run((pixels @ TO_YCC[0].astype(np.float32))[None])[0]
        colours = resize.imresize(low, scale).astype(np.float64) / 255 @ TO_YCC.T
        colours[..., 0] = luma
        return to_uint8((colours @ np.linalg.inv(TO_YCC).T).astype(np.float32).transpose(2, 0, 1))

    return upscale
