"""The lowering for phone GPUs: a region as few kernels, each of which computes every value it makes once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any, Final

import numpy as np
from typing_extensions import override

from sr_tvm.codegen.kernel import Kernel, Shape
from sr_tvm.regions.region import Region
from sr_tvm.regions.value import FLOAT16, FLOAT32
from sr_tvm.targets.cpu.rows.element import ELEMENTS, check_range
from sr_tvm.targets.lowering import Lowering
from sr_tvm.targets.opencl.cost import Costs
from sr_tvm.targets.opencl.decisions import (
    BUFFER,
    GROUPS,
    IMAGE,
    LOCAL,
    PIXELS,
    TILES,
    Loads,
    OpenClDecisions,
    StageDecisions,
)
from sr_tvm.targets.opencl.forms import stored
from sr_tvm.targets.opencl.kernel import StageKernel
from sr_tvm.targets.opencl.limits import Limits
from sr_tvm.targets.opencl.shares import outputs_of
from sr_tvm.targets.opencl.space import StageSpace
from sr_tvm.targets.opencl.stages import cut_stages

NARROW_ENOUGH: Final = 32  # channels that go from convolution to convolution in registers where nobody tuned


class OpenClLowering(Lowering[OpenClDecisions]):
    """Makes a kernel of each stage of a region, as the package's head says.

    ``storage``, ``weights`` and ``sums``, with sums in float16 ``load`` too, are what is decided where nobody tuned.

    ``dtype`` is what values between kernels, and weights, are kept as; at a region's borders they are float32. A weight
    beyond what ``dtype`` holds is refused. A region of which N, H or W is not known is left alone.
    """

    name = "opencl"

    def __init__(
        self,
        limits: Limits | None = None,
        storage: str = BUFFER,
        weights: str = LOCAL,
        dtype: str = FLOAT32,
        sums: str = FLOAT32,
        load: Loads = 1,
    ) -> None:
        self.limits, self.storage, self.weights = limits or Limits(), storage, weights
        self.dtype, self.sums, self.load = dtype, sums, load

    @property
    @override
    def hardware(self) -> dict[str, int]:
        facts = asdict(self.limits)
        return facts if self.dtype == FLOAT32 else {**facts, "element_bytes": np.dtype(self.dtype).itemsize}

    @override
    def decide(self, region: Region, shape: Shape) -> OpenClDecisions:
        size = shape[1] or 1, shape[2] or 1
        half = self.dtype == self.sums == FLOAT16
        load = self.load if half else 1
        registers = self.limits.registers * (2 if half else 1)
        items = max(wide * tall for wide, tall in GROUPS if wide * tall <= self.limits.items)
        found = []
        for remade in (False, True):
            stages, total = [], 0.0
            for piece in cut_stages(region, NARROW_ENOUGH, True, remade):
                ways = [
                    StageDecisions(pixels, group, tiles, self.weights, outputs, load, winograd, self.sums)
                    for pixels in PIXELS
                    if pixels <= size[1]
                    for group in GROUPS
                    if group[0] * group[1] == items
                    for tiles in TILES
                    for outputs in outputs_of(piece.region, NARROW_ENOUGH)
                    for winograd in ((False, True) if self.dtype == FLOAT32 else (False,))
                ]
                costs = Costs(piece.region, NARROW_ENOUGH, size, np.dtype(self.dtype).itemsize)
                stages.append(costs.best(registers, ways))
                total += costs.cost(stages[-1])
            found.append((total, OpenClDecisions(NARROW_ENOUGH, self.storage, True, remade, tuple(stages))))
        return min(found, key=lambda way: way[0])[1]

    @override
    def lower(self, region: Region, shape: Shape, name: str, decisions: OpenClDecisions | None = None) -> list[Kernel]:
        n, height, width = shape
        if n is None or height is None or width is None:
            return []
        if self.dtype != FLOAT32:
            check_range(region, ELEMENTS[self.dtype])
        decided = decisions or self.decide(region, shape)
        pieces = cut_stages(region, *decided.way)
        values = {value.key: value for value in map(region.value, (s.name for s in region.sources))}
        plain = {result.value for result in region.results if result.shuffle == 1}
        kernels = []
        for i, (piece, stage) in enumerate(zip(pieces, decided.stages, strict=True)):
            for result in piece.region.results:
                value = piece.region.value(result.value, result.shuffle)
                if result.value in piece.crossing and result.shuffle == 1 and result.value not in plain:
                    value = stored(value, decided.storage == IMAGE, self.dtype)
                values[value.key] = value
            kernel_name = f"{name}_{i}" if len(pieces) > 1 else name
            stage_kernel = StageKernel(
                piece.region, (n, height, width), values, stage, decided.narrow, self.limits, self.dtype
            )
            kernels.append(stage_kernel.build(kernel_name))
        return kernels

    @override
    def space(self, region: Region, shape: Shape, known: Iterable[OpenClDecisions] = ()) -> StageSpace:
        return StageSpace(self.decide(region, shape), region, shape, self.dtype, known)

    @override
    def fits(self, decisions: OpenClDecisions, region: Region, shape: Shape) -> bool:
        return len(decisions.stages) == len(cut_stages(region, *decisions.way))

    @override
    def to_json(self, decisions: OpenClDecisions) -> dict[str, Any]:
        return decisions.to_json()

    @override
    def from_json(self, data: Any, where: str) -> OpenClDecisions:
        return OpenClDecisions.from_json(data, where)
