"""What the phone GPUs share: OpenCL kernels on buffers, and a host library for Android."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import tvm
from tvm.s_tir import dlight

from sr_tvm.targets import link
from sr_tvm.targets.cpu import android as android_cpu
from sr_tvm.targets.target import Target


class OpenCl(Target):
    """Stock default schedules for GPUs; the library holds the OpenCL C source, which the driver compiles on loading."""

    device = "opencl"
    gpu: ClassVar[dict[str, Any]]

    notes = (
        "OpenCL on buffers with stock default schedules: not yet optimised for this GPU",
        "cross-compiled: run it over RPC on an Android device whose TVM runtime has OpenCL",
    )

    def tvm_target(self) -> tvm.target.Target:
        host = {"kind": "llvm", "mtriple": android_cpu.TRIPLE, "mcpu": android_cpu.MCPU}
        return tvm.target.Target({"kind": "opencl", **self.gpu, "host": host})

    def default_schedule(self, mod: tvm.IRModule) -> tvm.IRModule:
        gpu = dlight.gpu
        rules = (gpu.Matmul(), gpu.GEMV(), gpu.Reduction(), gpu.GeneralReduction(), gpu.Fallback())
        return dlight.ApplyDefaultSchedule(*rules)(mod)

    def link(self, output: Path, objects: list[Path]) -> None:
        link.shared(output, objects, *android_cpu.PAGES)
