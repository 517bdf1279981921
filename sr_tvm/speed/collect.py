"""Measuring random networks for the speed model. TVM and PyTorch are imported only when a network is measured."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sr_tvm.architecture import Architecture
from sr_tvm.measurement import Measurement
from sr_tvm.speed import dataset
from sr_tvm.speed.feedback import Group

if TYPE_CHECKING:
    from sr_tvm.runners.base import Runner


def missing(path: str | Path, where: Group, architectures: Sequence[Architecture]) -> list[Architecture]:
    """Those of ``architectures`` that the dataset has no measurement of in the group ``where``."""
    have = dataset.load(path) if Path(path).exists() else []
    known = {_identity(m.architecture) for m in have if m.architecture is not None and Group.of(m) == where}
    return [a for a in architectures if _identity(a.to_json()) not in known]


def _identity(architecture: dict[str, Any]) -> str:
    return json.dumps(architecture, sort_keys=True)


def collect(
    path: str | Path,
    device: Runner,
    where: Group,
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

    Always with default schedules. The shipped tuning records know a kernel of some networks and none of others,
    and latencies of tuned and untuned kernels in one data set would have no common price.
    """
    import torch

    from sr_tvm.build.compiler import compile_model
    from sr_tvm.build.options import CompileOptions
    from sr_tvm.frontend.export import export_onnx
    from sr_tvm.nets.wdsr import WDSR

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = WDSR(architecture, normed=False).eval()
    with tempfile.TemporaryDirectory(prefix="sr-tvm-collect-") as folder:
        onnx = Path(folder) / "network.onnx"
        export_onnx(module, onnx, input_shape, exporter="torchscript")
        artifact = compile_model(onnx, target, Path(folder) / "out", options=CompileOptions(use_shipped_log=False))
        record = device.measure(artifact, repeats)
    return dataclasses.replace(record, model="random", architecture=architecture.to_json())
