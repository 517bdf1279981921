"""This machine's processor, by a lowering of a newcomer's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import tvm
from typing_extensions import override

from newcomer.lowering import NodeLowering
from sr_tvm.targets.target import Capabilities, Target


@dataclass(frozen=True)
class Newcomer(Target):
    """A kernel for each node of a region, on this machine's processor."""

    name = "newcomer"
    description = "this machine's processor, a kernel for each node"

    @property
    @override
    def capabilities(self) -> Capabilities:
        return Capabilities("cpu", any_size=True)

    @override
    def tvm_target(self) -> tvm.target.Target:
        return tvm.target.Target("llvm")

    @override
    def why_not_here(self, tvm_target: Mapping[str, Any]) -> str | None:
        return None

    @override
    def lowering(self) -> NodeLowering:
        return NodeLowering()
