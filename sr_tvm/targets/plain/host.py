"""This machine's processor, with plain loops: what every other lowering can be compared with, slow and sure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import tvm
from typing_extensions import override

from sr_tvm.targets.cpu.host import Cpu
from sr_tvm.targets.plain.lowering import PlainLowering
from sr_tvm.targets.target import Capabilities, Target


@dataclass(frozen=True)
class Plain(Target):
    """Scalar loops through LLVM, for this machine."""

    name = "plain"
    description = "this machine's processor, scalar loops: a reference, not for speed"
    notes = ("plain loops: a reference, not for speed",)

    @property
    @override
    def capabilities(self) -> Capabilities:
        return Capabilities("cpu", any_size=True)

    @override
    def tvm_target(self) -> tvm.target.Target:
        return Cpu().tvm_target()

    @override
    def why_not_here(self, tvm_target: Mapping[str, Any]) -> str | None:
        return Cpu().why_not_here(tvm_target)

    @override
    def lowering(self) -> PlainLowering:
        return PlainLowering()
