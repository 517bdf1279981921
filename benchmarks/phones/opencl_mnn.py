"""MNN's OpenCL convolutions by the same count as ours, from a checkout of MNN: its wheel is built without OpenCL.

Nothing of MNN is kept here. Its buffer kernels for fp32 are compiled as they are; what MNN's code says beside them is
how many outputs a work-item of each makes. Of the kernels that fit a layer the one of the fewest slots is taken, as
MNN's own tuning would at best; arithmetic outside of the convolutions is left out, in favour of MNN.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sr_tvm.errors import SrTvmError
from sr_tvm.isa.count import Count, count_sources
from sr_tvm.isa.launch import Launch, SourceLoop
from sr_tvm.records.architecture import Architecture

SOURCE = "source/backend/opencl/execution/cl/conv_2d_buf.cl"
GROUP = (64, 4, 1)
# name -> channels, rows and columns that a work-item computes (ConvBufExecution.cpp)
POINTWISE = {
    "conv_2d_1x1_c4h1w4": (4, 1, 4), "conv_2d_1x1_c4h1w2": (4, 1, 2), "conv_2d_1x1_c4h1w1": (4, 1, 1),
    "conv_2d_1x1_c8h1w4": (8, 1, 4), "conv_2d_1x1_c8h1w2": (8, 1, 2),
}  # fmt: skip
SPATIAL = {
    "conv_2d_c4h1w1": (4, 1, 1), "conv_2d_c4h1w2": (4, 1, 2), "conv_2d_c4h1w4": (4, 1, 4), "conv_2d_c4h4w1": (4, 4, 1),
    "conv_2d_c8h2w1": (8, 2, 1), "conv_2d_c8h4w1": (8, 4, 1), "conv_2d_c8h1w4": (8, 1, 4),
}  # fmt: skip


@dataclass(frozen=True)
class Layer:
    """A convolution of a network."""

    name: str
    inputs: int
    outputs: int
    kernel: int


def layers(shape: Architecture) -> list[Layer]:
    """The convolutions of a network in the order of its architecture."""
    return [Layer(str(name), cin, cout, k) for name, cin, cout, k in shape.convolutions]


def source(checkout: Path) -> str:
    """The text of the kernels with MNN's definitions for fp32.

    Raises:
        SrTvmError: the folder is no checkout of MNN.
    """
    path = checkout / SOURCE
    if not path.is_file():
        raise SrTvmError(f"{checkout} has no {SOURCE}: give a clone of https://github.com/alibaba/MNN")
    lines = []
    for n in ("", "2", "3", "4", "8", "16"):
        lines += [f"#define FLOAT{n} float{n}", f"#define COMPUTE_FLOAT{n} float{n}"]
        lines += [f"#define CONVERT_FLOAT{n} convert_float{n}", f"#define CONVERT_COMPUTE_FLOAT{n} convert_float{n}"]
    # As in all other kernels that are counted: Mesa makes four loads of a vload4, which promises no alignment.
    lines.append("#define vload4(at, from) (((__global const float4 *)(from))[at])")
    return "\n".join(lines) + "\n" + path.read_text(encoding="utf-8")


def launches(layer: Layer, height: int, width: int) -> list[Launch]:
    """The kernels that compute a layer with no remainder, as MNN launches them."""
    found = []
    for name, (channels, rows, columns) in (POINTWISE if layer.kernel == 1 else SPATIAL).items():
        if layer.outputs % channels or height % rows or width % columns:
            continue
        each = 4.0 * channels * rows * columns
        loop = SourceLoop(-(-layer.inputs // 4), multiplies=each, macs=each)
        if layer.kernel > 1:
            inner = SourceLoop(layer.kernel, inner=(SourceLoop(layer.kernel, multiplies=each, macs=each),))
            loop = SourceLoop(loop.extent, inner=(inner,))
        body = SourceLoop(1, stores=channels * rows * columns, inner=(loop,))
        wide, tall = layer.outputs // channels * (width // columns), height // rows
        groups = (-(-wide // GROUP[0]), -(-tall // GROUP[1]), 1)
        found.append(Launch(name, groups, GROUP, body, {}, {}))
    return found


def row(checkout: Path, shape: Architecture, gpu: str, size: tuple[int, int]) -> dict[str, Any]:
    """A row of MNN's convolutions of a network.

    Raises:
        SrTvmError: no checkout, the kernels do not build, or a layer has none whose count can be trusted.
    """
    height, width = size
    known = layers(shape)
    wanted = [(layer, launch) for layer in known for launch in launches(layer, height, width)]
    counts = count_sources([(source(checkout), [launch for _, launch in wanted])], gpu)[0]
    chosen = [_best(layer, [c for (of, _), c in zip(wanted, counts, strict=True) if of is layer]) for layer in known]
    macs, slots = shape.macs(height, width), sum(c.total_slots for c in chosen)
    each = [
        {"layer": layer.name, "kernel": c.name, "waves": c.statistics.max_waves, "spills": c.statistics.spills,
         "mac_per_slot": round(height * width * layer.inputs * layer.outputs * layer.kernel**2 / c.total_slots, 4)}
        for layer, c in zip(known, chosen, strict=True)
    ]  # fmt: skip
    return {"gpu": gpu, "slots": round(slots), "useful_macs": macs, "mac_per_slot": round(macs / slots, 4),
            "spills": sum(c.statistics.spills + c.statistics.fills for c in chosen), "layers": each,
            "version": _version(checkout)}  # fmt: skip


def _best(layer: Layer, counts: Sequence[Count]) -> Count:
    sound = [c for c in counts if not c.problem]
    if not sound:
        said = "; ".join(f"{c.name}: {c.problem}" for c in counts) or "no kernel fits"
        raise SrTvmError(f"MNN's layer {layer.name}: {said}")
    return min(sound, key=lambda c: c.total_slots)


def _version(checkout: Path) -> str:
    """MNN's version as its header says."""
    header = checkout / "include/MNN/MNNDefine.h"
    text = header.read_text(encoding="utf-8") if header.is_file() else ""
    numbers = re.findall(r"#define MNN_VERSION_(?:MAJOR|MINOR|PATCH) (\d+)", text)
    return ".".join(numbers) or "unknown"
