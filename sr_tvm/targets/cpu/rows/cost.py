"""How long a piece takes as one kernel, in vector FMAs: compute with repeated halo, traffic, line buffers beyond L2."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil

from sr_tvm.regions.region import Region, taps
from sr_tvm.targets.cpu.rows.layout import RowLayout
from sr_tvm.targets.cpu.rows.machine import CpuCore
from sr_tvm.targets.cpu.rows.plan import plan_stages
from sr_tvm.targets.cpu.rows.stage import winograd_pays
from sr_tvm.targets.cpu.rows.stages import RowStage, build_stages

NOMINAL_WIDTH = 640  # where the width is known only when the kernel runs
STRIPS = 1.06  # what shorter loops cost where a row is more than one strip
OVERHEAD = 2.0  # FMAs a vector costs that is loaded, transformed or stored once


@dataclass(frozen=True)
class Estimate:
    """Cost in vector FMAs for each pixel of a row, and the strip width it is for (pixels)."""

    cost: float
    width: int


def strip_widths(width: int, halo: int, block: int, most: int = 64) -> list[int]:
    """Widths that cut a row of ``width`` pixels evenly into 1, 2, ... overlapping strips; there is always that of 1."""
    found: list[int] = []
    for count in range(1, most + 1):
        strip = ceil(ceil((width + 2 * halo * (count - 1)) / count) / block) * block
        if count > 1 and strip <= 2 * halo:
            break
        if strip not in found:
            found.append(strip)
    return found


def _compute(stages: tuple[RowStage, ...], layout: RowLayout, winograd: bool) -> float:
    """Vector FMAs for each pixel, epilogues and transforms counted roughly."""
    total = 0.0
    for stage in stages:
        total += OVERHEAD * stage.channels
        for layer in stage.layers:
            total += layer.channels
            for term in layer.terms:
                outputs, channels = term.weight.shape[:2]
                if winograd and winograd_pays(term, layout):
                    total += outputs * channels * 4 + 12 * term.groups * channels + 11 * outputs
                else:
                    total += float(taps(term.weight).sum()) * channels
    return total / layout.lanes


def estimate(
    region: Region, width: int | None, processor: CpuCore, layout: RowLayout, winograd: bool = True
) -> Estimate:
    """The best strip width of ``region`` as one kernel and its cost; ``width`` is the picture's, None if unknown.

    ``layout`` gives phases and rows of a step; its width is not used.
    """
    stages = build_stages(region)
    halo = plan_stages(stages, replace(layout, width=layout.block)).halo
    picture = width or max(NOMINAL_WIDTH, 4 * halo)
    compute = _compute(stages, layout, winograd)
    moved = 4.0 * sum(s.channels for s in stages if s.source is not None or s.result is not None)
    size = layout.element.bytes
    weights = size * sum(term.weight.size for term in region.convolutions())
    line_buffer_traffic = size * sum(2 * s.channels + sum(_channels(stages, v) for v in s.reads) for s in stages)
    best: Estimate | None = None
    for strip in strip_widths(picture, halo, layout.block):
        plan = plan_stages(stages, replace(layout, width=strip))
        held = size * plan.scratch + weights
        count = 1 if strip >= picture else 1 + -(-(picture - strip) // max(strip - 2 * halo, 1))
        factor = count * strip / picture
        strips = STRIPS if count > 1 else 1.0
        cost = strips * factor * compute + moved / processor.memory_bytes_per_fma
        outside_l2 = _ramp(held / processor.l2_bytes, 1.0, 5.0)
        cost += outside_l2 * factor * line_buffer_traffic / processor.l3_bytes_per_fma
        cost += (
            _ramp(held / processor.l3_bytes, 1.0, 3.0) * factor * line_buffer_traffic / processor.memory_bytes_per_fma
        )
        if best is None or cost < best.cost:
            best = Estimate(cost, strip)
        if not outside_l2:
            break  # narrower strips only repeat more
    assert best is not None
    return best


def _ramp(value: float, low: float, high: float) -> float:
    """0 up to ``low``, 1 from ``high`` on, straight between."""
    return max(0.0, min(1.0, (value - low) / (high - low)))


def _channels(stages: tuple[RowStage, ...], value: str) -> int:
    return next(s.channels for s in stages if s.value == value and s.result is None)
