"""The lowering for phone GPUs: a region as few kernels, each of which computes every value it makes once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sr_tvm.codegen.kernel import Kernel, Shape
from sr_tvm.regions.region import Region
from sr_tvm.regions.value import FLOAT32, Value
from sr_tvm.targets.lowering import DecisionSpace, Lowering
from sr_tvm.targets.opencl.decisions import BUFFER, IMAGE, LOCAL, Decisions, StageDecisions
from sr_tvm.targets.opencl.forms import stored
from sr_tvm.targets.opencl.kernel import Limits, StageKernel
from sr_tvm.targets.opencl.stages import cut_stages


class OpenClLowering(Lowering[Decisions]):
    """See the package. ``storage`` and ``weights`` are what is decided where nobody tuned."""

    name = "opencl"

    def __init__(
        self, limits: Limits | None = None, storage: str = BUFFER, weights: str = LOCAL, dtype: str = FLOAT32
    ) -> None:
        self.limits, self.storage, self.weights, self.dtype = limits or Limits(), storage, weights, dtype

    @property
    def hardware(self) -> dict[str, int]:
        return {"local_bytes": self.limits.local_bytes, "items": self.limits.items}

    def decide(self, region: Region, shape: Shape) -> Decisions:
        narrow = 32
        stages = [StageDecisions(weights=self.weights) for _ in cut_stages(region, narrow)]
        return Decisions(narrow, self.storage, tuple(stages))

    def lower(self, region: Region, shape: Shape, name: str, decisions: Decisions | None = None) -> list[Kernel]:
        """Make the kernels, one a stage; none where a size is not known."""
        n, height, width = shape
        if n is None or height is None or width is None:
            return []
        decided = decisions or self.decide(region, shape)
        pieces = cut_stages(region, decided.narrow)
        values = {value.key: value for value in map(region.value, (s.name for s in region.sources))}
        plain = {result.value for result in region.results if result.shuffle == 1}
        kernels = []
        for i, (piece, stage) in enumerate(zip(pieces, decided.stages, strict=True)):
            for result in piece.region.results:
                value = piece.region.value(result.value, result.shuffle)
                if result.value in piece.crossing and result.shuffle == 1 and result.value not in plain:
                    value = stored(value, decided.storage == IMAGE)
                values[value.key] = value
            kernel_name = f"{name}_{i}" if len(pieces) > 1 else name
            stage_kernel = StageKernel(
                piece.region, (n, height, width), values, stage, decided.narrow, self.limits, self.dtype
            )
            kernels.append(stage_kernel.build(kernel_name))
        return kernels

    def space(self, region: Region, shape: Shape, known: Iterable[Decisions] = ()) -> DecisionSpace[Decisions]:
        raise NotImplementedError

    def fits(self, decisions: Decisions, region: Region, shape: Shape) -> bool:
        return len(decisions.stages) == len(cut_stages(region, decisions.narrow))

    def to_json(self, decisions: Decisions) -> dict[str, Any]:
        return decisions.to_json()

    def from_json(self, data: Any, where: str) -> Decisions:
        return Decisions.from_json(data, where)
