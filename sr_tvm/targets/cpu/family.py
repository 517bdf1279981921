"""What all processors with vectors share: streaming kernels of rows, schedules by the width of a vector."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from tvm.target import codegen
from typing_extensions import override

from sr_tvm.errors import SrTvmError
from sr_tvm.regions.value import FLOAT32
from sr_tvm.targets.cpu.rows.element import ELEMENTS, EMULATED, Element
from sr_tvm.targets.cpu.rows.lowering import RowLowering
from sr_tvm.targets.cpu.rows.machine import CpuCore, processor_of
from sr_tvm.targets.cpu.schedule.rules import CpuRules
from sr_tvm.targets.target import Capabilities, Target

FLOAT16 = "float16"
# What LLVM calls arithmetic on vectors of float16; conversions alone (f16c, and all of AArch64) do not make it faster.
FLOAT16_FEATURES = {"x86": "avx512fp16", "arm": "fullfp16"}


@dataclass(frozen=True)
class CpuFamily(Target):
    """A processor that LLVM compiles for.

    Attributes:
        dtype: element type that streaming kernels compute in, "float32" or "float16". Between kernels every tensor is
            float32.
        emulated: kernels in float16 run on processors without it: every step is done in float32 and rounded, slowly.
    """

    row_step = 2  # streaming kernels by Winograd make pairs of rows

    dtype: str = FLOAT32
    emulated: bool = False

    @property
    def l2_bytes(self) -> int:
        """Size in bytes of a core's second-level cache; every subclass says which."""
        raise NotImplementedError

    @property
    def vector_bytes(self) -> int:
        """Bytes of the widest vector that LLVM uses; every subclass says how many."""
        raise NotImplementedError

    @property
    @override
    def capabilities(self) -> Capabilities:
        half = self.emulated or self._has_float16()
        dtypes = (FLOAT32, FLOAT16) if half else (FLOAT32,)
        return Capabilities("cpu", any_size=True, dtypes=dtypes, meta_schedule="llvm")

    def _features(self) -> set[str]:
        return {str(name) for name in codegen.llvm_get_cpu_features(self.tvm_target())}

    def _has_float16(self) -> bool:
        return bool(self._features() & set(FLOAT16_FEATURES.values()))

    @override
    def computing_in(self, dtype: str) -> Target:
        if dtype == FLOAT16 and dtype not in self.capabilities.dtypes:
            tvm_target = self.tvm_target()
            arm = "aarch64" in str(tvm_target.attrs.get("mtriple", ""))
            raise SrTvmError(
                f"target {self.name} has no --fp16: its processor, {tvm_target.attrs['mcpu']}, lacks the instructions "
                f"LLVM calls {FLOAT16_FEATURES['arm' if arm else 'x86']}; compile without --fp16"
            )
        return replace(self, dtype=dtype) if dtype in self.capabilities.dtypes else super().computing_in(dtype)

    @property
    def element(self) -> Element:
        """The type of numbers that streaming kernels compute with: :attr:`dtype`, emulated or not."""
        return (EMULATED if self.emulated else ELEMENTS)[self.dtype]

    def processor(self) -> CpuCore:
        """Describe the processor's core as the lowering and its cost model need it.

        Returns:
            The vectors, registers and caches of one core, as LLVM knows the target's processor.
        """
        return processor_of(self.tvm_target(), self.l2_bytes)

    @override
    def lowering(self) -> RowLowering:
        return RowLowering(self.processor(), element=self.element)

    @override
    def schedule_rules(self) -> tuple[CpuRules]:
        return (CpuRules(self.vector_bytes),)

    @override
    def options(self) -> dict[str, Any]:
        return {"dtype": self.dtype, "emulated": self.emulated}
