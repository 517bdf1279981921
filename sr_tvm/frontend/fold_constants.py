"""Evaluate ONNX nodes whose inputs are all constant."""

from __future__ import annotations

import warnings

import numpy as np
import onnx
from onnx import helper

from sr_tvm.errors import SrTvmError
from sr_tvm.frontend.graph import OnnxGraph, attributes, describe

MAX_FOLDED = 2**28  # elements


def constant_of(node: onnx.NodeProto) -> np.ndarray:
    """Read the value of a Constant node, in any of its attribute forms.

    Args:
        node: Of the operator Constant.

    Returns:
        Its value.

    Raises:
        SrTvmError: It holds something else than numbers.
    """
    attrs = attributes(node)
    if "value" in attrs:
        return onnx.numpy_helper.to_array(attrs["value"])
    for name, dtype in (("value_float", np.float32), ("value_int", np.int64)):
        for key in (name, name + "s"):
            if key in attrs:
                return np.array(attrs[key], dtype)
    raise SrTvmError(f"{describe(node)} holds {', '.join(attrs) or 'nothing'}; only numbers are supported")


def fold(node: onnx.NodeProto, graph: OnnxGraph, opset: int) -> dict[str, np.ndarray]:
    """Evaluate a node whose inputs are all constant, by ONNX's reference implementation.

    Args:
        node: Of any standard operator.
        graph: Holds its inputs as constants; it stays as it is.
        opset: Version of the operator set that the node is of.

    Returns:
        The values of its outputs, by name.

    Raises:
        SrTvmError: The result would be too large, or the node cannot be evaluated.
    """
    from onnx.reference import ReferenceEvaluator

    if node.op_type != "NonZero":  # whose size is known by running it only; it is never larger than input x rank
        for name, inferred in graph.infer(node, opset).items():
            size = np.prod([d.dim_value for d in inferred.tensor_type.shape.dim], dtype=np.float64)
            if size > MAX_FOLDED:
                raise SrTvmError(f"{describe(node)} makes a constant {name!r} of {size:.0f} elements")
    names = [n for n in node.input if n]
    feeds = {n: graph.constants[n] for n in names}
    values = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape) for n, v in feeds.items()
    ]
    outputs = [n for n in node.output if n]
    body = helper.make_graph([node], "fold", values, [onnx.ValueInfoProto(name=n) for n in outputs])
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", opset)])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            results = ReferenceEvaluator(model).run(outputs, feeds)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise SrTvmError(f"{describe(node)} has constant inputs that it cannot be computed from: {reason}") from error
    return {n: np.asarray(v) for n, v in zip(outputs, results, strict=True)}
