"""Kinds of kernels as the tuner and the records see them: each with its decisions, as regions are elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec.structs import replace

from sr_tvm.codegen.kernel import Kernel, Shape
from sr_tvm.errors import SrTvmError
from sr_tvm.quantize.network import IntegerNetwork
from sr_tvm.targets.hexagon.hvx.decisions import DEFAULT, HvxDecisions
from sr_tvm.targets.hexagon.hvx.space import KernelSpace
from sr_tvm.targets.hexagon.hvx.stages import HvxStage, stages
from sr_tvm.targets.lowering import IntegerLowering


def kinds(network: IntegerNetwork) -> dict[str, tuple[HvxStage, int]]:
    """List the kinds of kernels of a network: a stage of each, and how many it has."""
    found: dict[str, tuple[HvxStage, int]] = {}
    for stage in stages(network):
        if stage.kind:
            found[stage.kind] = found.get(stage.kind, (stage, 0))[0], found.get(stage.kind, (stage, 0))[1] + 1
    return found


class KernelLowering(IntegerLowering[HvxDecisions]):
    """Decides about one kind of kernel; what is a region to other lowerings is a stage of the kind to this one.

    A record is found by the kind, so that it serves every network that has such kernels.
    """

    name = "hvx"

    def __init__(self, version: int) -> None:
        self.version = version

    @property
    def hardware(self) -> dict[str, int]:
        """The instruction set, and bytes of a vector."""
        return {"version": self.version, "vector": 128}

    def identity(self, region: Any) -> str:
        return str(region.kind)

    def decide(self, region: Any, shape: Shape) -> HvxDecisions:
        return KernelSpace(region).default

    def like(self, decisions: HvxDecisions) -> HvxDecisions:
        """With the same options for LLVM, so that the whole network is compiled once."""
        return replace(DEFAULT, direction=decisions.direction, rotation=decisions.rotation)

    def lower(self, region: Any, shape: Shape, name: str, decisions: HvxDecisions | None = None) -> list[Kernel]:
        """Refuse: kernels of a quantised network are made together, by :func:`sr_tvm.targets.hexagon.integer.build`."""
        raise SrTvmError("kernels of a quantised network are made together, not one by one")

    def space(self, region: Any, shape: Shape, known: Iterable[HvxDecisions] = ()) -> KernelSpace:
        return KernelSpace(region, known)

    def fits(self, decisions: HvxDecisions, region: Any, shape: Shape) -> bool:
        """Whether the kind has these decisions; those about something else would be without effect."""
        return KernelSpace(region).repair(decisions) == decisions

    def to_json(self, decisions: HvxDecisions) -> dict[str, Any]:
        return decisions.to_json()

    def from_json(self, data: Any, where: str) -> HvxDecisions:
        return HvxDecisions.from_json(data, where)
