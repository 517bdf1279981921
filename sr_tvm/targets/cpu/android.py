"""The big cores of a 2021 flagship phone, under Android."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import tvm
from typing_extensions import override

from sr_tvm.targets.cpu.family import FLOAT16, CpuFamily
from sr_tvm.targets.target import Capabilities

TRIPLE, MCPU, BIG_CORES = "aarch64-linux-android", "cortex-a78", 4
NEON_BYTES = 16
L2_BYTES = 512 << 10
# Phones since Android 15 may map memory in pages of 16 KB; such a library loads on 4 KB pages as well.
PAGES = ("-z", "max-page-size=16384")


@dataclass(frozen=True)
class AndroidCpu(CpuFamily):
    """A 64-bit Arm library for TVM's RPC server on the phone."""

    name = "android-cpu"
    description = "the processor of an Android phone (Cortex-A78)"
    notes = ("cross-compiled: run it over RPC on an Android device",)
    l2_bytes = L2_BYTES
    vector_bytes = NEON_BYTES
    link_options = PAGES

    @property
    @override
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, needs="a phone with a TVM RPC server")

    @override
    def tvm_target(self) -> tvm.target.Target:
        return tvm.target.Target({"kind": "llvm", "mtriple": TRIPLE, "mcpu": MCPU, "num-cores": BIG_CORES})

    @override
    def instruction_sets(self) -> tuple[str, ...]:
        return ("fullfp16",) if self.dtype == FLOAT16 else ()  # float32 kernels need what every such processor has

    @override
    def why_not_here(self, tvm_target: Mapping[str, Any]) -> str | None:
        return None  # on an Arm machine it runs: its architecture is all that is asked
