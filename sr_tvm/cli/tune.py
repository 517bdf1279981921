"""``sr-tvm tune``: search fast decisions for a model's streaming regions and kernels with the genetic tuner."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sr_tvm.errors import SrTvmError
from sr_tvm.system import files

if TYPE_CHECKING:
    from sr_tvm.targets.target import Target
    from sr_tvm.tuning.tune import TuningResult


@click.command()
@click.argument("model", type=click.Path())
@click.option("--target", "target", required=True, metavar="NAME", help="What to tune for; cpu runs on this machine.")
@click.option("-o", "--output", type=click.Path(), metavar="DIR", help="The records; default tuning/<model>-<target>.")
@click.option("--input-shape", metavar="[NAME:]NxCxHxW", help="Fix a symbolic size; without it: kernels for any size.")
@click.option("--trials", default=200, show_default=True, type=click.IntRange(1), help="Earlier runs' count too.")
@click.option("--population", default=32, show_default=True, type=click.IntRange(2), help="Parents at most.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Same seed, same first candidates.")
@click.option("--threads", default=1, show_default=True, type=click.IntRange(1, 256), help="That the kernels run on.")
@click.option("--tracker", metavar="HOST:PORT", help="Measure on the servers of this RPC tracker.")
@click.option("--key", help="Which kind of server; 'sr-tvm devices --tracker ...' lists them.")
@click.option(
    "--parallel", type=click.IntRange(1, 256), help="Servers to use side by side; all of the key if not given."
)
@click.option(
    "--deadline", type=click.FloatRange(min=1), default=60, show_default=True, help="Seconds for a candidate."
)
@click.option("--mcpu", metavar="NAME", help="hexagon: the processor, as for 'sr-tvm compile'.")
@click.option("--isa", metavar="GPU", help="adreno, mali: without a phone, the GPU that times are estimated for.")
@click.option("--max-minutes", type=click.FloatRange(0, min_open=True), help="Stop after that, whatever is missing.")
@click.option("--hints", metavar="DIR", help="Records of another network, whose decisions are tried early.")
@click.option("--pin", is_flag=True, help="Of a region whose default nothing beats, record that: builds are pinned.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def command(
    model: str,
    target: str,
    output: str | None,
    input_shape: str | None,
    trials: int,
    population: int,
    seed: int,
    threads: int,
    tracker: str | None,
    key: str | None,
    parallel: int | None,
    deadline: float,
    mcpu: str | None,
    isa: str | None,
    max_minutes: float | None,
    hints: str | None,
    pin: bool,
    as_json: bool,
) -> None:
    """Search decisions for the streaming regions of the ONNX file MODEL, and schedules for its other kernels.

    Of a region: where it is cut into kernels, the strips it is computed in, its register tiles. Every candidate is
    built, checked against what the default computes, and timed. Ctrl-C at any time: what was measured is kept, and
    the same command goes on from there.

    With --tracker and --key candidates are built here and measured on all servers of that key side by side. Without
    them those for a phone's GPU are compiled to its machine code, and their times are estimated by its instructions:
    what is found so is a first guess, for nothing ran.

    Of a quantised model for hexagon each kind of kernel is tuned, in the simulator and in packets, never ms.

    The records are for the input shape given here, and for vectors and registers like this machine's. Tune and compile
    with the same --input-shape, or both without: that is what 'upscale' runs too.

    \b
    sr-tvm tune models/wdsr_x2_37k.onnx --target cpu -o tuning/wdsr --input-shape 1x3x360x640 --trials 100
    sr-tvm tune models/wdsr_x2_37k.onnx --target android-cpu --tracker 127.0.0.1:9190 --key galaxy-s21
    sr-tvm tune models/wdsr_x2_37k.onnx --target adreno --input-shape 1x3x360x640
    sr-tvm tune wdsr_int8.onnx --target hexagon --input-shape 1x3x36x640 --trials 100
    """
    from sr_tvm.targets import registry
    from sr_tvm.tuning.options import TuneOptions

    registry.check(target)
    if (tracker is None) != (key is None):
        raise click.UsageError("--tracker and --key belong together; 'sr-tvm devices --tracker HOST:PORT' lists keys")
    if parallel is not None and tracker is None:
        raise click.UsageError(
            "--parallel counts servers of --tracker; on this machine candidates are measured in turn"
        )
    seconds = max_minutes * 60 if max_minutes else None
    options = TuneOptions(trials, seed, population, threads, max_seconds=seconds, pin=pin)
    folder = Path(output) if output else Path("tuning") / f"{Path(model).stem}-{target}"
    files.check_writable(folder / "tuning.json")
    preset = registry.get(target)
    preset = preset if mcpu is None else preset.for_processor(mcpu)
    from sr_tvm.frontend.model import read_model

    try:
        read = read_model(model)
    except SrTvmError:
        _check_tunable(preset, model, tracker, isa)  # what tuning needs is said before what the file lacks
        raise
    if read.quantized:
        if tracker is not None or isa is not None:
            raise click.UsageError("a quantised model is tuned in the simulator here: leave out --tracker and --isa")
        if hints or pin:
            raise click.UsageError("--hints and --pin are for streaming regions, not for kinds of integer kernels")
        if threads != 1:
            raise click.UsageError("a simulator counts one thread's packets: leave out --threads")
        from sr_tvm.cli import _tune_integer

        result = _tune_integer.run(read, preset, input_shape, folder, options, deadline)
        if as_json:
            click.echo(json.dumps({"model": model, "target": target, **result.to_json()}))
        else:
            _tell(model, target if mcpu is None else f"{target} --mcpu {mcpu}", {}, result)
        return
    gpu = _check_tunable(preset, model, tracker, isa)
    from sr_tvm.records.region_decisions import RegionRecords, file_in

    if hints and file_in(hints) is None:
        raise SrTvmError(f"{hints}: no decisions of streaming regions there; name a folder of 'sr-tvm tune'")
    known = RegionRecords.open([hints]) if hints else None

    from sr_tvm.frontend.input_shapes import is_open, parse_open_shape

    asked = parse_open_shape(input_shape) if input_shape else None
    shapes: dict[str, tuple[int | str, ...]] = (
        read.open_shapes(asked) if preset.capabilities.any_size else {**read.shapes(asked)}
    )
    from sr_tvm.system.tvm_setup import import_tvm

    import_tvm()
    from sr_tvm.build.builder import ChildBuilder
    from sr_tvm.cli._tune_bar import progress_bar
    from sr_tvm.frontend.to_relax import import_graph
    from sr_tvm.runners.child_session import ChildRunner
    from sr_tvm.runners.machine_code import MachineCodeRunner
    from sr_tvm.runners.rpc import RpcRunner
    from sr_tvm.system import machine
    from sr_tvm.tuning.bench import DeviceBench
    from sr_tvm.tuning.region_task import OPEN_SIZE, find_regions
    from sr_tvm.tuning.tune import tune

    runner: RpcRunner | ChildRunner | MachineCodeRunner
    if gpu:
        runner = MachineCodeRunner(gpu)
    else:
        runner = RpcRunner(tracker, key, deadline, threads) if tracker and key else ChildRunner(threads, deadline)
        runner.wait_until_free()  # an unknown key is told before any work
    fused, regions = find_regions(import_graph(read.graph(shapes)), preset)
    if is_open(shapes):
        if not regions:
            raise SrTvmError(f"nothing of {model} streams at any size; fix it with --input-shape, say 1x3x360x640")
        size = "x".join(map(str, OPEN_SIZE[1:]))
        click.echo(f"note: kernels for any size, measured at {size}; with --input-shape those for one size", err=True)
    workers = min(parallel or runner.capacity, machine.cores())
    with DeviceBench(ChildBuilder(workers, deadline), runner, parallel) as bench, progress_bar(trials) as tick:
        if gpu:
            click.echo(f"note: nothing runs; times are estimated by the machine code for {gpu}", err=True)
        if tracker:
            click.echo(f"note: measuring on {bench.parallel} server(s) of {key} at {tracker}", err=True)
        # A generation is as large as what can be measured at once, so that no server waits.
        options = replace(options, per_generation=max(options.per_generation, bench.parallel))
        mod = None if is_open(shapes) else fused
        result = tune(mod, preset, folder, options, bench=bench, regions=regions, hints=known, progress=tick)
    if as_json:
        click.echo(json.dumps({"model": model, "target": target, "inputs": shapes, **result.to_json()}))
    else:
        _tell(model, target, shapes, result)


def _check_tunable(target: Target, model: str, tracker: str | None, isa: str | None) -> str:
    """Return the GPU to estimate for, "" where kernels run.

    Raises:
        SrTvmError: What tuning needs can't be had; the message says it in one line.
        click.UsageError: A GPU is named where kernels are measured.
    """
    untuned = f"untuned: sr-tvm compile {model} --target {target.name} -o out/"
    capable = target.capabilities
    if target.lowering() is None and not capable.meta_schedule:
        needs = f"; it will need {capable.needs}" if capable.needs else ""
        raise SrTvmError(
            f"target {target.name} has stock schedules only, so there is nothing to tune yet{needs}; {untuned}"
        )
    if isa and (tracker or not capable.estimated_on):
        told = "on the servers of --tracker" if tracker else "where they run"
        raise click.UsageError(f"--isa is for adreno and mali without a phone; here kernels are measured {told}")
    if tracker is None and capable.estimated_on:
        return isa or capable.estimated_on
    if tracker is None and not capable.runs_here:
        raise SrTvmError(
            f"target {target.name} is measured on {capable.needs}: give --tracker HOST:PORT and --key; {untuned}"
        )
    return ""


def _tell(model: str, target: str, shapes: dict[str, tuple[int | str, ...]], result: TuningResult) -> None:
    clocks = {"thread-cpu": "thread CPU time", "estimate": "estimated by machine code", "packets": "simulated: no time"}
    clock, packets = clocks.get(result.clock, "wall time"), result.clock == "packets"
    unit = "packets" if packets else "ms"

    def number(ms: float, digits: int = 3) -> str:
        return f"{ms:.0f}" if packets else f"{ms:.{digits}f}"

    titles = ("packets", "tuned") if packets else ("default ms", "tuned ms")
    numbers = f"{'calls':>5} {titles[0]:>10} {titles[1]:>9} {'gain':>6} {'trials':>6} {'failed':>6}"
    click.echo(f"{'kernel' if packets else 'region or kernel':<44} {numbers}")
    for task in sorted(result.tasks, key=lambda t: -t.weight * t.before_ms):
        gain = f"{task.before_ms / task.best_ms:.{3 if packets else 2}f}x" if task.best_ms else "-"
        numbers = f"{task.weight:>5} {number(task.before_ms):>10} {number(task.best_ms):>9} {gain:>6}"
        click.echo(f"{task.name[:44]:<44} {numbers} {task.trials:>6} {task.failed:>6}")
    rate = f", {result.new_trials / result.seconds * 60:.0f} a minute" if result.new_trials else ""
    click.echo(
        f"all together: {number(result.before_ms, 2)} {unit} by default, {number(result.after_ms, 2)} {unit} tuned "
        f"({clock}); {result.trials} trials, {result.new_trials} of them now{rate}"
    )
    fixed = {name: dims for name, dims in shapes.items() if all(isinstance(d, int) for d in dims)}
    shape = "".join(f" --input-shape {name}:{'x'.join(map(str, dims))}" for name, dims in fixed.items())
    click.echo(f"records: {result.database}")
    click.echo(f"next: sr-tvm compile {model} --target {target}{shape} --database {result.database} -o out/")
