"""Streaming kernels in float16, for targets whose processor computes with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tvm.target import codegen

from sr_tvm.errors import SrTvmError

if TYPE_CHECKING:
    from sr_tvm.targets.cpu.rows.lowering import RowLowering
    from sr_tvm.targets.target import Target

# What LLVM calls arithmetic on vectors of float16; conversions alone (f16c, and all of AArch64) do not make it faster.
FEATURES = ("fullfp16", "avx512fp16")


def check(target: Target) -> None:
    """Refuse a target that has no streaming kernels, or whose processor lacks the instructions.

    Raises:
        SrTvmError: naming what is missing.
    """
    _rows(target)
    tvm_target = target.tvm_target()
    if not {str(name) for name in codegen.llvm_get_cpu_features(tvm_target)} & set(FEATURES):
        arm = "aarch64" in str(tvm_target.attrs.get("mtriple", ""))
        raise SrTvmError(
            f"target {target.name} has no --fp16: its processor, {tvm_target.attrs['mcpu']}, lacks the instructions "
            f"LLVM calls {FEATURES[0] if arm else FEATURES[1]}; compile without --fp16"
        )


def lowering(target: Target, emulated: bool = False) -> RowLowering:
    """The target's lowering with kernels in float16.

    The cost model decides, for tuned decisions are of float32. ``emulated`` kernels run on processors without float16.
    """
    from sr_tvm.targets.cpu.rows.element import EMULATED_FLOAT16, FLOAT16
    from sr_tvm.targets.cpu.rows.lowering import RowLowering

    rows = _rows(target)
    return RowLowering(rows.processor, winograd=rows.winograd, element=EMULATED_FLOAT16 if emulated else FLOAT16)


def _rows(target: Target) -> RowLowering:
    from sr_tvm.targets.cpu.rows.lowering import RowLowering

    rows = target.lowering()
    if not isinstance(rows, RowLowering):
        raise SrTvmError(f"target {target.name} has no --fp16: only the streaming kernels of CPU targets compute in it")
    return rows
