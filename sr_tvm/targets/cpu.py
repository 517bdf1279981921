"""The CPU of this machine."""

from __future__ import annotations

import os

import tvm
from tvm.target import codegen

from sr_tvm.targets.default_schedule import default_schedules
from sr_tvm.targets.preset import Target


class Cpu(Target):
    """Relax VM executable for the processor TVM runs on, with all of its instructions."""

    name = "cpu"
    description = "this machine's processor"
    device = "cpu"
    runs_here = True

    def tvm_target(self) -> tvm.target.Target:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return tvm.target.Target({"kind": "llvm", "mcpu": codegen.llvm_get_system_cpu(), "num-cores": cores})

    def default_schedule(self, mod: tvm.IRModule) -> tvm.IRModule:
        return default_schedules(mod, codegen.llvm_get_vector_width(self.tvm_target()) // 8)
