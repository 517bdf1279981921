"""The rule for sums of pixels: convolutions that are in no region, and pooling.

TVM makes a matrix product of a convolution, with 20 channels padded to its tile, and shares out a window of four
pixels among work-items. Here a work-item has the sums of a pixel in registers, several channels of it, so that each
pixel that it reads serves them all; neighbours in a row are neighbours in a work-group.
"""

from __future__ import annotations

import math
from typing import Any

import tvm
from tvm import s_tir, tirx
from tvm.s_tir import dlight
from typing_extensions import override

from sr_tvm.targets.cpu.schedule.blocks import (
    SPATIAL,
    axes_of,
    reduces,
    register_axis,
    tile_of,
)

ITEMS = 64  # of a work-group: small, so that a picture of few pixels still has several
MIN_ITEMS = 512  # fewer would leave most of a GPU idle, and TVM's rules share out the sum of one result
MAX_CHANNELS = 8  # sums of a work-item: registers of every GPU hold them
UNROLLED = 32  # products written out


class PixelSums(dlight.ScheduleRule):
    """Give each work-item a pixel, in several channels, and the whole sum of each.

    The rule is for kernels of one reduction and what is done to its result point by point, of sizes known beforehand.
    """

    @override
    def apply(self, func: tirx.PrimFunc, target: tvm.target.Target, tunable: bool) -> s_tir.Schedule | None:
        if not isinstance(func, tirx.PrimFunc):
            return None
        try:
            sch = s_tir.Schedule(tvm.IRModule({"main": func}))
            block = _only_reduction(sch)
            return sch if block is not None and _schedule(sch, block) else None
        except (s_tir.ScheduleError, ValueError, TypeError):  # dynamic shapes, blocks that are not a plain nest
            return None


def _only_reduction(sch: s_tir.Schedule) -> Any:
    """Return the only reduction, all else but the kernel's result inlined; None where there are others."""
    blocks = sch.get_child_blocks(sch.get_sblock("root"))
    found = [block for block in blocks if reduces(sch, block)]
    if len(found) != 1:
        return None
    for block in blocks:
        if not reduces(sch, block) and sch.get_consumers(block):
            sch.compute_inline(block)
    return found[0]


def _schedule(sch: s_tir.Schedule, block: Any) -> bool:
    """Return whether this rule is for the reduction; if so, it is scheduled together with what reads it."""
    spatial = [v for v in sch.get(block).iter_vars if v.iter_type == SPATIAL]
    extents = [int(v.dom.extent) for v in spatial]
    reads = [axes_of(region, spatial) for region in sch.get(block).reads]
    register = register_axis(reads, len(spatial))
    if len(spatial) < 3 or math.prod(extents) < MIN_ITEMS:  # a matrix, or few results of many elements
        return False
    tile = tile_of(sch, block)
    if len(sch.get_child_blocks(sch.get_sblock("root"))) != 2:  # something else that would need a schedule
        return False
    outer, inner = sch.get_loops(tile), []
    if register is not None:
        most = max(1, min(MAX_CHANNELS, math.prod(extents) // MIN_ITEMS))
        channels = max(d for d in range(1, most + 1) if extents[register] % d == 0)
        outer[register], fine = sch.split(outer[register], [None, channels])
        inner.append(fine)
        sch.reorder(*outer, fine)
    *rest, tall, wide = outer
    group, item = sch.split(sch.fuse(tall, wide), [None, ITEMS])
    sch.bind(sch.fuse(*rest), "blockIdx.y")
    sch.bind(group, "blockIdx.x")
    sch.bind(item, "threadIdx.x")
    sch.set_scope(block, 0, "local")
    _reduce_in(sch, block, item)
    for loop in inner:
        sch.unroll(loop)
    return True


def _reduce_in(sch: s_tir.Schedule, block: Any, item: Any) -> None:
    """Compute the block's results of a work-item: products outside, channels inside."""
    sch.compute_at(block, item, preserve_unit_loops=True)
    kinds = [v.iter_type for v in sch.get(block).iter_vars]
    loops = sch.get_loops(block)[-len(kinds) :]
    space = [loop for loop, kind in zip(loops, kinds, strict=True) if kind == SPATIAL]
    window = [loop for loop, kind in zip(loops, kinds, strict=True) if kind != SPATIAL]
    sch.reorder(*window, *space)
    for loop in space:
        sch.unroll(loop)
    products = math.prod(int(sch.get(loop).extent) for loop in space)
    for loop in reversed(window[1:]):
        products *= int(sch.get(loop).extent)
        if products > UNROLLED:
            break
        sch.unroll(loop)
    sch.decompose_reduction(block, window[0])
