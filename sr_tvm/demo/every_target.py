"""One network on every target: what its pictures take where it is measured, and where it is estimated or counted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sr_tvm import __version__
from sr_tvm.demo.comparison import photograph
from sr_tvm.errors import SrTvmError
from sr_tvm.records.measurement import Measurement
from sr_tvm.report.summary import TargetRow
from sr_tvm.system import files
from sr_tvm.system.files import sha256
from sr_tvm.system.validation import read

GPUS = (("adreno", "adreno-660"), ("mali", "mali-g57"))
SCHEMA, VERSION = "sr-tvm/every-target-row", 1
SIDE = 48  # of the squares that the int8 network is calibrated on
Say = Callable[[str], None]


def rows(onnx: Path, size: tuple[int, int], folder: Path, say: Say) -> Iterator[TargetRow]:
    """Compile a float ONNX network for GPUs and DSP, and estimate or count what a picture takes.

    Args:
        onnx: The network's file.
        size: Height and width of the picture.
        folder: Where artifacts go, and rows, for the next run of the same.
        say: Called with a line before each target.

    Yields:
        A row of each target, as soon as it is known. Where something is not installed ``time`` is "" and ``how`` the
        line that says so, with the command that brings it.
    """
    finders = [(target, gpu, partial(_estimated, onnx, target, gpu, folder)) for target, gpu in GPUS]
    for target, on, find in (*finders, ("hexagon", "hexagon-sim", partial(_simulated, onnx, size, folder))):
        key = {"onnx": sha256(onnx), "size": list(size), "on": on, "version": __version__}
        path = folder / f"every_target_{target}.json"
        if (row := _known(path, key)) is None:
            row = _row(target, on, say, find)
            if row.time:
                files.write_json(path, {"schema": SCHEMA, "version": VERSION, "key": key, "row": row.to_json()})
        yield row


def measured(measurement: Measurement) -> TargetRow:
    """Make the row of what ran here from its measurement.

    Args:
        measurement: Of the network on this machine.

    Returns:
        The row.
    """
    c = measurement.conditions
    words = f"measured here: {c['threads']} thread, {c['clock']} time, {c['schedule']} schedules"
    return TargetRow(measurement.target, f"{measurement.median:.3g} ms", words)


def _known(path: Path, key: dict[str, Any]) -> TargetRow | None:
    """Return the row that an earlier run of the same found, or None."""
    if not path.is_file():
        return None
    found = files.read_json(path, SCHEMA, VERSION)
    return read(TargetRow, found.get("row"), f"{path}: field row") if found.get("key") == key else None


def _row(target: str, on: str, say: Say, find: Callable[[], tuple[str, str]]) -> TargetRow:
    say(f"{target}: compiling and counting")
    start = time.perf_counter()
    try:
        found, how = find()
    except SrTvmError as error:
        found, how = "", str(error)
    return TargetRow(f"{target} ({on})", found, how, round(time.perf_counter() - start, 1))


def _estimated(onnx: Path, target: str, gpu: str, folder: Path) -> tuple[str, str]:
    from sr_tvm.build.compiler import compile_model
    from sr_tvm.build.options import CompileOptions
    from sr_tvm.runners.machine_code import MachineCodeRunner

    runner = MachineCodeRunner(gpu)  # says what is missing before anything is compiled
    artifact = compile_model(onnx, target, folder / f"artifact-{target}", options=CompileOptions())
    found = runner.measure(artifact)
    schedules = found.conditions["schedule"]
    return f"{found.median:.3g} {found.unit}", f"{found.conditions['method']}; {schedules} schedules"


def _simulated(onnx: Path, size: tuple[int, int], folder: Path) -> tuple[str, str]:
    import onnx as onnx_library

    from sr_tvm.build.compiler import compile_model
    from sr_tvm.build.integer import region_of
    from sr_tvm.quantize import reference
    from sr_tvm.quantize.calibrate import Calibration, calibrate
    from sr_tvm.quantize.plan import plan, zero_bytes
    from sr_tvm.quantize.qdq_read import from_onnx
    from sr_tvm.quantize.qdq_write import to_onnx
    from sr_tvm.runners.hexagon_sim import HexagonSimRunner
    from sr_tvm.targets.hexagon import estimate

    runner = HexagonSimRunner()
    region = region_of(onnx)
    # Rounding adapted to pictures would take minutes, and changes no packet.
    network = calibrate(region, list(_crops(region.results[0].shuffle))[::3], Calibration(adapt=False))
    path = folder / "int8.onnx"
    means = zero_bytes(region, plan(region).steps[0].value) / 255
    onnx_library.save(to_onnx(network, means), str(path))
    artifact = compile_model(path, "hexagon", folder / "artifact-hexagon")
    picture = _resized(size)
    made, counts = runner.counted(artifact, picture[None])
    exact = np.array_equal(made[0], reference.run(from_onnx(path), picture))
    packets = sum(c.packets for c in counts)
    found = estimate.get().estimate(packets)
    how = (
        f"int8; packets counted by qemu {runner.simulator.version}, {sum(c.macs for c in counts) / packets:.0f} "
        f"multiply-accumulates each, {'every byte' if exact else 'NOT every byte'} that of the definition. "
        f"{found['label']} on {found['dsp']} ({found['low_ms']:.2g} to {found['high_ms']:.2g} ms): {found['how']}"
    )
    return f"{packets / 1e6:.3g} M packets, estimated {found['ms']:.2g} ms", how


def _crops(scale: int) -> Iterator[np.ndarray]:
    """Cut a photograph into squares, shrunk.

    Yields:
        (3, side, side) uint8 each.
    """
    from sr_tvm.imaging.resize import low_resolution

    whole, side = photograph(), SIDE * scale
    for top in range(0, whole.shape[0] - side + 1, side):
        for left in range(0, whole.shape[1] - side + 1, side):
            low = low_resolution(whole[top : top + side, left : left + side], scale)
            yield np.ascontiguousarray(low.transpose(2, 0, 1))


def _resized(size: tuple[int, int]) -> np.ndarray:
    """Return the photograph's middle of that size, mirrored where it is smaller: (3, height, width) uint8."""
    whole = photograph()
    missing = [max(0, wanted - have) for wanted, have in zip(size, whole.shape, strict=False)]
    padded = np.pad(whole, [*((0, n) for n in missing), (0, 0)], "reflect") if any(missing) else whole
    top, left = ((have - wanted) // 2 for wanted, have in zip(size, padded.shape, strict=False))
    return np.ascontiguousarray(padded[top : top + size[0], left : left + size[1]].transpose(2, 0, 1))
