"""Wide 3x3 convolutions, one layer at a time, as Winograd's products.

They are for channels whose weights leave no room in L2 for streaming rows.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import numpy as np
from tvm import tirx

from sr_tvm.codegen.builder import Expr, FunctionBuilder
from sr_tvm.codegen.kernel import Kernel, KernelConstant, Shape
from sr_tvm.codegen.winograd import TAPS, transform_weight
from sr_tvm.regions.region import Conv, Pointwise, Region, Source
from sr_tvm.regions.value import FLOAT32
from sr_tvm.targets.cpu.gemm.writer import GemmLayer, GemmPlan, WinogradWriter

RESULTS = 4  # of a tile, along each axis: 6 x 6 products for 16 results, a quarter of the direct convolution's
MIN_CHANNELS = 32
MANY_REGISTERS = 32  # with 16, LLVM spills sums of longer or of square tiles, for half the speed
MIN_TILES = 14  # of a band: its weights come from L3, and are used so often
MIN_BANDS = 4  # fewer would leave cores idle
ACTIVATIONS = ("relu", "prelu", "clip")


def winograd_gemm(
    region: Region,
    shape: Shape,
    name: str,
    lanes: int = 16,
    registers: int = 32,
    l2_bytes: int = 1 << 20,
    plan: GemmPlan | None = None,
) -> Kernel | None:
    """Make the kernel of a region that is one 3x3 convolution and at most one activation, one layer at a time.

    The function depends on the layer's sizes alone: layers of equal size may share it.

    Args:
        region: A source, one ungrouped 3x3 convolution and at most one of :data:`ACTIVATIONS`, with one plain result.
        shape: N, H and W of the region.
        name: Of the kernel's function.
        lanes: float32 in a vector, a power of two.
        registers: Vector registers of the processor.
        l2_bytes: Size of a core's second-level cache.
        plan: What is chosen for the layer; None for what :func:`choose` takes.

    Returns:
        The kernel; None for any other region, or where N, H or W is known only at run time.
    """
    found = _match(region)
    batch, height, width = shape
    if found is None or batch is None or height is None or width is None:
        return None
    conv, activation = found
    layer = GemmLayer(batch, conv.weight.shape[1], conv.channels, height, width)
    plan = plan or choose(layer, lanes, registers, l2_bytes)
    parameters = (conv.bias, *(activation.parameters if activation else ()))
    padded = math.ceil(layer.outputs / plan.block) * plan.block
    buffers = [tirx.decl_buffer((padded,), FLOAT32, f"c{i}") for i in range(len(parameters))]
    last = partial(_last, activation.function if activation else None, buffers)
    return Kernel(
        functions={name: WinogradWriter(layer, plan, last).function(buffers)},
        entry=name,
        inputs=tuple(region.value(name) for name in conv.inputs),
        constants=(
            KernelConstant("u", _packed(conv.weight, plan)),
            *(KernelConstant(f"c{i}", _padded(p, padded)) for i, p in enumerate(parameters)),
        ),
        outputs=(region.value(region.results[0].value),),
    )


def _last(function: str | None, buffers: list[tirx.Var], w: FunctionBuilder, value: Expr, channel: Expr) -> Expr:
    """Return a vector of sums after the bias and the activation; ``channel`` is that of its first lane."""
    bias, *parameters = [w.load(buffer, channel) for buffer in buffers]
    value = w.bind("x", value + bias)
    match function:
        case "relu":
            return tirx.max(value, w.splat(0))
        case "clip":
            return tirx.min(tirx.max(value, parameters[0]), parameters[1])
        case "prelu":
            return tirx.max(value, w.splat(0)) + parameters[0] * tirx.min(value, w.splat(0))
    return value


def _packed(weight: np.ndarray, plan: GemmPlan) -> np.ndarray:
    """Return (O, I, 3, 3) weights as (blocks of output channels, positions, I, channels of a block)."""
    u = transform_weight(weight, plan.m)
    u = np.pad(u, ((0, 0), (0, 0), (0, -u.shape[2] % plan.block)))
    return np.ascontiguousarray(u.reshape(*u.shape[:2], -1, plan.block).transpose(2, 0, 1, 3))


def _padded(values: np.ndarray, size: int) -> np.ndarray:
    return np.pad(np.asarray(values, np.float32), (0, size - len(values)))


def worth(region: Region, shape: Shape, l2_bytes: int) -> bool:
    """Tell whether one layer at a time is faster than streaming rows.

    It is where the weights alone would push the rows out of L2. Below 32 channels the transforms cost more than the
    products they save.

    Args:
        region: Any region; only one that :func:`winograd_gemm` has a kernel for can be worth it.
        shape: N, H and W of the region; None for what is known only at run time.
        l2_bytes: Size of a core's second-level cache.

    Returns:
        True where the region is to be made by :func:`winograd_gemm`.
    """
    found = _match(region)
    batch, height, width = shape
    if found is None or batch is None or height is None or width is None:
        return False
    weight = found[0].weight
    return min(weight.shape[:2]) >= MIN_CHANNELS and min(height, width) >= RESULTS and weight.nbytes * 8 >= l2_bytes


def choose(layer: GemmLayer, lanes: int, registers: int, l2_bytes: int) -> GemmPlan:
    """Choose the plan that was fastest among those measured for layers of this kind (VGG-16's, with AVX-512).

    Best is a band whose V stays in L2 while all output channels are made of it, with tiles enough to pay for reading
    the weights once per band. Where both cannot be had, a band is a row of tiles or the whole picture, by what is read.

    Args:
        layer: The sizes of the layer.
        lanes: float32 in a vector.
        registers: Vector registers of the processor.
        l2_bytes: Size of a core's second-level cache.

    Returns:
        The plan, with tiles of 4 x 4 results.
    """
    m, inputs = RESULTS, layer.inputs
    down, across = math.ceil(layer.height / m), math.ceil(layer.width / m)
    row_bytes = (m + 2) ** 2 * inputs * across * 4  # of V
    many = registers >= MANY_REGISTERS
    tall = GemmPlan(m, lanes, 2, (registers - 4) // 2, down, split=True, unroll=4 if many else 2)
    for rows in range(1, down // MIN_BANDS + 1):
        if down % rows == 0 and rows * across >= MIN_TILES and rows * row_bytes <= l2_bytes:
            return replace(tall, rows=rows, split=False)
    weights = (m + 2) ** 2 * inputs * layer.outputs * 4
    square = replace(tall, vectors=4, tiles=(registers - 4) // 4) if many else tall
    if down * row_bytes <= 2 * l2_bytes:
        return tall
    if down >= MIN_BANDS and down * weights < weights + down * row_bytes * layer.outputs / square.block:
        return replace(tall, rows=1, split=False)
    return square


def _match(region: Region) -> tuple[Conv, Pointwise | None] | None:
    """Return the convolution and the activation, if any, of a region of nothing else; None for any other region."""
    if len(region.nodes) not in (2, 3) or len(region.results) != 1:
        return None
    source, conv, *rest = region.nodes
    result, last = region.results[0], region.nodes[-1]
    if not isinstance(source, Source) or not isinstance(conv, Conv) or conv.inputs != (source.name,):
        return None
    if conv.groups != 1 or conv.weight.shape[2:] != (TAPS, TAPS) or (result.value, result.shuffle) != (last.name, 1):
        return None
    if not rest:
        return conv, None
    return (conv, last) if isinstance(last, Pointwise) and last.function in ACTIVATIONS else None
