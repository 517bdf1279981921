"""A wide 3x3 convolution, one layer at a time, as Winograd's products: for channels whose weights leave no room in L2
for streaming rows."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from tvm import tirx

from sr_tvm.streaming.gemm_tir import Expr, Writer
from sr_tvm.streaming.lowering import Kernel, Shape
from sr_tvm.streaming.region import Conv, Pointwise, Region, Source
from sr_tvm.streaming.winograd_gemm_points import TAPS, transform_weight
from sr_tvm.streaming.winograd_gemm_tir import Layer, Plan, WinogradWriter

RESULTS = 4  # of a tile, along each axis: 6 x 6 products for 16 results, a quarter of the direct convolution's
MIN_CHANNELS = 32
ACTIVATIONS = ("relu", "prelu", "clip")


def winograd_gemm(region: Region, shape: Shape, name: str, lanes: int = 16, registers: int = 32, l2_bytes: int = 1 << 20, plan: Plan | None = None) -> Kernel | None:
    found = _match(region)
    if found is None or None in shape:
        return None
    conv, activation = found
    layer = Layer(shape[0], conv.weight.shape[1], conv.channels, shape[1], shape[2])
    plan = plan or choose(layer, lanes, registers, l2_bytes)
    padded = math.ceil(layer.outputs / plan.block) * plan.block
    constants = [conv.bias, *(activation.parameters if activation else ())]
    buffers = [tirx.decl_buffer((padded,), "float32", f"c{i}") for i in range(len(constants))]

    def activate(w: Writer, value: Expr, channel: Expr) -> Expr:
        bias, *more = [w.load(b, channel) for b in buffers]
        value = w.vector(value + bias)
        zero = w.splat(0)
        match activation.function if activation else None:
            case "relu":
                return tirx.max(value, zero)
            case "clip":
                return tirx.min(tirx.max(value, more[0]), more[1])
            case "prelu":
                return tirx.max(value, zero) + more[0] * tirx.min(value, zero)
        return value

    function = WinogradWriter(layer, plan, activate).function(buffers)
    u = transform_weight(conv.weight, plan.m)
    u = np.pad(u, ((0, 0), (0, 0), (0, padded - layer.outputs)))
    u = u.reshape(*u.shape[:2], -1, plan.block).transpose(2, 0, 1, 3)
    small = [np.pad(np.asarray(c, np.float32), (0, padded - layer.outputs)) for c in constants]
    return Kernel({name: function}, name, (region.sources[0].name,), (np.ascontiguousarray(u), *small), ((region.results[0].value, layer.outputs, 1),))


def worth(region: Region, shape: Shape, l2_bytes: int) -> bool:
    """Whether one layer at a time is faster than streaming rows: where the weights alone would push the rows out of L2.

    Below 32 channels the transforms cost more than the products they save.
    """
    found = _match(region)
    if found is None or None in shape:
        return False
    weight = found[0].weight
    return min(weight.shape[:2]) >= MIN_CHANNELS and min(shape[1:]) >= RESULTS and weight.nbytes * 8 >= l2_bytes


def choose(layer: Layer, lanes: int, registers: int, l2_bytes: int) -> Plan:
    """The fastest plan of those measured for layers of this kind (VGG-16's on AVX-512).

    A band's V has to stay in L2 while all output channels are made of it, and its tiles be enough to pay for reading the
    weights once per band. Where both cannot be had the picture is small: it is one band, and all weights are read once.
    """
    down, across = math.ceil(layer.height / RESULTS), math.ceil(layer.width / RESULTS)
    tile_bytes = (RESULTS + TAPS - 1) ** 2 * layer.inputs * 4
    vectors, tiles = 2, (registers - 4) // 2
    for rows in range(1, down // 4 + 1):
        if down % rows == 0 and rows * across >= tiles and rows * across * tile_bytes <= l2_bytes:
            return Plan(RESULTS, lanes, vectors, tiles, rows, split=False)
    if down * across * tile_bytes > 2 * l2_bytes:  # V comes from L3: read it for more channels at a time
        vectors = 4 if registers >= 32 else 3
        tiles = (registers - 4) // vectors
    return Plan(RESULTS, lanes, vectors, tiles, down, split=True)


def _match(region: Region):
    *head, last = region.nodes
    if len(region.nodes) not in (2, 3) or len(region.results) != 1 or region.results[0].shuffle != 1:
        return None
    source, conv, *rest = region.nodes
    if not isinstance(source, Source) or not isinstance(conv, Conv) or conv.groups != 1 or conv.weight.shape[2:] != (TAPS, TAPS):
        return None
    if rest and not (isinstance(last, Pointwise) and last.function in ACTIVATIONS):
        return None
    if region.results[0].value != last.name:
        return None
    return conv, (last if rest else None)
