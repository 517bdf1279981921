"""Tasks of streaming regions: found in a network as its compilation comes across them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from sr_tvm.build.builder import Candidate
from sr_tvm.codegen.kernel import Kernel, Lowers, Shape
from sr_tvm.errors import SrTvmError
from sr_tvm.regions.data import region_hash, to_data
from sr_tvm.regions.region import Region

if TYPE_CHECKING:
    from sr_tvm.targets.lowering import Lowering
    from sr_tvm.targets.target import Target

Size = tuple[int, int, int]
OPEN_SIZE: Size = (1, 512, 512)  # what is measured where the kernels are for any size: the tile of ``upscale``


@dataclass(frozen=True, eq=False)
class RegionTask:
    """Regions of one structure at one shape.

    Attributes:
        name: The kernel's, for people.
        region: One of the regions.
        shape: What the compiler knows of N, H and W; None for what is open. Where it knows all of it, that is the size.
        size: (N, H, W) that candidates are measured at.
        target: What they are compiled for.
        weight: How many such regions the network has.
    """

    name: str
    region: Region
    shape: Shape
    size: Size
    target: Target
    weight: int = 1

    @cached_property
    def lowering(self) -> Lowering[Any]:
        """The target's lowering, which decides how a region streams.

        Raises:
            SrTvmError: The target has none.
        """
        found = self.target.lowering()
        if found is None:
            raise SrTvmError(f"target {self.target.name} streams no regions, so there is nothing to decide")
        return found

    @cached_property
    def key(self) -> str:
        """The hash of what is measured: the default decisions are in it, for times are noted relative to theirs."""
        default = self.lowering.to_json(self.lowering.decide(self.region, self.shape))
        text = json.dumps([region_hash(self.region), self.shape, self.size, default])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def flops(self) -> float:
        """The floating-point operations of one call at the measured size, two for a multiply-accumulate."""
        n, h, w = self.size
        return 2.0 * self.region.macs() * n * h * w

    def inputs(self) -> dict[str, np.ndarray]:
        """Draw seeded numbers for every source of the region.

        Returns:
            (N, C, H, W) in -1..1 by the name of the source, of its type, as they lie in memory.
        """
        rng = np.random.default_rng(0)
        n, h, w = self.size
        return {
            source.name: rng.uniform(-1, 1, (n, source.channels, h, w)).astype(source.dtype)
            for source in self.region.sources
        }

    @cached_property
    def default(self) -> Candidate:
        """The lowering's own decisions, in the space's form of them."""
        space = self.lowering.space(self.region, self.shape)
        return self.candidate(space.key(space.default), space.default)

    @property
    def truth(self) -> Candidate:
        """The default again: other decisions must compute the same as it does."""
        return self.default

    def candidate(self, key: str, decisions: Any) -> Candidate:
        """Make a candidate of decisions.

        Args:
            key: Names them within the region's design space.
            decisions: As the lowering understands them.

        Returns:
            The candidate.
        """
        return Candidate(key, {"decisions": self.lowering.to_json(decisions)})

    def build_request(self) -> dict[str, Any]:
        """Describe the task for the process that builds its candidates.

        Returns:
            The kind, the target, the region, its shape and size, as JSON holds them.
        """
        from sr_tvm.targets import registry

        return {
            "kind": "region",
            "target": registry.spec(self.target),
            "region": to_data(self.region),
            "shape": self.shape,
            "size": self.size,
        }


@dataclass
class Collector:
    """A lowering that remembers the regions it is asked for, and lowers them as another does.

    Attributes:
        inner: The other lowering.
        target: What the tasks are for.
        open_size: (N, H, W) to measure at where the shape does not tell.
        tasks: Those found so far, by key.
    """

    inner: Lowers
    target: Target
    open_size: Size
    tasks: dict[str, RegionTask] = field(default_factory=dict)
    name = "collector"

    def lower(self, region: Region, shape: Shape, name: str) -> list[Kernel]:
        """Lower a region, and remember it as a task.

        Args:
            region: The region.
            shape: What is known of N, H and W; None for what is open.
            name: Of the kernel.

        Returns:
            The kernels that the inner lowering makes.
        """
        size = tuple(known or open_ for known, open_ in zip(shape, self.open_size, strict=True))
        task = RegionTask(name, region, shape, (size[0], size[1], size[2]), self.target)
        same = self.tasks.get(task.key)
        self.tasks[task.key] = replace(same, weight=same.weight + 1) if same else task
        return self.inner.lower(region, shape, name)


def find_regions(mod: Any, target: Target, open_size: Size = OPEN_SIZE) -> tuple[Any, list[RegionTask]]:
    """Turn high-level Relax into what :func:`~sr_tvm.tuning.tune.tune` takes.

    Args:
        mod: The imported network, a module of high-level Relax.
        target: What it is compiled for.
        open_size: (N, H, W) to measure at where the module is for any size.

    Returns:
        The fused module, and its streaming regions. The module has the streamed kernels as the lowering decides by
        itself, and beside them those that MetaSchedule may tune.
    """
    from sr_tvm.passes.pipeline import optimize

    lowering = target.lowering()
    collector = Collector(lowering, target, open_size) if lowering is not None else None
    fused, _ = optimize(mod, target.tvm_target(), lowering=collector, hooks=target)
    return fused, list(collector.tasks.values()) if collector else []
