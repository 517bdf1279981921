"""What a package's benchmark program prints, as a `Measurement`: run here, or read from where it ran."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sr_tvm.errors import SrTvmError
from sr_tvm.package import hexagon, packets
from sr_tvm.package.record import Package
from sr_tvm.records.measurement import Measurement
from sr_tvm.system import machine
from sr_tvm.system import program as programs
from sr_tvm.system.death import how_ended
from sr_tvm.system.fields import expect, expect_keys

SCHEMA, VERSION = "sr-tvm/package-bench", 1
SAVED = "bench.json"  # in the package's folder: what the program printed elsewhere
SECONDS = 20.0  # of measuring, at most
DEADLINE_SECONDS = 300.0  # for all of it
_TIMES = ("start_ms", "p50_ms", "p90_ms", "low_ms", "high_ms", "error_of_peak")
_COUNTS = ("height", "width", "threads", "replays", "workspace_bytes", "peak_kb")
# What networks for OpenCL tell besides: "opencl" or "cpu", the names of device and driver, why it was the CPU.
_OF_DEVICES: dict[str, Any] = {
    **dict.fromkeys(("ran_on", "device", "driver", "why"), str),
    **dict.fromkeys(("tile_height", "tile_width"), int),
}
_REST: dict[str, Any] = {"narrow": bool, "clock": str, "clock_khz": dict, "millidegrees": dict, "samples_ms": list}


def measure(package: Package, height: int, width: int, threads: int, seconds: float = SECONDS) -> Measurement:
    """Run the package's benchmark program on this machine; for another machine, read what it has printed there.

    Of one for Hexagon the packets are counted, in the simulator.

    Raises:
        SrTvmError: there is no program, it is for another machine and nothing is in ``bench.json`` yet, it failed, took
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
    """Read what the program of ``package`` printed.

    Raises:
        SrTvmError: it is something else, of another network, or says that a check failed; the message begins with
            ``where``.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise SrTvmError(f"{where}: is not one JSON object as {package.bench.name} prints it") from None
    expect(value, dict, where)
    if value.get("schema") != SCHEMA or value.get("version") != VERSION:
        raise SrTvmError(f"{where}: is not {SCHEMA} version {VERSION}, as {package.bench.name} prints it")
    if value.get("error") is not None:
        raise SrTvmError(f"{where}: {expect(value['error'], str, f'{where}: field error')}")
    texts = {"schema", "name", "model_sha256", "machine"}
    known = {*texts, "version", "error", *_TIMES, *_COUNTS, *_REST}
    expect_keys(value, known, known | set(_OF_DEVICES), where)
    kinds = {
        **dict.fromkeys(texts, str),
        **{name: kind for name, kind in _OF_DEVICES.items() if name in value},
        **dict.fromkeys(_TIMES, float),
        **dict.fromkeys(_COUNTS, int),
        **_REST,
    }
    for name, kind in kinds.items():
        if kind is not bool:
            expect(value[name], kind, f"{where}: field {name}")
    if value["model_sha256"] != package.model_sha256:
        raise SrTvmError(f"{where}: is of another model than {package.model}; run {package.bench.name} of this package")
    samples = value["samples_ms"]
    for i, sample in enumerate(samples):
        expect(sample, float, f"{where}: field samples_ms[{i}]", 0)
    if value.get("ran_on") == "opencl":
        device = value["device"]
    left_out = {"samples_ms", "height", "width"}
    conditions = {name: value[name] for name in (*_TIMES, *_COUNTS, *_REST) if name not in left_out}
    conditions |= {name: value[name] for name in _OF_DEVICES if name in value} | {
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
