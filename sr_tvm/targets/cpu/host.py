"""The CPU of this machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import tvm
from tvm.target import codegen
from typing_extensions import override

from sr_tvm.system import machine
from sr_tvm.targets.cpu.family import CpuFamily

# Only vector and matrix units matter to our kernels; names like "64bit" or tuning hints are not instructions.
UNITS = ("avx", "amx", "sse", "fma", "f16c", "bmi")


@dataclass(frozen=True)
class Cpu(CpuFamily):
    """Relax VM executable for the processor TVM runs on, with all of its instructions."""

    name = "cpu"
    description = "this machine's processor"

    @override
    def tvm_target(self) -> tvm.target.Target:
        options = {"kind": "llvm", "mcpu": codegen.llvm_get_system_cpu(), "num-cores": machine.cores()}
        return tvm.target.Target(options)

    @property
    @override
    def l2_bytes(self) -> int:
        return machine.l2_bytes()

    @property
    @override
    def vector_bytes(self) -> int:
        return codegen.llvm_get_vector_width(self.tvm_target()) // 8

    @override
    def instruction_sets(self) -> tuple[str, ...]:
        return tuple(sorted(f for f in self._features() if f.startswith((*UNITS, "gfni", "lzcnt", "movbe", "popcnt"))))

    @override
    def why_not_here(self, tvm_target: Mapping[str, Any]) -> str | None:
        """Refuse code that would end the process with an illegal instruction.

        Only vector and matrix instructions are compared. A processor that this LLVM doesn't know is let through, for
        there is nothing to compare.

        Args:
            tvm_target: The TVM target that an artifact's code was made for, as a mapping with "kind" and perhaps
                "mcpu".

        Returns:
            What keeps the code from running here, in words for people; None where nothing does.
        """
        kind = tvm_target.get("kind", "llvm")
        if kind not in ("llvm", "c"):
            return f"made for a target of kind {kind}, which this CPU can't run"
        wanted, system = tvm_target.get("mcpu"), str(codegen.llvm_get_system_cpu())
        if not wanted or wanted == system:
            return None
        try:
            there, here = (_features(str(name)) for name in (wanted, system))
        except (RuntimeError, ValueError):  # a name this LLVM does not know: nothing to compare
            return None
        missing = sorted(f for f in there - here if f.startswith(UNITS))
        if not missing:
            return None
        lacks = ", ".join(missing[:5])
        return f"compiled for the CPU {wanted}; this one ({system}) lacks {lacks}; compile the model again here"


def _features(mcpu: str) -> set[str]:
    return {str(f) for f in codegen.llvm_get_cpu_features(tvm.target.Target({"kind": "llvm", "mcpu": mcpu}))}
