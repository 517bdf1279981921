"""How far a fully convolutional network looks: the halo that makes tiles come out as the whole picture does."""

from __future__ import annotations

from dataclasses import dataclass

import onnx

from sr_tvm.errors import SrTvmError
from sr_tvm.frontend.graph import OnnxGraph, describe
from sr_tvm.frontend.input_shapes import resolve_inputs
from sr_tvm.frontend.normalize import normalize
from sr_tvm.frontend.reach import Axis
from sr_tvm.frontend.reach_rules import rule_for

_PROBES = ((24, 20), (29, 33))


@dataclass(frozen=True)
class Field:
    """Output pixel (y, x) depends on input pixels within ``halo`` of (y // scale, x // scale), in rows and columns.

    A tile that keeps ``halo`` extra pixels on each side that is not a border of the picture gives the same output.
    """

    halo: int
    scale: int


def receptive_field(model: onnx.ModelProto) -> Field:
    """The receptive field of a network with one picture in and one out, from its graph alone.

    Raises:
        SrTvmError: the network cannot be tiled: an operator sees the whole picture (Gemm, global pooling,
            align_corners) or works below the input's resolution, or the output is no whole multiple of the input.
    """
    shapes = _probe_shapes(model)
    fields = {_analyse(normalize(model, shape)) for shape in shapes}
    if len(fields) != 1:
        raise SrTvmError("the network changes with the size of its input: it cannot work in tiles")
    return fields.pop()


def _probe_shapes(model: onnx.ModelProto) -> list[dict[str, tuple[int, ...]]]:
    weights = {t.name for t in model.graph.initializer}
    inputs = [v for v in model.graph.input if v.name not in weights]
    if len(inputs) != 1 or len(model.graph.output) != 1:
        raise SrTvmError(f"{len(inputs)} inputs and {len(model.graph.output)} outputs: tiling needs one of each")
    dims = [d.dim_value if d.HasField("dim_value") else 0 for d in inputs[0].type.tensor_type.shape.dim]
    if len(dims) != 4 or not dims[1]:
        raise SrTvmError(f"input {inputs[0].name!r} is not a picture of shape NxCxHxW with C fixed")
    name = inputs[0].name
    found = []
    for height, width in _PROBES:
        shape = (dims[0] or 1, dims[1], dims[2] or height, dims[3] or width)
        if (resolved := resolve_inputs(model, {name: shape})) not in found:
            found.append(resolved)
    return found


def _analyse(graph: OnnxGraph) -> Field:
    (name,), (output,) = graph.inputs, graph.outputs
    reaches: dict[str, tuple[Axis, Axis]] = {name: (Axis.of_input(), Axis.of_input())}
    for node in graph.nodes:
        rule = rule_for(node)
        reaches[node.output[0]] = (rule(node, graph, reaches, 2), rule(node, graph, reaches, 3))
        # Split: every part looks as far as the whole.
        reaches |= {other: reaches[node.output[0]] for other in node.output[1:] if other}
    rows, columns = reaches[output]
    given, made = graph.shape(name), graph.shape(output)
    scale = rows.scale
    if len(made) != 4 or columns.scale != scale or made[2:] != (given[2] * scale, given[3] * scale):
        last = describe(graph.nodes[-1])
        raise SrTvmError(f"{last} makes {made[2:]} pixels of {given[2:]}: tiles need one whole factor")
    return Field(max(rows.halo, columns.halo), scale)
