"""What a network asks for, by its ONNX graph alone: multiply-accumulates, weights, and the bytes that must be moved."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

from sr_tvm.errors import SrTvmError
from sr_tvm.records.architecture import Architecture


@dataclass(frozen=True)
class Network:
    """What an ONNX file asks for, for one size of the picture.

    Attributes:
        macs: multiply-accumulates as direct convolutions, biases not counted.
        weights: numbers in its initializers.
        floor: numbers that any way to compute it block by block moves: picture in and out, weights, and the trunk
            written and read once a block; None where it is no WDSR.
    """

    macs: int
    weights: int
    floor: int | None


def network(model: Path, size: tuple[int, int]) -> Network:
    """Count what the graph of an ONNX file asks for; nothing is run.

    Raises:
        SrTvmError: a shape is not known.
    """
    import onnx

    proto = onnx.load(str(model))
    for dim, n in zip(proto.graph.input[0].type.tensor_type.shape.dim, (1, 3, *size), strict=True):
        dim.dim_value = n
    for value in (*proto.graph.value_info, *proto.graph.output):
        value.type.tensor_type.ClearField("shape")
    graph = onnx.shape_inference.infer_shapes(proto, strict_mode=True, data_prop=True).graph
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim]
              for v in (*graph.input, *graph.value_info, *graph.output)}  # fmt: skip
    constants = {w.name: list(w.dims) for w in graph.initializer}
    macs = 0
    for node in graph.node:
        if node.op_type in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
            of = shapes.get(node.output[0] if node.op_type != "ConvTranspose" else node.input[0])
            weight = constants.get(node.input[1])
            if not of or not weight or 0 in of:
                raise SrTvmError(f"{model}: the shape of {node.output[0]} is not known")
            pixels = math.prod(of[:1] + of[2:]) if node.op_type.startswith("Conv") else math.prod(of[:-1])
            macs += pixels * math.prod(weight)
    numbers = sum(map(math.prod, constants.values()))
    floor = None
    if found := next((p.value for p in proto.metadata_props if p.key == "sr_tvm.architecture"), None):
        shape = Architecture.from_json(json.loads(found))
        pixels = size[0] * size[1]
        floor = 3 * pixels * (1 + shape.scale**2) + numbers + 2 * len(shape.blocks) * shape.channels * pixels
    return Network(macs, numbers, floor)
