"""The big cores of a 2021 flagship phone, under Android."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import tvm

from sr_tvm.targets import link
from sr_tvm.targets.cpu.schedule.rules import default_schedules
from sr_tvm.targets.target import Target

if TYPE_CHECKING:
    from sr_tvm.targets.lowering import Lowering
    from sr_tvm.tuning.row_records import RowRecords

TRIPLE, MCPU, BIG_CORES = "aarch64-linux-android", "cortex-a78", 4
NEON_BYTES = 16
L2_BYTES = 512 << 10
# Phones since Android 15 may map memory in pages of 16 KB; such a library loads on 4 KB pages as well.
PAGES = ("-z", "max-page-size=16384")


class AndroidCpu(Target):
    """A 64-bit Arm library for TVM's RPC server on the phone."""

    name = "android-cpu"
    description = "the processor of an Android phone (Cortex-A78)"
    device = "cpu"
    notes = ("cross-compiled: run it over RPC on an Android device",)

    def tvm_target(self) -> tvm.target.Target:
        return tvm.target.Target({"kind": "llvm", "mtriple": TRIPLE, "mcpu": MCPU, "num-cores": BIG_CORES})

    def lowering(self, records: RowRecords | None = None) -> Lowering:
        from sr_tvm.targets.cpu.rows.lowering import RowLowering
        from sr_tvm.targets.cpu.rows.machine import processor_of

        processor = processor_of(self.tvm_target(), L2_BYTES)
        return RowLowering(processor, records.lookup(processor) if records else None)

    def default_schedule(self, mod: tvm.IRModule) -> tvm.IRModule:
        return default_schedules(mod, self.tvm_target(), NEON_BYTES)

    def link(self, output: Path, objects: list[Path]) -> None:
        link.shared(output, objects, *PAGES)
