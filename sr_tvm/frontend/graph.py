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
    """An ONNX graph in the form of ``CANONICAL_OPSET``: each name stands for one value.

    A graph for any size (``any_size.py``) has names among the dimensions of its inputs; its ``types`` are then those at
    one size.

    Attributes:
        inputs: Shape of each input, by name.
        outputs: Names of the outputs.
        nodes: In order of execution.
        constants: Values of weights and folded nodes, by name.
        types: Types of inputs and of what nodes make, by name; all shapes are fixed.
        taken: Every name of the file, and those made since.
    """

    inputs: OpenShapes
    outputs: list[str] = field(default_factory=list)
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    types: dict[str, TypeProto] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)  # every name of the file, and those made since
    _fresh: int = 0

    def shape(self, name: str) -> tuple[int, ...]:
        """Look up the fixed shape of a tensor or constant.

        Args:
            name: Of either.

        Returns:
            Its dimensions.
        """
        if name in self.constants:
            return self.constants[name].shape
        return tuple(d.dim_value for d in self.types[name].tensor_type.shape.dim)

    def value(self, node: onnx.NodeProto, index: int) -> np.ndarray | None:
        """Read an input of a node that has to be constant.

        Args:
            node: Of this graph.
            index: Of the input, from 0.

        Returns:
            Its value; None where the input is absent.

        Raises:
            SrTvmError: It is there, but is no constant.
        """
        name = input_name(node, index)
        if not name:
            return None
        if name not in self.constants:
            raise SrTvmError(f"{describe(node)}: input {index} ({name!r}) must be constant once the shapes are fixed")
        return self.constants[name]

    def fresh(self, hint: str) -> str:
        """Make a tensor name that nobody has, and take it.

        Args:
            hint: What the name begins with.

        Returns:
            The name.
        """
        while True:
            self._fresh += 1
            name = f"{hint}/{self._fresh}"
            if name not in self.taken:
                self.taken.add(name)
                return name

    def constant(self, value: np.ndarray, hint: str = "constant") -> str:
        """Add a constant under a new name.

        Args:
            value: Of any shape and dtype.
            hint: What the name begins with.

        Returns:
            The name.
        """
        name = self.fresh(hint)
        self.constants[name] = np.asarray(value, order="C")
        return name

    def infer(self, node: onnx.NodeProto, opset: int = CANONICAL_OPSET) -> dict[str, TypeProto]:
        """Infer the types of a node's outputs.

        Args:
            node: Its inputs are constants or have types.
            opset: Version of the operator set that the node is of.

        Returns:
            The types, by the names of the outputs.

        Raises:
            SrTvmError: The node is malformed, or a shape is not fixed, or absurdly large.
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
    """Name a node for a message.

    Args:
        node: Of any graph.

    Returns:
        Its operator, and its name, or its outputs where it has no name.
    """
    return f"operator {node.op_type} (node {node.name or '->' + ','.join(node.output)!r})"


def input_name(node: onnx.NodeProto, index: int) -> str:
    """Return the name of a node's input.

    Args:
        node: Of any graph.
        index: Of the input, from 0.

    Returns:
        The name; "" where the input is absent.
    """
    return node.input[index] if index < len(node.input) else ""


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """Read a node's attributes as Python values.

    Args:
        node: Of any graph.

    Returns:
        The values by name, strings decoded; attributes that the node leaves to their defaults are not there.
    """
    values = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    return {k: v.decode() if isinstance(v, bytes) else v for k, v in values.items()}


def make_node(
    like: onnx.NodeProto, op_type: str, inputs: Iterable[str], outputs: Iterable[str], **attrs: Any
) -> onnx.NodeProto:
    """Make a node that carries on the name of the one it replaces.

    Args:
        like: The node to replace.
        op_type: Operator of the new one.
        inputs: Names of its inputs.
        outputs: Names of its outputs.
        **attrs: Its attributes.

    Returns:
        The node, which is in no graph yet.
    """
    return helper.make_node(op_type, list(inputs), list(outputs), name=like.name, **attrs)
