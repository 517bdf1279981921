"""An ONNX graph: constants as numpy arrays, every other tensor's type known at fixed shapes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TypeProto, helper

from sr_tvm.errors import SrTvmError
from sr_tvm.frontend.input_shapes import OpenShapes
from sr_tvm.frontend.operators import CANONICAL_OPSET
from sr_tvm.frontend.tensors import MAX_ELEMENTS

_SMALL = 4096  # elements; type inference looks at the value of constants up to this size


@dataclass
class OnnxGraph:
    """Nodes in order of execution, in the form of ``CANONICAL_OPSET``, one value per name.

    A graph for any size (``any_size.py``) has names among the dimensions of its inputs; its ``types`` are then those at
    one size.
    """

    inputs: OpenShapes
    outputs: list[str] = field(default_factory=list)
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    types: dict[str, TypeProto] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)  # every name of the file, and those made since
    _fresh: int = 0

    def shape(self, name: str) -> tuple[int, ...]:
        """The fixed shape of a tensor or constant."""
        if name in self.constants:
            return self.constants[name].shape
        return tuple(d.dim_value for d in self.types[name].tensor_type.shape.dim)

    def value(self, node: onnx.NodeProto, index: int) -> np.ndarray | None:
        """Input ``index`` of ``node`` as a constant; None if it is absent.

        Raises:
            SrTvmError: it is there, but is no constant.
        """
        name = input_name(node, index)
        if not name:
            return None
        if name not in self.constants:
            raise SrTvmError(f"{describe(node)}: input {index} ({name!r}) must be constant once the shapes are fixed")
        return self.constants[name]

    def fresh(self, hint: str) -> str:
        """A tensor name nobody has."""
        while True:
            self._fresh += 1
            name = f"{hint}/{self._fresh}"
            if name not in self.taken:
                self.taken.add(name)
                return name

    def constant(self, value: np.ndarray, hint: str = "constant") -> str:
        """Name a new constant."""
        name = self.fresh(hint)
        self.constants[name] = np.asarray(value, order="C")
        return name

    def infer(self, node: onnx.NodeProto, opset: int = CANONICAL_OPSET) -> dict[str, TypeProto]:
        """The types of a node's outputs.

        Raises:
            SrTvmError: the node is malformed, or a shape is not fixed, or absurdly large.
        """
        types: dict[str, TypeProto] = {}
        data: dict[str, onnx.TensorProto] = {}
        for name in filter(None, node.input):
            if name in self.constants:
                array = self.constants[name]
                types[name] = helper.make_tensor_type_proto(helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
                if array.size <= _SMALL:
                    data[name] = onnx.numpy_helper.from_array(array, name)
            else:
                types[name] = self.types[name]
        version = [helper.make_opsetid("", opset)]
        try:
            schema = onnx.defs.get_schema(node.op_type, opset, "")
            out = onnx.shape_inference.infer_node_outputs(schema, node, types, data, opset_imports=version)
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise SrTvmError(f"{describe(node)} does not fit its inputs {self._shapes_of(node)}: {reason}") from error
        for name, inferred in out.items():
            if name:
                self._check(node, name, inferred)
        return out

    def _shapes_of(self, node: onnx.NodeProto) -> str:
        return ", ".join("x".join(map(str, self.shape(n))) or "scalar" for n in node.input if n)

    def _check(self, node: onnx.NodeProto, name: str, inferred: TypeProto) -> None:
        dims = inferred.tensor_type.shape.dim
        if not inferred.tensor_type.HasField("shape") or not all(d.HasField("dim_value") for d in dims):
            raise SrTvmError(f"{describe(node)}: the shape of its output {name!r} is not fixed by the input shapes")
        shape = [d.dim_value for d in dims]
        if any(d < 0 for d in shape) or math.prod(shape) > MAX_ELEMENTS:
            raise SrTvmError(f"{describe(node)} makes {shape} elements; {MAX_ELEMENTS} at most are supported")


def describe(node: onnx.NodeProto) -> str:
    """How messages name a node."""
    return f"operator {node.op_type} (node {node.name or '->' + ','.join(node.output)!r})"


def input_name(node: onnx.NodeProto, index: int) -> str:
    """The name of an input, "" if it is absent."""
    return node.input[index] if index < len(node.input) else ""


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """A node's attributes as Python values, strings decoded."""
    values = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    return {k: v.decode() if isinstance(v, bytes) else v for k, v in values.items()}


def make_node(
    like: onnx.NodeProto, op_type: str, inputs: Iterable[str], outputs: Iterable[str], **attrs: Any
) -> onnx.NodeProto:
    """A node that carries on the name of the one it replaces."""
    return helper.make_node(op_type, list(inputs), list(outputs), name=like.name, **attrs)
