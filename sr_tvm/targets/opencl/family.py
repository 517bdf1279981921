"""What the phone GPUs share: OpenCL kernels on buffers, and a host library for Android, or for this kind of machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import tvm
from tvm.s_tir import dlight
from typing_extensions import override

from sr_tvm.errors import SrTvmError
from sr_tvm.isa.device_code import programs_of
from sr_tvm.regions.value import FLOAT16, FLOAT32
from sr_tvm.runtimes.opencl import backend
from sr_tvm.system import machine
from sr_tvm.targets.cpu import android
from sr_tvm.targets.opencl import device_code
from sr_tvm.targets.opencl.decisions import BUFFER, GLOBAL, IMAGE, LOCAL, Loads
from sr_tvm.targets.opencl.images import AllocateImages
from sr_tvm.targets.opencl.limits import PC, Limits
from sr_tvm.targets.opencl.lowering import OpenClLowering
from sr_tvm.targets.opencl.schedule.pixel_sums import PixelSums
from sr_tvm.targets.opencl.source import Mended
from sr_tvm.targets.target import Capabilities, Target

ANDROID = "android"
# The CPU that calls the kernels, by the name people type. A PC has OpenCL by its GPU's driver, or on its CPU by PoCL.
HOSTS = {
    ANDROID: {"kind": "llvm", "mtriple": android.TRIPLE, "mcpu": android.MCPU},
    "x86": {"kind": "llvm", "mtriple": "x86_64-unknown-linux-gnu", "mcpu": "x86-64"},
    "arm": {"kind": "llvm", "mtriple": "aarch64-unknown-linux-gnu", "mcpu": "generic"},
}
LINUX = {"x86_64": "x86", "aarch64": "arm"}


@dataclass(frozen=True)
class OpenCl(Target):
    """Regions by our lowering, the rest by stock schedules; the library holds OpenCL C, which the driver compiles.

    What stands in for a phone's target on this machine has the same kernels, called by this machine's CPU; its OpenCL
    driver must have what they use. Artifacts that a phone's CPU calls don't run here, and none do where there is no
    OpenCL device.

    Attributes:
        gpu: What TVM's target says of the GPU.
        typical: The GPU of the kind that machine code is counted for.
        limits: What a work-group may take of it.
        storage, sums, load: What is decided where nobody tuned, see OpenClDecisions and StageDecisions.
        host: The machine whose CPU calls the kernels, a name of HOSTS: "android" for phones, "x86" or "arm" for Linux.
        dtype: Of values between kernels, and of weights. Pictures come and go as float32.
        decides: The machine that regions are lowered for, another name of HOSTS; None: ``host``.
    """

    gpu: ClassVar[dict[str, Any]]
    typical: ClassVar[str]
    storage: ClassVar[str] = IMAGE
    limits: ClassVar[Limits] = Limits()
    sums: ClassVar[str] = FLOAT32
    load: ClassVar[Loads] = 1
    link_options = android.PAGES
    host: str = ANDROID
    dtype: str = FLOAT32
    decides: str | None = None

    @property
    def notes(self) -> tuple[str, ...]:  # type: ignore[override]
        """Words on where artifacts run, for people."""
        run = "cross-compiled: run it over RPC on an Android device whose TVM RPC server has OpenCL"
        if self.host != ANDROID:
            run = f"called by a Linux machine's CPU ({self.host}): runs on that machine's OpenCL device"
        return (run,)

    @property
    @override
    def capabilities(self) -> Capabilities:
        there = self.host != LINUX.get(machine.machine())
        where = "an Android phone" if self.host == ANDROID else f"a Linux machine ({self.host})"
        needs = f"{where} whose TVM RPC server has OpenCL" if there else ""
        dtypes = (FLOAT32, FLOAT16)
        return Capabilities(backend.KIND, dtypes=dtypes, needs=needs, estimated_on=self.typical)

    @override
    def hosted_by(self, host: str) -> Target:
        if host not in HOSTS:
            raise SrTvmError(f"target {self.name} has no --host {host}; it has {', '.join(HOSTS)}")
        return replace(self, host=host)

    @override
    def stand_in(self) -> Target:
        here, why = LINUX.get(machine.machine()), backend.why_none()
        if why is None and here is None:
            why = f"no host code is made for {machine.machine()}"
        if why is None and self.dtype == FLOAT16 and not backend.find().devices[0].float16:
            why = f"{backend.find().devices[0]} has no float16; intel-opencl-rt of pip has it (docs/opencl.md)"
        if why is not None or here is None:
            raise SrTvmError(f"target {self.name} can't be verified on this machine: {why}")
        return replace(self, host=here, decides=self.decides or self.host)

    @override
    def device_here(self) -> str:
        return str(backend.find().devices[0])

    @override
    def why_not_here(self, tvm_target: Mapping[str, Any]) -> str | None:
        if "android" in str((tvm_target.get("host") or {}).get("mtriple", "android")):
            return (
                f"made for the OpenCL of an Android phone (target {self.name}); "
                f"to run it here, compile it with --host {LINUX.get(machine.machine(), 'x86')}"
            )
        return backend.why_none()

    @override
    def tvm_target(self) -> tvm.target.Target:
        return tvm.target.Target({"kind": "opencl", **self.gpu, "host": HOSTS[self.host]})

    @override
    def schedule_rules(self) -> tuple[dlight.ScheduleRule, ...]:
        gpu = dlight.gpu
        return (PixelSums(), gpu.Matmul(), gpu.GEMV(), gpu.Reduction(), gpu.GeneralReduction(), gpu.Fallback())

    @override
    def computing_in(self, dtype: str) -> Target:
        return replace(self, dtype=dtype) if dtype in self.capabilities.dtypes else super().computing_in(dtype)

    @override
    def lowering(self) -> OpenClLowering:
        if (self.decides or self.host) != ANDROID:  # a PC's GPU, or its CPU by PoCL: both have caches for weights
            return OpenClLowering(PC, BUFFER, GLOBAL, self.dtype)
        return OpenClLowering(self.limits, self.storage, LOCAL, self.dtype, self.sums, self.load)

    @override
    def dataflow_lower(self) -> Sequence[tvm.ir.transform.Pass]:
        return (*super().dataflow_lower(), AllocateImages())

    @override
    def compile(self, mod: tvm.IRModule) -> Any:
        with Mended(mod):
            return super().compile(mod)

    @override
    def write_library(self, kernels: tvm.IRModule, caller: tvm.IRModule, path: Path) -> None:
        with Mended(kernels):
            super().write_library(kernels, caller, path)
        device_code.save_each(kernels, self.tvm_target(), programs_of(path))

    @override
    def build(self, mod: tvm.IRModule, folder: Path, kernels: Path | None = None) -> str:
        library = super().build(mod, folder, kernels)
        with Mended(mod):
            device_code.save(mod, self.tvm_target(), self.dataflow_lower(), folder)
        return library
