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

ACTIVATIONS = ("relu", "prelu", "clip")


def winograd_gemm(region: Region, shape: Shape, name: str, lanes: int = 16, registers: int = 32, plan: Plan | None = None) -> Kernel | None:
    found = _match(region)
    if found is None or None in shape:
        return None
    conv, activation = found
    layer = Layer(shape[0], conv.weight.shape[1], conv.channels, shape[1], shape[2])
    plan = plan or choose(layer, lanes, registers)
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


def choose(layer: Layer, lanes: int, registers: int) -> Plan:
    return Plan(4, lanes, 4, 7, 1, False)


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
