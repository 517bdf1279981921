"""Bring any supported ONNX graph to one plain dialect at fixed shapes, before TVM sees it.

One walk in order of execution. Each node is folded if its inputs are constant, dropped if it does nothing at inference,
or rewritten (the ``rewrite_*.py`` files) until it is in the form of ``CANONICAL_OPSET``; then its type is inferred.
Because every shape is fixed by then, the Shape/Gather/Concat chains of exporters disappear on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper

from sr_tvm.errors import SrTvmError
from sr_tvm.frontend import rewrite_activation, rewrite_conv, rewrite_linear, rewrite_pad, rewrite_resize, rewrite_shape
from sr_tvm.frontend.fold_constants import constant_of, fold
from sr_tvm.frontend.fuse_depth_to_space import fuse_depth_to_space, merge_reshapes
from sr_tvm.frontend.graph import OnnxGraph, attributes, describe, input_name
from sr_tvm.frontend.input_shapes import Shapes
from sr_tvm.frontend.operators import CANONICAL_OPSET, COMPUTE, STANDARD_DOMAINS

# A rewrite returns the nodes to put in place, or None where the node is canonical already.
Rewrite = Callable[[onnx.NodeProto, OnnxGraph, int], list[onnx.NodeProto] | None]
REWRITES: dict[str, Rewrite] = {
    **rewrite_activation.REWRITES,
    **rewrite_conv.REWRITES,
    **rewrite_linear.REWRITES,
    **rewrite_pad.REWRITES,
    **rewrite_resize.REWRITES,
    **rewrite_shape.REWRITES,
}
_MAX_DEPTH = 16  # rewrites of rewrites; the deepest chain known is 3


def normalize(model: onnx.ModelProto, shapes: Shapes, weights: Mapping[str, np.ndarray] | None = None) -> OnnxGraph:
    """Bring a model to the plain dialect at fixed shapes of its inputs.

    Args:
        model: Checked, of float32; it stays as it is.
        shapes: Of all inputs, by name.
        weights: What :func:`weights_of` gives for it, which several graphs may share; None to decode them here.

    Returns:
        The graph, in the form of ``CANONICAL_OPSET``, without what no output needs.

    Raises:
        SrTvmError: A node does not fit its inputs, is not supported on pixels, or has no fixed shape; it is named.
        RuntimeError: Rewrites of a node do not end, which is an error of ours.
    """
    graph = OnnxGraph(dict(shapes))
    for name, shape in shapes.items():
        graph.types[name] = helper.make_tensor_type_proto(TensorProto.FLOAT, shape)
    graph.constants = dict(weights_of(model) if weights is None else weights)
    graph.taken = {name for node in model.graph.node for name in (*node.input, *node.output)} | set(shapes)
    walk = _Walk(graph)
    opset = max(o.version for o in model.opset_import if o.domain in STANDARD_DOMAINS)
    for node in model.graph.node:
        walk.add(node, opset)
    graph.outputs = [walk.alias.get(o.name, o.name) for o in model.graph.output]
    for value, name in zip(model.graph.output, graph.outputs, strict=True):
        if name not in graph.types:
            raise SrTvmError(f"output {value.name!r} does not depend on any input; there is nothing to compile")
    merge_reshapes(graph)
    _drop_unused(graph)
    fuse_depth_to_space(graph)
    _drop_unused(graph)
    return graph


def weights_of(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Decode the initializers of a model.

    Args:
        model: Its tensors hold their own data.

    Returns:
        The arrays by name.
    """
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


class _Walk:
    def __init__(self, graph: OnnxGraph) -> None:
        self.graph = graph
        self.alias: dict[str, str] = {}

    def add(self, original: onnx.NodeProto, opset: int, depth: int = 0) -> None:
        node = onnx.NodeProto()
        node.CopyFrom(original)
        node.domain = ""
        del node.input[:]
        node.input.extend(self.alias.get(n, n) for n in original.input)
        if self._disappears(node, opset):
            return
        rewrite = REWRITES.get(node.op_type)
        if rewrite is not None:
            nodes = rewrite(node, self.graph, opset)
            if nodes is not None:
                if depth > _MAX_DEPTH:
                    raise RuntimeError(f"rewrites of {describe(node)} do not end")
                for replacement in nodes:
                    self.add(replacement, CANONICAL_OPSET, depth + 1)
                return
        if node.op_type not in COMPUTE:
            raise SrTvmError(f"{describe(node)} is supported for shape arithmetic only, and here it works on pixels")
        for name, inferred in self.graph.infer(node).items():
            if any(d.dim_value == 0 for d in inferred.tensor_type.shape.dim):
                raise SrTvmError(f"{describe(node)} makes an empty tensor; is the input too small for the network?")
            if inferred.tensor_type.elem_type != TensorProto.FLOAT:
                raise SrTvmError(f"{describe(node)} makes {name!r}, which is not float32; only float32 is supported")
            self.graph.types[name] = inferred
        self.graph.nodes.append(node)

    def _disappears(self, node: onnx.NodeProto, opset: int) -> bool:
        graph, op = self.graph, node.op_type
        if op == "Constant":
            graph.constants[node.output[0]] = constant_of(node)
        elif op in ("Identity", "Dropout") or (op in ("Cast", "CastLike") and self._casts_to_itself(node)):
            training = graph.value(node, 2) if op == "Dropout" else None
            if training is not None and training.any():
                raise SrTvmError(f"{describe(node)} is in training mode; export the model for inference")
            self.alias[node.output[0]] = node.input[0]
        elif op in ("Shape", "Size"):
            shape, attrs = graph.shape(node.input[0]), attributes(node)
            shape = shape[attrs.get("start", 0) : attrs.get("end")]
            value = np.array(shape, np.int64) if op == "Shape" else np.array(np.prod(shape, dtype=np.int64))
            graph.constants[node.output[0]] = value
        elif all(name in graph.constants for name in node.input if name):
            graph.constants.update(fold(node, graph, opset))
        else:
            return False
        return True

    def _casts_to_itself(self, node: onnx.NodeProto) -> bool:
        if node.input[0] in self.graph.constants:
            return False
        if node.op_type == "Cast":
            to = attributes(node)["to"]
        else:
            like = input_name(node, 1)
            known = self.graph.constants.get(like)
            to = TensorProto.FLOAT if known is None else helper.np_dtype_to_tensor_dtype(known.dtype)
        if to != TensorProto.FLOAT:
            raise SrTvmError(f"{describe(node)} makes pixels another type; only float32 is supported")
        return True


def _drop_unused(graph: OnnxGraph) -> None:
    needed = set(graph.outputs)
    kept = []
    for node in reversed(graph.nodes):
        if needed.intersection(node.output):
            needed.update(filter(None, node.input))
            kept.append(node)
    graph.nodes = kept[::-1]
    graph.constants = {k: v for k, v in graph.constants.items() if k in needed}
