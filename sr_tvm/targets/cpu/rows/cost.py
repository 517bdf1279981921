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
    """What a piece is estimated to cost, at its best strip width.

    Attributes:
        cost: vector FMAs for each pixel of a row.
        width: pixels of the strip that it is for.
    """

    cost: float
    width: int


def strip_widths(width: int, halo: int, block: int, most: int = 64) -> list[int]:
    """List the widths that cut a row of pixels evenly into 1, 2, ... overlapping strips.

    Args:
        width: Pixels of the row.
        halo: Pixels by which neighbouring strips overlap, on each side.
        block: Pixels of a column block, which widths are rounded up to.
        most: The largest number of strips that is tried.

    Returns:
        Different widths in pixels, the widest first; that of a single strip is always there.
    """
    found: list[int] = []
    for count in range(1, most + 1):
        strip = ceil(ceil((width + 2 * halo * (count - 1)) / count) / block) * block
        if count > 1 and strip <= 2 * halo:
            break
        if strip not in found:
            found.append(strip)
    return found


def _compute(stages: tuple[RowStage, ...], layout: RowLayout, winograd: bool) -> float:
    """Return vector FMAs for each pixel, epilogues and transforms counted roughly."""
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
    """Estimate what a region costs as one kernel, at the strip width where that is least.

    The model adds computing with its repeated halos, reading and writing of memory, and the line buffers' traffic as
    far as they don't fit the second-level cache.

    Args:
        region: What the kernel computes.
        width: Pixels of the picture's rows; None where known only at run time, for which :data:`NOMINAL_WIDTH` stands
            in.
        processor: The core that it runs on.
        layout: Gives lanes, element, phases and rows of a step; its width is not used.
        winograd: Whether convolutions go by Winograd's products where these have fewer operations.

    Returns:
        The least cost and its strip width.
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
    """Return 0 up to ``low``, 1 from ``high`` on, and what lies on a straight line between."""
    return max(0.0, min(1.0, (value - low) / (high - low)))


def _channels(stages: tuple[RowStage, ...], value: str) -> int:
    return next(s.channels for s in stages if s.value == value and s.result is None)
