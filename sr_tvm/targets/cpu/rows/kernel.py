"""One region as one kernel: stages, plan, code and weights put together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from sr_tvm.codegen.kernel import Kernel, KernelConstant, Shape
from sr_tvm.regions.region import Region
from sr_tvm.regions.value import FLOAT32, NHCW, Value
from sr_tvm.targets.cpu.rows.decisions import Tiles
from sr_tvm.targets.cpu.rows.driver import DriverOptions, RowDriver, StageCall, clear_function
from sr_tvm.targets.cpu.rows.layout import RowLayout
from sr_tvm.targets.cpu.rows.plan import plan_stages
from sr_tvm.targets.cpu.rows.stage import emit_stage
from sr_tvm.targets.cpu.rows.stages import build_stages


def stream_kernel(
    region: Region,
    shape: Shape,
    name: str,
    layout: RowLayout,
    tiles: Tiles,
    bands: int | None = None,
    chain: bool = True,
    by_rows: frozenset[str] = frozenset(),
) -> Kernel:
    """Stream the whole of a region in one kernel.

    Args:
        region: What the kernel computes.
        shape: N, H and W of the region; None for what is known only at run time.
        name: Of the entry function, and the prefix of all others' names.
        layout: Of the rows of a strip.
        tiles: The decisions on the stages' code.
        bands: How many bands of rows run in parallel; None for as many as TVM has threads.
        chain: Whether 1x1 convolutions join the stage that makes their input.
        by_rows: Names of sources and plain results that lie in memory as NHCW, all channels of a row together, for
            kernels that read them row by row; all others are NCHW.

    Returns:
        The kernel, with its packed weights as its one constant.

    Raises:
        SrTvmError: The strip is too narrow for the halo, and the picture is wider than it or of unknown width.
    """

    def value(name: str, shuffle: int = 1) -> Value:
        plain = region.value(name, shuffle)
        return replace(plain, layout=NHCW) if name in by_rows and shuffle == 1 else plain

    inputs = tuple(value(source.name) for source in region.sources)
    outputs = tuple(value(result.value, result.shuffle) for result in region.results)
    stages = build_stages(region, chain)
    plan = plan_stages(stages, layout)
    widths = {stage.value: stage.channels for stage in stages}
    calls: list[StageCall] = []
    unique: dict[Any, str] = {}
    arrays: list[np.ndarray] = []
    top, scratch, bodies = 0, 0, {}
    for stage in stages:
        function = emit_stage(stage, layout, tiles, plan.scratch, widths)
        if function.key not in unique:
            unique[function.key] = f"{name}_{len(unique)}"
            bodies[unique[function.key]] = function.prim_func(unique[function.key])
        calls.append(StageCall(function, unique[function.key], top))
        arrays += function.packed.arrays
        padding = -function.packed.size % layout.lanes
        arrays.append(np.zeros(padding, FLOAT32))
        top += function.packed.size + padding
        scratch = max(scratch, function.scratch)
    with np.errstate(over="ignore"):  # the bounds of a clip may be infinite
        packed = np.concatenate(arrays).astype(layout.element.dtype)
    workspace = -(-(plan.scratch + scratch) // layout.lanes) * layout.lanes
    options = DriverOptions(name, inputs, outputs, layout, plan, calls, packed.size, workspace, bands)
    driver = RowDriver(shape, options)
    entry, bodies[driver.strip.name_hint] = driver.build()
    bodies[driver.clear.name_hint] = clear_function(driver.clear.name_hint, layout)
    return Kernel(
        functions={name: entry, **bodies},
        entry=name,
        inputs=inputs,
        constants=(KernelConstant("weights", packed),),
        outputs=outputs,
        called=(*driver.names, driver.strip, driver.clear),
    )
