"""What there is to tune of streaming regions: found in a network as its compilation comes across them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sr_tvm.regions.data import region_hash
from sr_tvm.regions.region import Region
from sr_tvm.targets.cpu.rows.lowering import RowLowering
from sr_tvm.targets.lowering import Kernel, Shape

if TYPE_CHECKING:
    from sr_tvm.targets.target import Target

Size = tuple[int, int, int]
OPEN_SIZE: Size = (1, 512, 512)  # what is measured where the kernels are for any size: the tile of ``upscale``


@dataclass(frozen=True, eq=False)
class RegionTask:
    """Regions of one structure at one shape: ``weight`` of them. ``size`` is what they are measured at.

    ``shape`` is what the compiler knows of N, H and W; where it knows all of it, that is the size.
    """

    name: str
    region: Region
    shape: Shape
    size: Size
    lowering: RowLowering
    weight: int = 1

    @cached_property
    def key(self) -> str:
        """Of what is measured: the default decisions are in it, for times are noted relative to theirs."""
        default = self.lowering.decide(self.region, self.shape).to_json()
        text = json.dumps([region_hash(self.region), self.shape, self.size, default])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def flops(self) -> float:
        n, h, w = self.size
        return 2.0 * self.region.macs() * n * h * w


@dataclass
class Collector:
    """A lowering that remembers the regions it is asked for, and lowers them as ``inner`` does.

    ``open_size`` is the size to measure at where the shape does not tell.
    """

    inner: RowLowering
    open_size: Size
    tasks: dict[str, RegionTask] = field(default_factory=dict)
    name = "collector"

    def lower(self, region: Region, shape: Shape, name: str) -> list[Kernel]:
        size = tuple(known or open_ for known, open_ in zip(shape, self.open_size, strict=True))
        task = RegionTask(name, region, shape, (size[0], size[1], size[2]), self.inner)
        same = self.tasks.get(task.key)
        self.tasks[task.key] = replace(same, weight=same.weight + 1) if same else task
        return self.inner.lower(region, shape, name)


def find_regions(mod: Any, target: Target, open_size: Size = OPEN_SIZE) -> tuple[Any, list[RegionTask]]:
    """High-level Relax to what :func:`~sr_tvm.tuning.tune.tune` takes: the fused module and the streaming regions.

    The module has the streamed kernels as the cost model makes them, and beside them those that MetaSchedule may tune.
    """
    from sr_tvm.passes.pipeline import optimize

    lowering = target.lowering()
    collector = Collector(lowering, open_size) if isinstance(lowering, RowLowering) else None
    fused, _ = optimize(mod, target.tvm_target(), lowering=collector or lowering)
    return fused, list(collector.tasks.values()) if collector else []
