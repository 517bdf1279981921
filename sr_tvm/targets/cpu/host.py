"""The CPU of this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import tvm
from tvm.target import codegen

from sr_tvm import machine
from sr_tvm.targets.cpu.schedule.rules import default_schedules
from sr_tvm.targets.target import Target

if TYPE_CHECKING:
    from sr_tvm.targets.lowering import Lowering
    from sr_tvm.tuning.row_records import RowRecords


class Cpu(Target):
    """Relax VM executable for the processor TVM runs on, with all of its instructions."""

    name = "cpu"
    description = "this machine's processor"
    device = "cpu"
    runs_here = True

    def tvm_target(self) -> tvm.target.Target:
        options = {"kind": "llvm", "mcpu": codegen.llvm_get_system_cpu(), "num-cores": machine.cores()}
        return tvm.target.Target(options)

    def lowering(self, records: RowRecords | None = None) -> Lowering:
        from sr_tvm.targets.cpu.rows.lowering import RowLowering
        from sr_tvm.targets.cpu.rows.machine import processor_of

        processor = processor_of(self.tvm_target(), machine.l2_bytes())
        return RowLowering(processor, records.lookup(processor) if records else None)

    def default_schedule(self, mod: tvm.IRModule) -> tvm.IRModule:
        target = self.tvm_target()
        return default_schedules(mod, target, codegen.llvm_get_vector_width(target) // 8)
