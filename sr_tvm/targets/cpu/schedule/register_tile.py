"""The rule for every other reduction: its sums stay in registers, a tile of channels and pixels at a time."""

from __future__ import annotations

from typing import Any

from tvm import s_tir

from sr_tvm.targets.cpu.schedule.blocks import (
    MAX_UNROLLED,
    SPATIAL,
    axes_of,
    lanes_of,
    make_tasks,
    name_of,
    reduces,
    register_axis,
    tile_of,
    vector_of,
)

MAX_ROWS, ODD_ROWS = 12, 4  # channels of a register tile; of a tile that is a whole row, which LLVM vectorises
STACK_BYTES = 1024  # TVM puts local buffers below this on the stack, and LLVM then keeps them in registers


def apply(sch: s_tir.Schedule, block: Any, vector_bytes: int) -> tuple[str, ...] | None:
    """Tile the block that reads a reduction's result by channels and pixels, and reduce in registers inside it.

    Args:
        sch: The schedule of a kernel, which is changed.
        block: One of its blocks.
        vector_bytes: Bytes of a vector.

    Returns:
        The names of the reduction and of the block that writes its result; None, and nothing is changed, for a block
        that reduces nothing.

    Raises:
        TypeError: The length of a loop is not known before the kernel runs.
    """
    if not reduces(sch, block):
        return None
    spatial = [v for v in sch.get(block).iter_vars if v.iter_type == SPATIAL]
    reads = [axes_of(region, spatial) for region in sch.get(block).reads]
    tile = tile_of(sch, block)
    names = name_of(sch, block), name_of(sch, tile)
    loops = sch.get_loops(tile)
    if len(loops) != len(spatial) or not loops:  # one number from all: there is nothing to tile
        return names
    width = int(sch.get(loops[-1]).extent)
    vector = vector_of(sch, block, vector_bytes)
    register = register_axis(reads, len(spatial))
    lanes = lanes_of(width, 2 * vector if register is None else vector)
    most = ODD_ROWS if lanes is None else min(MAX_ROWS, (STACK_BYTES - 1) * vector // vector_bytes // lanes)
    rows = 1 if register is None else _rows_of(int(sch.get(loops[register]).extent), most)
    outer, inner = loops[:-1], []
    if register is not None:
        outer[register], fine = sch.split(loops[register], [None, rows])
        inner.append(fine)
    coarse, fine = sch.split(loops[-1], [None, width if lanes is None else lanes])
    outer.append(coarse)
    inner.append(fine)
    sch.reorder(*outer, *inner)
    window = _reduce_in(sch, block, outer[-1], rows, lanes is not None)
    for loop in inner[:-1]:
        sch.unroll(loop)
    if lanes is not None:
        sch.vectorize(inner[-1])
    make_tasks(sch, outer)
    if window is not None:  # last: no loop of a decomposed reduction can be vectorised
        sch.decompose_reduction(block, window)
    return names


def _reduce_in(sch: s_tir.Schedule, block: Any, loop: Any, rows: int, vectors: bool) -> Any:
    """Compute the block inside a tile's loop, products outside and pixels inside.

    Returns:
        The first loop over products; None where there is none.
    """
    sch.compute_at(block, loop, preserve_unit_loops=True)
    kinds = [v.iter_type for v in sch.get(block).iter_vars]
    loops = sch.get_loops(block)[-len(kinds) :]
    space = [lp for lp, kind in zip(loops, kinds, strict=True) if kind == SPATIAL]
    window = [lp for lp, kind in zip(loops, kinds, strict=True) if kind != SPATIAL]
    *fixed, last = space
    # A row that is left to LLVM goes outside the channels: one loop for it to look at, not one for each channel.
    sch.reorder(*window, *((*fixed, last) if vectors else (last, *fixed)))
    if vectors:
        sch.vectorize(last)
    for lp in fixed:
        sch.unroll(lp)
    products = rows if vectors else MAX_UNROLLED + 1
    for lp in reversed(window[1:]):
        products *= int(sch.get(lp).extent)
        if products > MAX_UNROLLED:
            break
        sch.unroll(lp)
    return window[0] if window else None


def _rows_of(extent: int, most: int) -> int:
    """Return the rows of a register tile: fewest tiles, then the least waste."""
    if extent <= most:
        return extent
    exact = [d for d in range(max(1, most // 2), most + 1) if extent % d == 0]
    return max(exact) if exact else most
