"""Float networks on the vectors of Qualcomm's Hexagon DSP (HVX, qf32): compiled only."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import tvm
from typing_extensions import override

from sr_tvm.targets.hexagon import processors
from sr_tvm.targets.hexagon.scalar import TRIPLE
from sr_tvm.targets.target import Capabilities, Target

if TYPE_CHECKING:
    from sr_tvm.targets.cpu.rows.lowering import RowLowering

OLDEST = 68  # the first version whose vectors compute floats
LANES, REGISTERS = 32, 32  # float32 in a vector of 128 bytes; vectors
L2_BYTES = 1 << 20  # of the second-level cache that all contexts share (v68 and later); it only ranks decisions


@dataclass(frozen=True)
class HexagonFloat(Target):
    """Streamed regions by the row lowering of processors, on HVX's vectors of 32 float32, which LLVM computes in qf32.

    No version of qemu has these instructions, so nothing here has run them, and no count says what they cost: the
    networks for this DSP are the quantised ones (see :class:`sr_tvm.targets.hexagon.scalar.Hexagon`).

    Attributes:
        mcpu: The processor, by LLVM's name.
    """

    name = "hexagon-float"
    description = "Qualcomm Hexagon DSP, float32 on its vectors (v68 to v75 by --mcpu), compile only"
    notes = (
        "float32 by qf32 instructions, which round otherwise than IEEE's: no simulator has them, untested",
        "compile only: no runtime for it here",
    )

    mcpu: str = processors.DEFAULT

    @property
    @override
    def capabilities(self) -> Capabilities:
        return Capabilities("hexagon", needs="a Hexagon DSP: no simulator has its float vectors")

    @override
    def for_processor(self, mcpu: str) -> Target:
        processors.check(mcpu, self.name, OLDEST)
        return replace(self, mcpu=mcpu)

    @override
    def tvm_target(self) -> tvm.target.Target:
        features = [f"+hvxv{processors.PROCESSORS[self.mcpu].version}", "+hvx-length128b", "+hvx-qfloat"]
        return tvm.target.Target(
            {"kind": "llvm", "mtriple": TRIPLE, "mcpu": self.mcpu, "num-cores": 1, "mattr": features}
        )

    @override
    def lowering(self) -> RowLowering:
        from sr_tvm.targets.cpu.rows.lowering import RowLowering
        from sr_tvm.targets.cpu.rows.machine import CpuCore

        return RowLowering(CpuCore(LANES, REGISTERS, L2_BYTES))
