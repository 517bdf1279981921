"""What the benchmark program of a package for Hexagon counts in the simulator: packets, never time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sr_tvm.errors import SrTvmError, one_line
from sr_tvm.package.record import Package
from sr_tvm.records.measurement import Measurement
from sr_tvm.system import program as programs
from sr_tvm.system.death import how_ended
from sr_tvm.system.validation import Amount, Count, Record, read

SCHEMA, VERSION = "sr-tvm/package-packets", 1
DEADLINE_SECONDS = 300.0


class Counted(Record, frozen=True, forbid_unknown_fields=False):
    """What the program prints, as far as it is looked at."""

    height: Count
    width: Count
    bands: Count
    replays: Count
    workspace_bytes: Count
    packets: Count
    instructions: Count
    hvx: Count
    packets_per_pixel: Amount
    stages: list[Any]


def missing() -> str | None:
    """Find out what is not there to run such a program.

    Returns:
        One line that says it; None: the simulator is there.
    """
    from sr_tvm.runners import hexagon_sim

    return hexagon_sim.missing()


def count(program: Path, height: int, width: int, bands: int = 1) -> dict[str, Any]:
    """Run a benchmark program in the simulator: it checks the network, then counts what a picture takes.

    Args:
        program: The benchmark program.
        height: Of the input picture, in pixels.
        width: Of the input picture, in pixels.
        bands: Parts that the rows are made in, one after another.

    Returns:
        What the program printed, a JSON object, and which ``simulator`` it was.

    Raises:
        SrTvmError: No simulator; the program is not done in time, crashes, says that a check failed, or prints
            something else.
    """
    from sr_tvm.runners import hexagon_sim

    found = hexagon_sim.find()
    options = ("--height", height, "--width", width, "--bands", bands)
    command = [found.path, "-cpu", found.cpu, str(program.resolve()), *map(str, options)]
    done = programs.run(command, f"{program} in the simulator", DEADLINE_SECONDS, hint="try a smaller picture")
    if done.returncode and not done.stdout:
        words = one_line(done.stderr) or how_ended(done.returncode)
        raise SrTvmError(f"{program}: fails in the simulator: {words}")
    try:
        value = json.loads(done.stdout)
    except (ValueError, RecursionError):
        raise SrTvmError(f"{program}: does not print one JSON object") from None
    value = read(dict[str, Any], value, str(program))
    if value.get("schema") != SCHEMA or value.get("version") != VERSION:
        raise SrTvmError(f"{program}: prints no {SCHEMA} version {VERSION}")
    if value.get("error") is not None:
        raise SrTvmError(f"{program}: {read(str, value['error'], str(program), 'error')}")
    read(Counted, value, str(program))
    value["simulator"] = f"qemu {found.version}, {found.cpu}"
    return dict(value)


def measure(package: Package, height: int, width: int, bands: int) -> Measurement:
    """Count the packets of a package's network for a picture.

    Args:
        package: Of target hexagon.
        height: Of the input picture, in pixels.
        width: Of the input picture, in pixels.
        bands: Parts that the rows are made in, one after another.

    Returns:
        One sample, in packets, with an estimate of time among its conditions.

    Raises:
        SrTvmError: As :func:`count`; or there is no program, or one of another model.
    """
    if not package.bench.is_file():
        raise SrTvmError(f"{package.folder}: has no benchmark program; compile and package the model again")
    value = count(package.bench, height, width, bands)
    if value.get("model_sha256") != package.model_sha256:
        raise SrTvmError(f"{package.bench}: is of another model than {package.model}; package the model again")
    from sr_tvm.records.timer import PACKETS
    from sr_tvm.targets.hexagon import estimate

    return Measurement(
        device=f"hexagon-sim ({value['simulator']})",
        target=package.target,
        model=package.model,
        model_sha256=package.model_sha256,
        input_shape=(1, package.channels, height, width),
        samples=(float(value["packets"]),),
        unit=PACKETS,
        conditions={
            "method": f"{package.bench.name}: packets counted by {value['simulator']}, simulated: no time",
            "simulated": True,
            "threads": bands,
            "clock": PACKETS,
            "repeats": 1,
            "runs_per_sample": 1,
            "line_buffer_bytes": value["workspace_bytes"] * bands,
            "replays": value["replays"],
            "schedule": package.schedule,
            "estimate": estimate.get().estimate(float(value["packets"])),
        },
        architecture=package.architecture,
    )
