"""Resize and Upsample: TVM's resize2d where it is right, else a Gather or a MatMul with constant weights on each axis.

TVM computes coordinates from the sizes alone, so it is wrong wherever the output size is not exactly scale x input; it
also resizes height and width of 4-D tensors only.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx

from sr_tvm.errors import SrTvmError
from sr_tvm.frontend.graph import OnnxGraph, attributes, describe, make_node
from sr_tvm.frontend.resize_weights import COORDINATES, Mode, nearest_indices, positions, weights

TVM_COORDINATES = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")


def resize(node: onnx.NodeProto, graph: OnnxGraph, opset: int) -> list[onnx.NodeProto] | None:
    """Rewrite Resize as TVM's resize2d where that is right, else as a Gather or MatMul on each axis.

    Upsample is a Resize with asymmetric coordinates.

    Args:
        node: Resize of any opset, or Upsample.
        graph: It gains the constants that the new nodes read.
        opset: Version of the operator set that the node is of.

    Returns:
        Nodes to put in place; None for what this made. The resize2d is a Resize with the sizes of all axes and every
        attribute.

    Raises:
        SrTvmError: The mode is not supported, or scales and sizes are missing, malformed or make an empty tensor.
    """
    if node.name.endswith("/resize2d"):  # made below
        return None
    shape = graph.shape(node.input[0])
    mode = _mode(node, opset)
    sizes, scales = _target(node, graph, opset, shape)
    if mode.nearest == "simple" and min(scales) >= 1:
        mode = replace(mode, nearest="floor")
    axes = [a for a in range(len(shape)) if sizes[a] != shape[a] or scales[a] != 1]
    if not axes:
        return [make_node(node, "Identity", node.input[:1], node.output)]
    exact = all(np.float32(sizes[a] / shape[a]) == np.float32(scales[a]) for a in axes)
    whole = all(sizes[a] % shape[a] == 0 for a in axes)
    if (
        len(shape) == 4
        and min(axes) >= 2
        and exact
        and (whole or mode.mode != "nearest")
        and mode.coordinates in TVM_COORDINATES
        and mode.nearest != "simple"
        and not mode.antialias
    ):
        return [_resize2d(node, graph, mode, sizes)]
    nodes: list[onnx.NodeProto] = []
    name = node.input[0]
    for axis in axes:
        result = node.output[0] if axis == axes[-1] else graph.fresh(node.output[0])
        args = (shape[axis], sizes[axis], scales[axis])
        if mode.mode == "nearest":
            x = positions(mode.coordinates, *args)
            index = nearest_indices(x, shape[axis], mode.nearest, scales[axis] < 1)
            nodes.append(make_node(node, "Gather", [name, graph.constant(index, "index")], [result], axis=axis))
        else:
            nodes += _along(node, graph, weights(mode, *args), name, result, axis, len(shape))
        name = result
    return nodes


def _mode(node: onnx.NodeProto, opset: int) -> Mode:
    attrs = attributes(node)
    old = opset < 11
    mode = Mode(
        attrs.get("mode", "nearest"),
        "asymmetric" if old else attrs.get("coordinate_transformation_mode", "half_pixel"),
        "simple" if old else attrs.get("nearest_mode", "round_prefer_floor"),
        attrs.get("cubic_coeff_a", -0.75),
        bool(attrs.get("exclude_outside", 0)),
        bool(attrs.get("antialias", 0)),
    )
    if mode.mode not in ("nearest", "linear", "cubic"):
        raise SrTvmError(f"{describe(node)} has mode {mode.mode!r}; nearest, linear or cubic is supported")
    if mode.coordinates not in COORDINATES:
        known = ", ".join(COORDINATES)
        raise SrTvmError(f"{describe(node)} has coordinate mode {mode.coordinates!r}; {known} are supported")
    return mode


def _target(
    node: onnx.NodeProto, graph: OnnxGraph, opset: int, shape: tuple[int, ...]
) -> tuple[list[int], list[float]]:
    """Return the output size and the scale of every axis.

    Raises:
        SrTvmError: Scales and sizes are missing or malformed, or make an empty tensor.
    """
    attrs = attributes(node)
    if opset < 11:
        given, wanted = graph.value(node, 1), None
    else:
        given, wanted = graph.value(node, 2), graph.value(node, 3)
    chosen = [a % len(shape) for a in attrs.get("axes", range(len(shape)))]
    sizes, scales = list(shape), [1.0] * len(shape)
    policy = attrs.get("keep_aspect_ratio_policy", "stretch")
    if given is not None and given.size:
        _check_length(node, given, chosen)
        for axis, scale in zip(chosen, given.tolist(), strict=True):
            if not (np.isfinite(scale) and scale > 0):
                raise SrTvmError(f"{describe(node)} has a scale of {scale}")
            # As float32, in which the file holds it and in which engines multiply.
            scales[axis], sizes[axis] = scale, int(np.floor(np.float32(shape[axis]) * np.float32(scale)))
    elif wanted is not None and wanted.size:
        _check_length(node, wanted, chosen)
        ratios = [int(w) / shape[a] for a, w in zip(chosen, wanted, strict=True)]
        if policy != "stretch":
            ratio = min(ratios) if policy == "not_larger" else max(ratios)
            ratios = [ratio] * len(ratios)
        for axis, size, ratio in zip(chosen, wanted.tolist(), ratios, strict=True):
            scales[axis] = ratio
            sizes[axis] = size if policy == "stretch" else int(np.floor(ratio * shape[axis] + 0.5))
    else:
        raise SrTvmError(f"{describe(node)} has neither scales nor sizes")
    if min(sizes) < 1:
        raise SrTvmError(f"{describe(node)} makes an empty tensor of shape {sizes}")
    return sizes, scales


def _check_length(node: onnx.NodeProto, values: np.ndarray, axes: list[int]) -> None:
    if values.size != len(axes):
        raise SrTvmError(f"{describe(node)} has {values.size} scales or sizes for {len(axes)} axes")


def _resize2d(node: onnx.NodeProto, graph: OnnxGraph, mode: Mode, sizes: list[int]) -> onnx.NodeProto:
    """Return the one form that TVM's converter reads right: sizes of all axes, every attribute there."""
    made = make_node(
        node,
        "Resize",
        [node.input[0], "", "", graph.constant(np.array(sizes, np.int64), "sizes")],
        node.output,
        mode=mode.mode,
        coordinate_transformation_mode=mode.coordinates,
        nearest_mode=mode.nearest,
        cubic_coeff_a=mode.cubic_a,
        exclude_outside=int(mode.exclude_outside),
    )
    made.name += "/resize2d"
    return made


def _along(
    node: onnx.NodeProto, graph: OnnxGraph, matrix: np.ndarray, name: str, result: str, axis: int, rank: int
) -> list[onnx.NodeProto]:
    """Return nodes that multiply ``matrix`` (out, in) along one axis."""
    if axis == rank - 1:
        return [make_node(node, "MatMul", [name, graph.constant(matrix.T, "weights")], [result])]
    if axis == rank - 2:
        return [make_node(node, "MatMul", [graph.constant(matrix, "weights"), name], [result])]
    order = list(range(rank))
    order[axis], order[-1] = order[-1], order[axis]
    turned, scaled = graph.fresh(name), graph.fresh(result)
    return [
        make_node(node, "Transpose", [name], [turned], perm=order),
        make_node(node, "MatMul", [turned, graph.constant(matrix.T, "weights")], [scaled]),
        make_node(node, "Transpose", [scaled], [result], perm=order),
    ]


REWRITES = {"Resize": resize, "Upsample": resize}
