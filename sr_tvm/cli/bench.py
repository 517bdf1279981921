"""``sr-tvm bench``: measure an artifact here or over RPC."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sr_tvm.cli._given import refuse_given
from sr_tvm.errors import SrTvmError
from sr_tvm.records.measurement import ESTIMATED_MS
from sr_tvm.system.files import check_writable

if TYPE_CHECKING:
    from sr_tvm.records.measurement import Measurement

DATASET = "runs/speed.jsonl"
PACKAGE, PACKAGE_SIZE = "package.json", (360, 640)


@click.command()
@click.argument("artifact", type=click.Path())
@click.option("--tracker", metavar="HOST:PORT", help="Measure on a server of this RPC tracker.")
@click.option("--key", help="Which kind of server; 'sr-tvm devices --tracker ...' lists them.")
@click.option("--isa", metavar="GPU", help="Estimate for this GPU, say adreno-660, by machine code; nothing runs.")
@click.option("--deadline", type=click.FloatRange(min=1), default=300, show_default=True, help="Seconds for a call.")
@click.option("--repeats", type=click.IntRange(1, 100_000), default=20, show_default=True, help="Samples to take.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
@click.option("--append", "dataset", type=click.Path(), metavar="FILE", help="Add it to this speed dataset.")
@click.option(
    "--input-shape", "input_shapes", multiple=True, metavar="[NAME:]NxCxHxW", help="The size, where any is taken."
)
@click.option("--memory", type=click.IntRange(min=1), metavar="KIB", help="hexagon: what buffers may take.")
@click.option("--per-operator", is_flag=True, help="Time each kernel as well.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    artifact: str,
    tracker: str | None,
    key: str | None,
    isa: str | None,
    deadline: float,
    repeats: int,
    threads: int,
    dataset: str | None,
    input_shapes: tuple[str, ...],
    memory: int | None,
    per_operator: bool,
    as_json: bool,
) -> None:
    """Measure the artifact in the folder ARTIFACT: on this machine's CPU, or on a device behind an RPC tracker.

    Of a package ('sr-tvm package') its benchmark program is run; for another machine, what it printed there is read
    from the package's bench.json. One for hexagon runs in the simulator, which counts packets.

    \b
    sr-tvm bench out/ --append runs/speed.jsonl
    sr-tvm bench out/ --input-shape 1x3x360x640
    sr-tvm bench out/ --tracker 127.0.0.1:9190 --key galaxy-s21 --per-operator
    sr-tvm bench out/ --isa adreno-660
    sr-tvm bench out-c/ --threads 2
    sr-tvm bench dsp-c/ --threads 4                                a hexagon package, in four bands of rows
    sr-tvm bench dsp/ --input-shape 1x3x360x640 --per-operator     a hexagon artifact: in the simulator, in packets
    sr-tvm bench dsp/ --input-shape 1x3x360x640 --threads 4        the same in four bands of rows, one after another
    """
    if isa is not None and tracker is not None:
        raise click.UsageError("--isa is an estimate without a device; leave out --tracker and --key")
    if isa is not None:
        refuse_given("an estimate by --isa runs nothing", "repeats", "threads", "deadline")
    if (tracker is None) != (key is None):
        raise click.UsageError("--tracker and --key belong together; 'sr-tvm devices --tracker HOST:PORT' lists keys")
    from sr_tvm.cli._input_shapes import merge
    from sr_tvm.records.artifact import Artifact

    if dataset is not None:
        _check_can_append(dataset)
    if (Path(artifact) / PACKAGE).is_file():
        if tracker is not None or isa is not None or per_operator:
            raise click.UsageError("a package runs its own program; leave out --tracker, --isa and --per-operator")
        _tell(_of_package(artifact, input_shapes, threads), [], dataset, as_json, per_operator)
        return
    loaded = Artifact.load(artifact).at(merge(input_shapes) or {})
    if memory is not None and loaded.target != "hexagon":
        raise click.UsageError(f"--memory is for target hexagon, not {loaded.target}")
    device: Any
    if tracker is not None and key is not None:
        from sr_tvm.runners.rpc import RpcRunner

        device = RpcRunner(tracker, key, deadline, threads)
    elif isa is not None:
        from sr_tvm.runners.machine_code import MachineCodeRunner

        device = MachineCodeRunner(isa)
    elif loaded.target == "hexagon":
        from sr_tvm.runners.hexagon_sim import HexagonSimRunner

        device = HexagonSimRunner(deadline, threads, None if memory is None else memory * 1024)
    else:
        from sr_tvm.runners.local import LocalRunner

        device = LocalRunner(threads)
    try:
        if sys.stderr.isatty():
            click.echo(f"measuring {loaded.model} on {device.name} ...", err=True)
        result = device.measure(loaded, repeats)
        rows = device.per_operator(loaded) if per_operator else []
    finally:
        if tracker is not None:
            device.close()
    _tell(result, rows, dataset, as_json, per_operator)


def _of_package(folder: str, input_shapes: tuple[str, ...], threads: int) -> Measurement:
    from sr_tvm.cli._input_shapes import merge
    from sr_tvm.package.bench import measure
    from sr_tvm.package.record import Package

    package = Package.load(folder)
    shapes = merge(input_shapes) or {"": (1, package.channels, *PACKAGE_SIZE)}
    (shape,) = shapes.values() if len(shapes) == 1 else ((),)
    if len(shape) != 4 or shape[:2] != (1, package.channels):
        channels = package.channels
        raise SrTvmError(f"{folder}: takes 1x{channels}xHxW, for example --input-shape 1x{channels}x360x640")
    return measure(package, shape[2], shape[3], threads)


def _tell(
    result: Measurement, rows: list[dict[str, Any]], dataset: str | None, as_json: bool, per_operator: bool
) -> None:
    """Keep and print what was measured."""
    if dataset is not None:
        from sr_tvm.cli._speed import notes_of_warnings
        from sr_tvm.speed.dataset import append

        with notes_of_warnings():
            append(dataset, result)
    if as_json:
        value: dict[str, Any] = {"measurement": result.to_json(), "appended_to": dataset}
        click.echo(json.dumps({**value, "per_operator": rows} if per_operator else value))
        return
    _print(result, rows)
    if dataset is not None:
        click.echo(f"added to {dataset}; next: sr-tvm speed fit {dataset} -o runs/speed-model.json")
    else:
        click.echo(f"next: the same with --append {DATASET} feeds the speed model")


def _check_can_append(dataset: str) -> None:
    """Refuse before the measurement what could not be written after it.

    Raises:
        SrTvmError: It is a folder, or write-protected.
    """
    if not os.path.lexists(dataset):
        check_writable(dataset)
    elif os.path.isdir(dataset):
        raise SrTvmError(f"cannot write {dataset}: it is a folder; name a file")
    elif not os.access(dataset, os.W_OK):
        raise SrTvmError(f"cannot write {dataset}: it is write-protected; name a file that can be written")


def _print(result: Measurement, rows: list[dict[str, Any]]) -> None:
    low, high = result.interval
    c = result.conditions
    shape = "x".join(map(str, result.input_shape))
    click.echo(f"{result.model}, {result.target}, input {shape}, on {result.device}")
    if result.unit == "packets":
        bands = f" in {c['threads']} bands of rows" if c["threads"] > 1 else ""
        click.echo(f"{result.median:,.0f} packets{bands} (simulated, no time; {c['method']})")
        if "line_buffer_bytes" in c:
            click.echo(f"{c['line_buffer_bytes'] / 1024:,.0f} KiB of line buffers, plain memory in the simulator")
        if "estimate" in c:
            from sr_tvm.targets.hexagon.estimate import in_words

            click.echo(in_words(c["estimate"]))
    elif result.unit == ESTIMATED_MS:
        click.echo(f"{result.median:.3f} {result.unit}")
        click.echo(f"{c['schedule']} schedules; {c['method']}")
    else:
        click.echo(f"{result.median:.3f} {result.unit} (middle half {low:.3f} to {high:.3f})")
        click.echo(_how(c))
    if rows and result.unit == "packets":
        _print_packets(rows)
    elif rows:
        total = sum(row["ms"] for row in rows)
        click.echo(f"\n{'kernel':<60} {'calls':>5} {'ms':>9} {'share':>6}")
        for row in rows:
            click.echo(f"{row['kernel'][:60]:<60} {row['calls']:>5} {row['ms']:>9.3f} {row['ms'] / total:>6.1%}")


def _print_packets(rows: list[dict[str, Any]]) -> None:
    total = sum(row["packets"] for row in rows)
    click.echo(f"\n{'stage':<40} {'packets':>12} {'share':>6} {'HVX':>12} {'MAC/packet':>10}")
    for row in rows:
        share = row["packets"] / total
        click.echo(
            f"{row['kernel']:<40} {row['packets']:>12,} {share:>6.1%} {row['hvx']:>12,} {row['macs_per_packet']:>10.1f}"
        )


def _how(c: dict[str, Any]) -> str:
    return (
        f"median of {c['repeats']} samples of {c['runs_per_sample']} run(s), {c['threads']} thread(s), "
        f"{c['clock']} time, {c['schedule']} schedules, {c['method']}"
    )
