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
from sr_tvm.frontend.onnx_file import load_onnx
from sr_tvm.training.evaluate import Upscale
from sr_tvm.upscaling import enlarge

# Which inputs of an operator are learnt: weight and bias, or the slope.
LEARNT = {"Conv": (1, 2), "ConvTranspose": (1, 2), "Gemm": (1, 2), "MatMul": (0, 1), "PRelu": (1,)}


def read(path: Path) -> onnx.ModelProto:
    """Read and check an ONNX file, with the limits of :func:`~sr_tvm.frontend.onnx_file.load_onnx`.

    Args:
        path: Of the file.

    Returns:
        The model, with external data read in.

    Raises:
        SrTvmError: Whatever ``load_onnx`` refuses, or what is not a network from pictures to pictures.
    """
    model = load_onnx(path)
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
class ModelSize:
    """How large a network is.

    ``params`` counts learnt weights and biases, ``macs`` multiply-accumulates of one picture; the latter is None where
    shapes cannot be inferred.
    """

    params: int
    macs: int | None


def size(model: onnx.ModelProto, height: int, width: int) -> ModelSize:
    """Count parameters, and the multiply-accumulates of one input picture.

    Args:
        model: As :func:`read` gave it; not changed.
        height: Of the input picture, in pixels.
        width: Of the input picture, in pixels.

    Returns:
        Both counts.
    """
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
        return ModelSize(sum(math.prod(known[n]) for n in learnt), None)
    return ModelSize(sum(math.prod(known[n]) for n in learnt), macs)


def _macs(node: onnx.NodeProto, shapes: dict[str, Any]) -> int:
    """Return the multiply-accumulates of a node; a shape that is not known raises KeyError or TypeError."""
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
    """Make an upscaler of pictures that runs an ONNX model in ONNX Runtime.

    What happens around the network is ``sr-tvm upscale``'s own code: a network of one channel is given the BT.601 luma
    (16/255 to 235/255), and chroma is enlarged bicubically.

    Args:
        path: Of the file, for messages.
        model: As :func:`read` gave it.
        scale: The factor that it should enlarge by.
        threads: Of ONNX Runtime; its own choice if None.

    Returns:
        A function of a uint8 picture (H, W, C) that gives (scale H, scale W, C), and raises SrTvmError where the
        network fails.

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
        # The bytes that were checked, external data included: the file itself is not read again.
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
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
        return np.nan_to_num(np.asarray(out[0], np.float32))

    def upscale(low: NDArray[np.uint8]) -> NDArray[np.uint8]:
        # One tile, which is the whole picture: there are no seams, and no halo to know.
        return enlarge.enlarge(low, run, int(channels), scale, 0, low.shape[:2])

    return upscale
