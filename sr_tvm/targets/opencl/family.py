"""What the phone GPUs share: OpenCL kernels on buffers, and a host library for Android."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import tvm
from tvm.s_tir import dlight

from sr_tvm.targets.cpu import android
from sr_tvm.targets.opencl import device_code
from sr_tvm.targets.target import Capabilities, Target


@dataclass(frozen=True)
class OpenCl(Target):
    """Stock default schedules for GPUs; the library holds the OpenCL C source, which the driver compiles on loading."""

    gpu: ClassVar[dict[str, Any]]
    link_options = android.PAGES
    notes = (
        "OpenCL on buffers with stock default schedules: not yet optimised for this GPU",
        "cross-compiled: run it over RPC on an Android device whose TVM runtime has OpenCL",
    )

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities("opencl", needs="an Android phone whose TVM RPC server has OpenCL")

    def tvm_target(self) -> tvm.target.Target:
        host = {"kind": "llvm", "mtriple": android.TRIPLE, "mcpu": android.MCPU}
        return tvm.target.Target({"kind": "opencl", **self.gpu, "host": host})

    def schedule_rules(self) -> tuple[dlight.ScheduleRule, ...]:
        gpu = dlight.gpu
        return (gpu.Matmul(), gpu.GEMV(), gpu.Reduction(), gpu.GeneralReduction(), gpu.Fallback())

    def build(self, mod: tvm.IRModule, folder: Path) -> str:
        library = super().build(mod, folder)
        device_code.save(mod, self.tvm_target(), self.dataflow_lower(), folder)
        return library
