"""Kinds of kernels as the tuner and the records see them: each with its decisions, as regions are elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec.structs import replace
from typing_extensions import override

from sr_tvm.codegen.kernel import Kernel, Shape
from sr_tvm.errors import SrTvmError
from sr_tvm.quantize.network import IntegerNetwork
from sr_tvm.targets.hexagon.hvx.decisions import DEFAULT, HvxDecisions
from sr_tvm.targets.hexagon.hvx.space import KernelSpace
from sr_tvm.targets.hexagon.hvx.stages import HvxStage, grouped, stages
from sr_tvm.targets.lowering import IntegerLowering


def kinds(network: IntegerNetwork) -> dict[str, tuple[HvxStage, int]]:
    """List the kinds of kernels of a network.

    Args:
        network: The network, as it was quantised.

    Returns:
        By kind, a stage of it and how many stages the network has of it; stages without a convolution are of none.

    Raises:
        SrTvmError: Something of the network has no kernel on HVX; the message names it.
    """
    found: dict[str, tuple[HvxStage, int]] = {}
    for stage in stages(grouped(network)):
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
    @override
    def hardware(self) -> dict[str, int]:
        """The version of the instruction set, and the bytes of a vector."""
        return {"version": self.version, "vector": 128}

    @override
    def identity(self, region: Any) -> str:
        return str(region.kind)

    @override
    def decide(self, region: Any, shape: Shape) -> HvxDecisions:
        return KernelSpace(region).default

    @override
    def like(self, decisions: HvxDecisions) -> HvxDecisions:
        """Return the default with the same options for LLVM, so that the whole network is compiled once."""
        return replace(DEFAULT, direction=decisions.direction, rotation=decisions.rotation)

    @override
    def lower(self, region: Any, shape: Shape, name: str, decisions: HvxDecisions | None = None) -> list[Kernel]:
        """Refuse: kernels of a quantised network are made together, by :func:`sr_tvm.targets.hexagon.integer.build`.

        Raises:
            SrTvmError: Always.
        """
        raise SrTvmError("kernels of a quantised network are made together, not one by one")

    @override
    def space(self, region: Any, shape: Shape, known: Iterable[HvxDecisions] = ()) -> KernelSpace:
        return KernelSpace(region, known)

    @override
    def fits(self, decisions: HvxDecisions, region: Any, shape: Shape) -> bool:
        """Return whether the kind has these decisions; those about something else would be without effect."""
        return KernelSpace(region).repair(decisions) == decisions

    @override
    def to_json(self, decisions: HvxDecisions) -> dict[str, Any]:
        return decisions.to_json()

    @override
    def from_json(self, data: Any, where: str) -> HvxDecisions:
        return HvxDecisions.from_json(data, where)
