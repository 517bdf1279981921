"""Shipped networks compiled for the phone GPUs: by TVM's own schedules, or by our lowering, tuned or not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.phones.traffic import Traffic, image_shapes, traffic
from sr_tvm.isa.device_code import DeviceCode
from sr_tvm.records.artifact import Artifact
from sr_tvm.regions.value import FLOAT16, FLOAT32

GPUS = {"adreno": "adreno-660", "mali": "mali-g57"}  # of each target, the one whose code is counted
GENERIC, GENERIC_HOST = "mali", "x86"  # neither of which dlight looks for
STOCK, UNTUNED, TUNED = "stock", "untuned", "tuned"


@dataclass(frozen=True)
class Variant:
    """A way to compile a network.

    Attributes:
        how: STOCK, UNTUNED or TUNED.
        target: one of GPUS; the code is counted for its GPU.
        generic: stock as for a GPU that dlight has no case of its own for. It takes its schedule for Adreno phones
            wherever the host is Android, for Mali too, and that is many times slower than what it does elsewhere.
    """

    how: str
    target: str
    dtype: str = FLOAT32
    generic: bool = False

    @property
    def name(self) -> str:
        return f"{self.how}-{self.target}" + "-generic" * self.generic + "-fp16" * (self.dtype == FLOAT16)


@dataclass(frozen=True)
class Built:
    """A compiled network.

    Attributes:
        artifact: its library is empty unless it was asked for.
        code: the kernels, and the calls of a run.
        traffic: of each kernel by name, of one call.
        tuned: kernels that a tuning record made.
    """

    artifact: Artifact
    code: DeviceCode
    traffic: dict[str, Traffic]
    tuned: int


def build(
    model: Path, variant: Variant, size: tuple[int, int], folder: Path, host: str | None = None, library: bool = False
) -> Built:
    """Compile an ONNX file for pictures of ``size`` (height, width) into ``folder``.

    The library, which runs on ``host`` (a phone if None: machines have other limits), is only made if it is asked for;
    the traffic only if it is not.

    Raises:
        SrTvmError: the target can't, or a kernel does not lower.
    """
    from sr_tvm.build.compiler import compile_model
    from sr_tvm.build.options import CompileOptions
    from sr_tvm.targets import registry

    found: dict[str, Traffic] = {}
    target = registry.get(GENERIC if variant.generic else variant.target)
    host = host or (GENERIC_HOST if variant.generic else None)
    if variant.dtype != FLOAT32:
        target = target.computing_in(variant.dtype)
    target = _read(target if host is None else target.hosted_by(host), variant.how == STOCK, library, found)
    options = CompileOptions(use_shipped_log=variant.how == TUNED, dtype=variant.dtype)
    artifact = compile_model(model, target, folder, {"x": (1, 3, *size)}, options)
    tuned = sum(row["schedule"] == "tuned" for row in artifact.kernels)
    return Built(artifact, DeviceCode.load(folder), found, tuned)


def _read(target: Any, stock: bool, library: bool, found: dict[str, Traffic]) -> Any:
    """The same target, without our lowering if ``stock``; without a library it notes the kernels' traffic."""
    from tvm.s_tir import dlight

    from sr_tvm.isa.tir import device_functions
    from sr_tvm.targets.opencl import device_code
    from sr_tvm.targets.opencl.source import Mended

    class Read(type(target)):  # type: ignore[misc]
        def lowering(self) -> Any:
            return None if stock else super().lowering()

        def schedule_rules(self) -> Any:
            gpu = dlight.gpu
            default = (gpu.Matmul(), gpu.GEMV(), gpu.Reduction(), gpu.GeneralReduction(), gpu.Fallback())
            return default if stock else super().schedule_rules()

        def computing_in(self, dtype: str) -> Any:
            return self  # it does so already

        def build(self, mod: Any, folder: Path, kernels: Path | None = None) -> str:
            if library:
                return super().build(mod, folder, kernels)
            with Mended(mod):
                device_code.save(mod, self.tvm_target(), self.dataflow_lower(), folder)
            kernels, _ = device_code.called_kernels(mod, self.dataflow_lower())
            images = {var.name_hint: image_shapes(f) for var, f in kernels.functions_items()}
            for var, function in device_functions(kernels, self.tvm_target()).functions_items():
                shapes = next((s for name, s in images.items() if var.name_hint.startswith(f"{name}_kernel")), {})
                found[var.name_hint] = traffic(function, shapes)
            (folder / self.library).write_bytes(b"")
            return self.library

    return Read(**target.options())
