"""Measuring random networks for the speed model. TVM and PyTorch are imported only when a network is measured."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import structs

from sr_tvm.records.architecture import Architecture
from sr_tvm.records.measurement import Measurement
from sr_tvm.speed import dataset
from sr_tvm.speed.feedback import Conditions

if TYPE_CHECKING:
    from sr_tvm.runners.base import Runner

NOISE, SIDE = 4, 32  # pictures that random networks are calibrated on, and their pixels along each side


def missing(path: str | Path, where: Conditions, architectures: Sequence[Architecture]) -> list[Architecture]:
    """Those of ``architectures`` that the dataset has no measurement of in the group ``where``."""
    have = dataset.load(path) if Path(path).exists() else []
    known = {_identity(m.architecture) for m in have if m.architecture is not None and Conditions.of(m) == where}
    return [a for a in architectures if _identity(a.to_json()) not in known]


def _identity(architecture: dict[str, Any]) -> str:
    return json.dumps(architecture, sort_keys=True)


def collect(
    path: str | Path,
    device: Runner,
    where: Conditions,
    architectures: Sequence[Architecture],
    repeats: int = 20,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Measure what the dataset ``path`` lacks of ``architectures`` in the group ``where``; returns how many that were.

    ``where`` is the group that measurements on ``device`` fall into. ``progress`` is told (done, of how many).

    Raises:
        SrTvmError: the dataset cannot be read or written, or a network cannot be compiled or measured.
    """
    dataset.check_writable(path)
    wanted = missing(path, where, architectures)
    for done, architecture in enumerate(wanted):
        if progress:
            progress(done, len(wanted))
        dataset.append(path, measure(architecture, device, where.target, where.input_shape, repeats, seed))
    if progress and wanted:
        progress(len(wanted), len(wanted))
    return len(wanted)


def measure(
    architecture: Architecture, device: Runner, target: str, input_shape: tuple[int, ...], repeats: int, seed: int = 0
) -> Measurement:
    """Measure a network of this architecture with random weights, which do not change its speed.

    For a target with integer kernels it is quantised first; then for pictures of any size, of which it measures one.
    Always with default schedules. The shipped tuning records know a kernel of some networks and none of others,
    and latencies of tuned and untuned kernels in one data set would have no common price.
    """
    import torch

    from sr_tvm.build.compiler import compile_model
    from sr_tvm.build.options import CompileOptions
    from sr_tvm.frontend.export import export_onnx
    from sr_tvm.nets.wdsr import WDSR
    from sr_tvm.targets import registry

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = WDSR(architecture, normed=False).eval()
    with tempfile.TemporaryDirectory(prefix="sr-tvm-collect-") as folder:
        onnx = Path(folder) / "network.onnx"
        export_onnx(module, onnx, input_shape, exporter="torchscript")
        if registry.get(target).integer_lowering() is not None:
            onnx = _quantized(onnx, seed)
        artifact = compile_model(onnx, target, Path(folder) / "out", options=CompileOptions(use_shipped_log=False))
        record = device.measure(artifact.at({artifact.inputs[0].name: input_shape}), repeats)
    return structs.replace(record, model="random", architecture=architecture.to_json())


def _quantized(path: Path, seed: int) -> Path:
    """A network of random weights in integers: what it makes of pictures is nothing, whatever it is calibrated on."""
    import numpy as np
    import onnx

    from sr_tvm.build.integer import region_of
    from sr_tvm.quantize.calibrate import Calibration, calibrate
    from sr_tvm.quantize.qdq_write import to_onnx

    region, rng = region_of(path), np.random.default_rng(seed)
    noise = rng.integers(0, 256, (NOISE, region.sources[0].channels, SIDE, SIDE)).astype(np.uint8)
    made = path.with_name("integers.onnx")
    onnx.save(to_onnx(calibrate(region, list(noise), Calibration(adapt=False))), str(made))
    return made
