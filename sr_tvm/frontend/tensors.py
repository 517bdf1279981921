"""Checks of one tensor in an ONNX file: does what it claims to hold agree with what it holds?"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto

from sr_tvm.errors import SrTvmError

MAX_ELEMENTS = 2**31 - 1
# Weights are float32; the rest is what shape arithmetic uses (double appears in exporters' scale constants).
ALLOWED: dict[int, int] = {
    TensorProto.FLOAT: 4,
    TensorProto.INT64: 8,
    TensorProto.INT32: 4,
    TensorProto.BOOL: 1,
    TensorProto.DOUBLE: 8,
}


def type_name(element: int) -> str:
    """Put ONNX's element type in words, such as float16.

    Args:
        element: Number of the type in ``TensorProto.DataType``.

    Returns:
        The name; ``of unknown element type ...`` where ONNX has none.
    """
    try:
        name = TensorProto.DataType.Name(element).lower()
    except ValueError:
        return f"of unknown element type {element}"
    return {"float": "float32", "double": "float64"}.get(name, name)


def check_tensor(tensor: TensorProto, path: Path) -> int:
    """Check a tensor's type, its dimensions, and that its data has that many elements.

    Args:
        tensor: From anyone. Of external data only the claim is checked.
        path: Of the model's file, for messages.

    Returns:
        The size of its data in bytes.

    Raises:
        SrTvmError: The type is not supported, dimensions are negative or absurd, or the data disagrees with them.
    """
    where = f"{path}: tensor {tensor.name!r}"
    if tensor.data_type not in ALLOWED:
        raise SrTvmError(f"{where} is {type_name(tensor.data_type)}; only float32 weights are supported")
    dims = tuple(tensor.dims)
    elements = math.prod(dims)
    if any(d < 0 for d in dims) or elements > MAX_ELEMENTS:
        raise SrTvmError(f"{where} claims dimensions {list(dims)}; at most {MAX_ELEMENTS} elements are supported")
    if tensor.data_type == TensorProto.DOUBLE and elements > 16:
        raise SrTvmError(f"{where} is float64; only float32 weights are supported")
    size = elements * ALLOWED[tensor.data_type]
    if tensor.data_location != TensorProto.EXTERNAL:
        held = _held_bytes(tensor)
        if held != size:
            raise SrTvmError(f"{where} has dimensions {list(dims)}, {size} bytes, but has {held}: a damaged file")
    return size


def _held_bytes(tensor: onnx.TensorProto) -> int:
    if tensor.HasField("raw_data"):
        return len(tensor.raw_data)
    values: dict[int, Any] = {
        TensorProto.FLOAT: tensor.float_data,
        TensorProto.INT64: tensor.int64_data,
        TensorProto.INT32: tensor.int32_data,
        TensorProto.BOOL: tensor.int32_data,
        TensorProto.DOUBLE: tensor.double_data,
    }
    return len(values[tensor.data_type]) * ALLOWED[tensor.data_type]
