"""What a package's benchmark program prints, as a `Measurement`: run here, or read from where it ran."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta

from sr_tvm.errors import SrTvmError
from sr_tvm.package import hexagon, packets
from sr_tvm.package.record import Package
from sr_tvm.records.measurement import Measurement
from sr_tvm.system import machine, validation
from sr_tvm.system import program as programs
from sr_tvm.system.death import how_ended
from sr_tvm.system.validation import Amount, Record, without

SCHEMA, VERSION = "sr-tvm/package-bench", 1
SAVED = "bench.json"  # in the package's folder: what the program printed elsewhere
SECONDS = 20.0  # of measuring, at most
DEADLINE_SECONDS = 300.0  # for all of it
_NOT_CONDITIONS = {"name", "model_sha256", "machine", "error", "samples_ms", "height", "width"}


class Printed(Record, frozen=True):
    """What the program prints, without schema and version.

    Networks for OpenCL tell what it ``ran_on`` besides, "opencl" or "cpu", the names of device and driver, and why it
    was the CPU.
    """

    name: str
    model_sha256: str
    machine: str
    error: None
    start_ms: float
    p50_ms: float
    p90_ms: float
    low_ms: float
    high_ms: float
    error_of_peak: float
    height: int
    width: int
    threads: int
    replays: int
    workspace_bytes: int
    peak_kb: int
    narrow: bool
    clock: str
    clock_khz: dict[str, Any]
    millidegrees: dict[str, Any]
    samples_ms: Annotated[list[Amount], Meta(min_length=1)]
    ran_on: str = ""
    device: str = ""
    driver: str = ""
    why: str = ""
    tile_height: int = 0
    tile_width: int = 0


def measure(package: Package, height: int, width: int, threads: int, seconds: float = SECONDS) -> Measurement:
    """Run the package's benchmark program on this machine; for another machine, read what it has printed there.

    Of one for Hexagon the packets are counted, in the simulator.

    Args:
        package: The package.
        height: Of the input picture, in pixels.
        width: Of the input picture, in pixels.
        threads: Of the run; of Hexagon, bands of rows.
        seconds: Of measuring, at most.

    Returns:
        Times in ms, or packets.

    Raises:
        SrTvmError: There is no program, it is for another machine and nothing is in ``bench.json`` yet, it failed, took
            too long, or printed something else.
    """
    if package.target == hexagon.TARGET:
        return packets.measure(package, height, width, threads)
    if not package.bench.is_file():
        raise SrTvmError(f"{package.folder}: has no benchmark program; compile and package the model again")
    if package.machine == machine.machine():
        text = _run(package.bench, height, width, threads, seconds)
        return read(package, text, str(package.bench), machine.cpu_name())
    saved = package.folder / SAVED
    if not saved.is_file():
        there = f"/data/local/tmp/{package.bench.name}"
        raise SrTvmError(
            f"{package.folder}: is for {package.machine}; run it there and keep what it prints: "
            f"adb push {package.bench} {there} && "
            f"adb shell {there} --height {height} --width {width} --threads {threads} > {saved}"
        )
    text = saved.read_text(encoding="utf-8", errors="replace")
    return read(package, text, str(saved), f"{package.machine}, as read from {SAVED}")


def _run(program: Path, height: int, width: int, threads: int, seconds: float) -> str:
    options = ("--height", height, "--width", width, "--threads", threads, "--seconds", seconds)
    done = programs.run([program.resolve(), *map(str, options)], str(program), DEADLINE_SECONDS)
    if done.returncode and not done.stdout:
        words = done.stderr.strip().splitlines()
        raise SrTvmError(f"{program}: fails: {words[-1] if words else how_ended(done.returncode)}")
    return done.stdout


def read(package: Package, text: str, where: str, device: str) -> Measurement:
    """Read what the benchmark program of a package printed.

    Args:
        package: The package.
        text: What was printed.
        where: It comes from, for messages.
        device: What the measurement calls the machine; an OpenCL device that is told of goes before.

    Returns:
        Times in ms.

    Raises:
        SrTvmError: It is something else, of another network, or says that a check failed; the message begins with
            ``where``.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise SrTvmError(f"{where}: is not one JSON object as {package.bench.name} prints it") from None
    value = validation.read(dict[str, Any], value, where)
    if value.get("schema") != SCHEMA or value.get("version") != VERSION:
        raise SrTvmError(f"{where}: is not {SCHEMA} version {VERSION}, as {package.bench.name} prints it")
    if value.get("error") is not None:
        raise SrTvmError(f"{where}: {validation.read(str, value['error'], where, 'error')}")
    validation.read(Printed, without(value, "schema", "version"), where)
    if value["model_sha256"] != package.model_sha256:
        raise SrTvmError(f"{where}: is of another model than {package.model}; run {package.bench.name} of this package")
    samples = value["samples_ms"]
    if value.get("ran_on") == "opencl":
        device = value["device"]
    told = (name for name in Printed.__struct_fields__ if name in value and name not in _NOT_CONDITIONS)
    conditions = {name: value[name] for name in told} | {
        "repeats": len(samples),
        "runs_per_sample": 1,
        "schedule": package.schedule,
        "method": f"{package.bench.name}: warmed up, until the median's 95 % interval is narrow or time is up",
    }
    return Measurement(
        device=device,
        target=package.target,
        model=package.model,
        model_sha256=package.model_sha256,
        input_shape=(1, package.channels, value["height"], value["width"]),
        samples=tuple(samples),
        conditions=conditions,
        architecture=package.architecture,
    )
