"""Gemm as MatMul plus Add, with transposes and factors folded into constant weights; BatchNormalization checked."""

from __future__ import annotations

import numpy as np
import onnx

from sr_tvm.errors import SrTvmError
from sr_tvm.frontend.graph import OnnxGraph, attributes, describe, input_name, make_node

Nodes = list[onnx.NodeProto] | None


def gemm(node: onnx.NodeProto, graph: OnnxGraph, opset: int) -> Nodes:
    """Rewrite Gemm, alpha * A' B' + beta * C, as MatMul and Add.

    Transposes and factors go into constants where they meet any.

    Args:
        node: Gemm.
        graph: It gains the constants that the new nodes read.
        opset: Version of the operator set that the node is of; all versions are treated alike.

    Returns:
        Nodes to put in place; never None.
    """
    attrs = attributes(node)
    nodes: list[onnx.NodeProto] = []
    a, b = (_operand(node, graph, i, attrs.get(f"trans{'AB'[i]}", 0), nodes) for i in (0, 1))
    result = node.output[0]
    last = _scaled(node, graph, input_name(node, 2), attrs.get("beta", 1.0), nodes)
    product = graph.fresh(result) if last else result
    if attrs.get("alpha", 1.0) != 1.0:
        b = _scaled(node, graph, b, attrs["alpha"], nodes)
    nodes.append(make_node(node, "MatMul", [a, b], [product]))
    if last:
        nodes.append(make_node(node, "Add", [product, last], [result]))
    return nodes


def _operand(node: onnx.NodeProto, graph: OnnxGraph, index: int, transposed: int, nodes: list) -> str:
    name = node.input[index]
    if not transposed:
        return name
    if name in graph.constants:
        return graph.constant(graph.constants[name].T, name)
    turned = graph.fresh(name)
    nodes.append(make_node(node, "Transpose", [name], [turned], perm=[1, 0]))
    return turned


def _scaled(node: onnx.NodeProto, graph: OnnxGraph, name: str, factor: float, nodes: list) -> str:
    if not name or factor == 1.0:
        return name
    if name in graph.constants:
        return graph.constant(graph.constants[name] * np.float32(factor), name)
    scaled = graph.fresh(name)
    nodes.append(make_node(node, "Mul", [name, graph.constant(np.array(factor, np.float32))], [scaled]))
    return scaled


def batch_normalization(node: onnx.NodeProto, graph: OnnxGraph, opset: int) -> Nodes:
    """Check that BatchNormalization is in inference form: one output.

    Args:
        node: BatchNormalization.
        graph: It gains the constants that the new nodes read.
        opset: Version of the operator set that the node is of; all versions are treated alike.

    Returns:
        Nodes to put in place; always None, as nothing is rewritten.

    Raises:
        SrTvmError: The node is in training mode.
    """
    if attributes(node).get("training_mode", 0) or len([o for o in node.output if o]) > 1:
        raise SrTvmError(f"{describe(node)} is in training mode; export the model for inference")
    return None


def power(node: onnx.NodeProto, graph: OnnxGraph, opset: int) -> Nodes:
    """Rewrite Pow: squares and cubes as products, square roots as Sqrt, another constant exponent as float32.

    Args:
        node: Pow.
        graph: It gains the constants that the new nodes read.
        opset: Version of the operator set that the node is of; all versions are treated alike.

    Returns:
        Nodes to put in place; None where the exponent is not constant, or is float32 and none of those.
    """
    exponent = graph.constants.get(node.input[1])
    if exponent is None:
        return None
    base, result = node.input[0], node.output
    scalar = exponent.size == 1 and base in graph.types and exponent.ndim <= len(graph.shape(base))
    if scalar and float(exponent.reshape(())) in (2.0, 3.0):
        square = result[0] if float(exponent.reshape(())) == 2.0 else graph.fresh(result[0])
        nodes = [make_node(node, "Mul", [base, base], [square])]
        return nodes if square == result[0] else [*nodes, make_node(node, "Mul", [square, base], result)]
    if scalar and float(exponent.reshape(())) == 0.5:
        return [make_node(node, "Sqrt", [base], result)]
    if exponent.dtype == np.float32:
        return None
    return [make_node(node, "Pow", [base, graph.constant(exponent.astype(np.float32))], result)]


REWRITES = {"Pow": power, "Gemm": gemm, "BatchNormalization": batch_normalization}
