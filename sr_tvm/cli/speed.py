"""``sr-tvm speed``: collect, fit, evaluate, predict."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sr_tvm.cli._speed import InputShape, notes_of_warnings, print_rows
from sr_tvm.errors import SrTvmError
from sr_tvm.system import files

if TYPE_CHECKING:
    from sr_tvm.runners.base import Runner
    from sr_tvm.speed.feedback import Conditions, Row
    from sr_tvm.speed.model import SpeedModel
    from sr_tvm.speed.sample import Sample

KINDS = click.Choice(["physical", "mlp", "mlp-monotone"])
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
_device = click.option("--device", help="Which device of the file, where it holds several.")


@click.group()
def command() -> None:
    """Measure random networks, fit a speed model to them, see how well it predicts, predict.

    \b
    sr-tvm speed collect --count 8 --input-shape 1x3x90x160 -o runs/speed.jsonl
    sr-tvm speed fit runs/speed.jsonl -o runs/speed-model.json
    """


@command.command()
@click.option("--device", default="local", show_default=True, help="'local', or a key of the tracker.")
@click.option("--tracker", metavar="HOST:PORT", help="The RPC tracker of a device that is not local.")
@click.option("--isa", metavar="GPU", help="In place of a device: estimate for this GPU by machine code.")
@click.option("--target", default="cpu", show_default=True, help="What to compile for.")
@click.option("--count", type=click.IntRange(1, 10_000), default=8, show_default=True, help="How many networks.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--scale", type=click.Choice(["2", "3", "4"]), default="2", show_default=True)
@click.option("--input-shape", type=InputShape(), default="1x3x90x160", show_default=True)
@click.option("--repeats", type=click.IntRange(1, 100_000), default=20, show_default=True)
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
@click.option("-o", "--output", required=True, type=click.Path(), help="The speed dataset; added to.")
@_json
def collect(
    device: str,
    tracker: str | None,
    isa: str | None,
    target: str,
    count: int,
    seed: int,
    scale: str,
    input_shape: tuple[int, int, int, int],
    repeats: int,
    threads: int,
    output: str,
    as_json: bool,
) -> None:
    """Measure COUNT random networks. Run again, it leaves out what the dataset has already.

    \b
    sr-tvm speed collect --device local --count 8 --seed 0 --input-shape 1x3x90x160 -o runs/speed.jsonl
    sr-tvm speed collect --isa adreno-660 --target adreno --count 8 -o runs/adreno.jsonl
    sr-tvm speed collect --target hexagon --input-shape 1x3x36x640 --count 8 -o runs/dsp.jsonl     in packets
    """
    if isa is not None and (device != "local" or tracker is not None):
        raise click.UsageError("--isa is an estimate without a device; leave out --device and --tracker")
    if (device == "local") == (tracker is not None):
        raise click.UsageError("--tracker HOST:PORT goes with a --device that is a key of that tracker, and only then")
    from sr_tvm.bars import bar
    from sr_tvm.speed.collect import collect as measure_missing
    from sr_tvm.speed.sampling import random_architectures

    networks = random_architectures(count, seed, int(scale))
    with _opened(device, tracker, target, threads, isa) as opened, notes_of_warnings(), bar("networks") as tick:
        where = _group(opened, target, input_shape)
        measured = measure_missing(output, opened, where, networks, repeats, seed, tick)
    if as_json:
        click.echo(json.dumps({"dataset": output, "measured": measured, "there_already": count - measured}))
        return
    click.echo(f"{output}: {measured} networks measured, {count - measured} were there already")
    click.echo(f"next: sr-tvm speed fit {output} -o runs/speed-model.json")


@contextmanager
def _opened(device: str, tracker: str | None, target: str, threads: int, isa: str | None = None) -> Iterator[Runner]:
    """Open the device, and close it after the block.

    Yields:
        Its runner.

    Raises:
        SrTvmError: The target is unknown or does not run here, or the device can't be had.
    """
    from sr_tvm.targets import registry

    registry.check(target)
    if tracker is not None:
        from sr_tvm.runners.rpc import RpcRunner

        with RpcRunner(tracker, device, deadline=300, threads=threads) as remote:
            yield remote
        return
    if isa is not None:
        from sr_tvm.runners.machine_code import MachineCodeRunner

        yield MachineCodeRunner(isa)
        return
    if target == "hexagon":
        from sr_tvm.runners.hexagon_sim import HexagonSimRunner

        yield HexagonSimRunner(bands=threads)
        return
    if not registry.get(target).capabilities.runs_here:
        raise SrTvmError(f"target {target} does not run on this machine; name a device with --tracker")
    from sr_tvm.runners.local import LocalRunner

    yield LocalRunner(threads)


def _group(device: Runner, target: str, input_shape: tuple[int, ...]) -> Conditions:
    """Return what measurements on the device are comparable with: default schedules, and the clock it measures by."""
    from sr_tvm.speed.feedback import Conditions

    return Conditions(device.name, target, "default", device.threads, device.clock, device.unit, input_shape)


@command.command()
@click.argument("data", type=click.Path())
@click.option("-o", "--output", required=True, type=click.Path(), help="The model, a .json file.")
@click.option("--kind", type=KINDS, default="physical", show_default=True)
@click.option("--blocks-only", is_flag=True, help="Of a CSV: a network counts as its blocks, as in the paper.")
@_device
@_json
def fit(data: str, output: str, kind: str, blocks_only: bool, device: str | None, as_json: bool) -> None:
    """Fit a model to DATA: a speed dataset (.jsonl), or a CSV of block latencies, which stands in for a device.

    \b
    sr-tvm speed fit runs/speed.jsonl -o runs/speed-model.json
    sr-tvm speed fit blocks.csv --device s21_gpu_x2 --kind mlp -o runs/s21.json
    """
    if Path(output).suffix != ".json":
        raise click.UsageError(f"-o {output}: name a .json file")
    if blocks_only and Path(data).suffix != ".csv":
        raise click.UsageError("--blocks-only goes with a CSV of block latencies; a dataset has whole networks")
    files.check_writable(output)
    model, rows, where = _fitted(data, kind, device)
    model = replace(model, ends=not blocks_only)
    model.save(output)
    if as_json:
        click.echo(json.dumps({"model": output, **_facts(model, rows)}))
        return
    _print_table(model, rows, where)
    shape = "x".join(map(str, model.fitted_to["input_shape"]))
    click.echo(f"{output} written; next: sr-tvm speed predict ARCH.json --model {output} --input-shape {shape}")


@command.command()
@click.argument("data", type=click.Path())
@click.option("--kind", type=KINDS, default="physical", show_default=True)
@click.option("--model", "model_path", help="Judge this model, a file or a shipped one, instead of fitting afresh.")
@_device
@_json
def evaluate(data: str, kind: str, model_path: str | None, device: str | None, as_json: bool) -> None:
    """How well a model predicts DATA: each network by a model that has not seen it, or all by a given model.

    \b
    sr-tvm speed evaluate runs/speed.jsonl --kind physical
    """
    if model_path is None:
        model, rows, where = _fitted(data, kind, device)
    else:
        from sr_tvm.speed import known
        from sr_tvm.speed.feedback import Row, error_of

        where, samples = _samples(data, device)[:2]
        model = known.find(model_path)
        predicted = model.predict(samples)
        rows = [Row(s.name, s.latency, p) for s, p in zip(samples, predicted, strict=True)]
        model = replace(model, error=error_of(rows))
    if as_json:
        click.echo(json.dumps({**_facts(model, rows), "rows": [row.to_json() for row in rows]}))
        return
    _print_table(model, rows, where)


@command.command()
@click.argument("architecture", type=click.Path())
@click.option("--model", "model_path", required=True, help="From 'sr-tvm speed fit', or a shipped one: galaxy-s21.")
@click.option("--input-shape", type=InputShape(), required=True)
@_json
def predict(architecture: str, model_path: str, input_shape: tuple[int, int, int, int], as_json: bool) -> None:
    """Predict the latency of a network that has not been measured; ARCHITECTURE is its .json file.

    \b
    sr-tvm speed predict models/wdsr_x2_37k.json --model runs/speed-model.json --input-shape 1x3x360x640
    sr-tvm speed predict models/wdsr_x2_37k.json --model galaxy-s21 --input-shape 1x3x360x640
    """
    from sr_tvm.records.architecture import Architecture
    from sr_tvm.speed import known
    from sr_tvm.speed.sample import Sample

    model = known.find(model_path)
    network = Architecture.load(architecture)
    (value,) = model.predict([Sample(network, input_shape[2], input_shape[3], 1.0)])
    if as_json:
        facts = {"source": model.source, "ends": model.ends, "fitted_to": model.fitted_to, "error": model.error}
        click.echo(json.dumps({"predicted": value, "unit": model.unit, **facts}))
        return
    doubt = f", typically off by {model.error:.1%}" if model.error is not None else ""
    click.echo(f"{value:.3f} {model.unit} on {model.fitted_to.get('device', 'an unknown device')}{doubt}")
    if caution := known.caution(model):
        click.echo(f"note: {caution}", err=True)


def _samples(data: str, device: str | None) -> tuple[Conditions | str, list[Sample], bool]:
    """Return what they are of, samples, and whether they are a surrogate's.

    Raises:
        SrTvmError: There are no measurements of such networks.
    """
    from sr_tvm.speed import feedback
    from sr_tvm.speed.dataset import load
    from sr_tvm.speed.sample import read_csv

    if Path(data).suffix == ".csv":
        name, samples = read_csv(data, device)
        return name, samples, True
    with notes_of_warnings():
        groups, other = feedback.group(load(data))
    if other:
        click.echo(f"note: {other} measurements in {data} are of networks that are no WDSR; left out", err=True)
    if device is not None:
        groups = {g: s for g, s in groups.items() if g.device == device}
    if not groups:
        raise SrTvmError(f"{data}: no measurements of WDSR networks{f' on device {device!r}' if device else ''}")
    where = max(groups, key=lambda g: len(groups[g]))
    for g in groups:
        if g != where:
            click.echo(f"note: left out {len(groups[g])} network(s) measured otherwise: {g}", err=True)
    return where, groups[where], False


def _fitted(data: str, kind: str, device: str | None) -> tuple[SpeedModel, list[Row], Conditions | str]:
    from sr_tvm.speed import feedback
    from sr_tvm.speed.model import SURROGATE, SpeedModel, fitter

    where, samples, surrogate = _samples(data, device)
    if not surrogate:
        assert isinstance(where, feedback.Conditions)
        model, rows = feedback.refit(where, samples, kind)
        return model, rows, where
    rows = feedback.held_out(samples, kind)
    shape = [1, 3, samples[0].height, samples[0].width]
    facts: dict[str, Any] = {"device": where, "input_shape": shape, "file": Path(data).name}
    predictor = fitter(kind)(samples)
    return SpeedModel(kind, predictor, SURROGATE, "ms", facts, len(samples), feedback.error_of(rows)), rows, where


def _facts(model: SpeedModel, rows: list[Row]) -> dict[str, Any]:
    facts = {"kind": model.kind, "source": model.source, "unit": model.unit, "fitted_to": model.fitted_to}
    return {**facts, "samples": model.samples, "median_relative_error": model.error, "judged_on": len(rows)}


def _print_table(model: SpeedModel, rows: list[Row], where: Conditions | str) -> None:
    click.echo(f"{model.kind} model, {model.source}: {where}")
    print_rows(rows if len(rows) <= 30 else rows[:10], model.unit)
    if len(rows) > 30:
        click.echo(f"... and {len(rows) - 10} more")
    if model.error is None:
        click.echo("too few networks to leave one out: the errors above are of the fit itself")
    else:
        click.echo(f"median relative error {model.error:.1%} on {len(rows)} networks")
