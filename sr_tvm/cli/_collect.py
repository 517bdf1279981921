"""One random network from its architecture to a measurement, for ``sr-tvm speed collect``."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Any

from sr_tvm.architecture import Architecture
from sr_tvm.errors import SrTvmError
from sr_tvm.measurement import Measurement


class Collector:
    """Exports, compiles and measures networks of random weights on one device."""

    def __init__(
        self, device: str, tracker: str | None, target: str, shape: tuple[int, ...], repeats: int, threads: int
    ) -> None:
        from sr_tvm.targets import registry

        registry.check(target)
        self.target, self.shape, self.repeats = target, shape, repeats
        self.device: Any
        if tracker is None:
            from sr_tvm.devices.local import LocalDevice

            if not registry.get(target).runs_here:
                raise SrTvmError(f"target {target} does not run on this machine; name a device with --tracker")
            self.device = LocalDevice(threads)
        else:
            from sr_tvm.devices.rpc import RpcDevice

            self.device = RpcDevice(tracker, device, deadline=300, threads=threads)

    def measure(self, architecture: Architecture) -> Measurement:
        """Measure a network of this architecture; its weights don't matter for the time."""
        import torch

        from sr_tvm.compiler import compile_model
        from sr_tvm.frontend.export import export_onnx
        from sr_tvm.nets.wdsr import WDSR

        torch.manual_seed(0)
        with tempfile.TemporaryDirectory(prefix="sr-tvm-collect-") as folder:
            path = Path(folder) / "network.onnx"
            export_onnx(WDSR(architecture, normed=False).eval(), path, self.shape, exporter="torchscript")
            artifact = compile_model(path, self.target, Path(folder) / "out")
            record = self.device.measure(artifact, self.repeats)
        return dataclasses.replace(record, model="random", architecture=architecture.to_json())

    def close(self) -> None:
        if hasattr(self.device, "close"):
            self.device.close()


def measured_already(dataset: Path, collector: Collector) -> set[str]:
    """The architectures (as JSON) that ``dataset`` holds for this device, target, input size and thread count."""
    from sr_tvm.speed.dataset import load

    if not dataset.exists():
        return set()
    return {
        json.dumps(m.architecture, sort_keys=True)
        for m in load(dataset)
        if m.device == collector.device.name
        and m.target == collector.target
        and m.input_shape == tuple(collector.shape)
        and m.conditions.get("threads") == collector.device.threads
    }
