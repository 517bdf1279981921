"""The steps of the demo, each a function of a :class:`~sr_tvm.demo.state.DemoRun`: it hands on, tells and notes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from msgspec.structs import replace

from sr_tvm.demo.state import DemoRun
from sr_tvm.records.artifact import Artifact
from sr_tvm.report.summary import Built, EveryTarget, Pictures, RunModel, Speed, SpeedRow, Tuning
from sr_tvm.system.files import sha256
from sr_tvm.system.tvm_setup import import_tvm

HEIGHT, WIDTH = 256, 256  # the tile that `upscale` runs; a hundred candidates are measured in minutes
SPEED = "speed.jsonl"
TUNING_SECONDS = 200.0
NEIGHBOURS = 8  # small networks measured beside the shipped one, so that a fit means something
REPEATS = 30
TOLERANCE = 1e-5


def network(loop: DemoRun) -> None:
    """Load the trained weights; make an input, and PyTorch's output for it, to compare every later step with.

    Args:
        loop: The run, which gets the network, the input and the output.
    """
    import torch

    from sr_tvm.nets.weights import load_weights

    module = load_weights(loop.weights)
    a = module.architecture
    x = np.random.default_rng(loop.seed).random((1, 3, HEIGHT, WIDTH), np.float32)
    with torch.inference_mode():
        loop.made.y = module(torch.from_numpy(x)).numpy()
    loop.made.module, loop.made.x = module, x
    macs = a.macs(HEIGHT, WIDTH)
    shape = f"WDSR x{a.scale}, {len(a.blocks)} blocks of {a.channels} channels, {a.params:,} parameters"
    loop.tell.say(f"{loop.weights.name}: {shape}")
    loop.note(
        model=RunModel(loop.weights.name, a.params, macs, sha256(loop.weights)),
        architecture=a.to_json(),
        lead=f"{loop.weights.stem}: from trained weights in PyTorch to a library that was built and measured here.",
    )


def export(loop: DemoRun) -> None:
    """Export the network to ONNX; the exporter compares the two on noise, flat colours and edges.

    Args:
        loop: The run, which gets the file.

    Raises:
        SrTvmError: The outputs differ by more than is allowed.
    """
    from sr_tvm.frontend.export import export_onnx

    path = loop.folder / "model.onnx"
    found = export_onnx(loop.made.module, path, (1, 3, HEIGHT, WIDTH), exporter="torchscript")
    loop.made.onnx = path
    loop.parity(found)


def import_to_relax(loop: DemoRun) -> None:
    """Import the ONNX file to TVM's Relax, build it plainly and run it once.

    Args:
        loop: The run, which gets the Relax module.

    Raises:
        SrTvmError: The output differs from PyTorch's by more than is allowed.
    """
    import_tvm()
    from sr_tvm.frontend.model import read_model
    from sr_tvm.frontend.parity import compare, run_relax
    from sr_tvm.frontend.to_relax import import_graph

    model = loop.made.model = read_model(loop.made.onnx)
    loop.made.relax = import_graph(model.graph(model.shapes()))
    (y,) = run_relax(loop.made.relax, [loop.made.x])
    loop.parity(compare("Relax against PyTorch", loop.made.y, y, TOLERANCE))


def passes(loop: DemoRun) -> None:
    """Run the passes that turn high-level Relax into streaming kernels.

    Args:
        loop: The run, which gets the target and the report of the passes.
    """
    from sr_tvm.passes.pipeline import optimize
    from sr_tvm.targets import registry

    target = loop.made.target = registry.get("cpu")
    _, report = optimize(loop.made.relax, target.tvm_target(), lowering=target.lowering(), hooks=target)
    traffic = (report.intermediate_bytes_before / 1e6, report.intermediate_bytes_after / 1e6)
    loop.tell.say(f"{report.kernels_before} kernels before, {report.kernels_after} after")
    loop.tell.say(f"{traffic[0]:.1f} MB written between kernels before, {traffic[1]:.1f} MB after")
    loop.note(passes=report.to_json())


def tuning(loop: DemoRun) -> None:
    """Search how the network streams, and schedules of other kernels; what an earlier run measured here counts.

    Args:
        loop: The run, whose ``trials`` and ``seed`` are the tuner's.
    """
    from sr_tvm.tuning.options import TuneOptions
    from sr_tvm.tuning.region_task import find_regions
    from sr_tvm.tuning.tune import tune

    fused, regions = find_regions(loop.made.relax, loop.made.target)
    with loop.tell.bar("tuning") as tick:
        result = tune(
            fused, loop.made.target, loop.folder / "tuning",
            TuneOptions(loop.trials, loop.seed, max_seconds=TUNING_SECONDS), regions=regions,
            progress=lambda e: tick(e.trial, e.trials, f"{e.total_ms:.2f} ms"),
        )  # fmt: skip
    earlier = result.trials - result.new_trials
    kept = f" ({earlier} of them in an earlier run)" if earlier else ""
    loop.tell.say(f"{result.trials} candidates measured{kept}; all kernels together took {result.before_ms:.2f} ms "
                  f"by default, {result.after_ms:.2f} ms with the best found")  # fmt: skip
    loop.note(tuning=Tuning(
        result.trials, loop.seed, result.before_ms, result.after_ms, history=list(result.history),
        note=f"Kernels alone, one thread, {result.clock} time.",
    ))  # fmt: skip


def build(loop: DemoRun) -> None:
    """Build two artifacts: with default schedules, which the speed model learns from, and with what tuning found.

    Args:
        loop: The run, which gets both.
    """
    from sr_tvm.build.compiler import compile_model
    from sr_tvm.build.options import CompileOptions

    def make(name: str, database: Path | None) -> Artifact:
        options = CompileOptions(database, use_shipped_log=False)
        return compile_model(loop.made.model, loop.made.target, loop.folder / name, options=options)

    loop.made.plain = make("artifact-default", None)
    artifact = loop.made.artifact = make("artifact", loop.folder / "tuning")
    tuned = sum(k.get("schedule") == "tuned" for k in artifact.kernels)
    size = artifact.library_path.stat().st_size / 1e6
    loop.tell.say(f"{artifact.folder}: {len(artifact.kernels)} kernels, {tuned} of them tuned, {size:.1f} MB")
    if not tuned:
        loop.tell.say("no candidate was faster than the default, so the artifact keeps that")
    loop.note(artifact=Built(artifact.folder.name, len(artifact.kernels), tuned))


def deploy(loop: DemoRun) -> None:
    """Upload to the RPC server, compare with PyTorch over there, measure.

    Args:
        loop: The run, which gets the measurement.

    Raises:
        SrTvmError: The server fails, or the output differs from PyTorch's by more than is allowed.
    """
    from sr_tvm.frontend.parity import compare
    from sr_tvm.speed import dataset

    device, artifact = loop.made.device, loop.made.artifact
    (y,) = device.run(artifact, [loop.made.x])
    loop.parity(compare("artifact over RPC against PyTorch", loop.made.y, y, TOLERANCE))
    measured = [device.measure(loop.made.plain, REPEATS)]
    if artifact.schedule == "tuned":
        measured.append(device.measure(artifact, REPEATS))
    for m in measured:
        dataset.append(loop.folder / SPEED, m)
        low, high = m.interval
        how = f"{m.conditions['schedule']} schedules, {m.conditions['threads']} thread, {m.conditions['clock']} time"
        loop.tell.say(f"{m.median:.2f} ms (middle half {low:.2f} to {high:.2f}): {how}")
    tuning = loop.summary.tuning
    if tuning and len(measured) == 2:
        tuning = replace(tuning, default_ms=measured[0].median, tuned_ms=measured[1].median)
    loop.made.measured = measured[-1]
    loop.note(
        measurement=measured[-1].to_json(), per_operator=device.per_operator(artifact),
        per_operator_note="Over RPC, one thread, thread CPU time; the clock itself adds a few microseconds to a call.",
        tuning=tuning,
    )  # fmt: skip


def learn(loop: DemoRun) -> None:
    """Measure small networks on the same server, fit a speed model, compare it with what was measured.

    Args:
        loop: The run, whose folder gets the measurements and the model.
    """
    from sr_tvm.speed import dataset, feedback
    from sr_tvm.speed.collect import collect
    from sr_tvm.speed.sampling import random_architectures

    path = loop.folder / SPEED
    plain = next(m for m in reversed(dataset.load(path)) if m.conditions["schedule"] == "default")
    where = feedback.Conditions.of(plain)
    networks = random_architectures(NEIGHBOURS, loop.seed)
    with loop.tell.bar("measuring small networks") as tick:
        collect(path, loop.made.device, where, networks, REPEATS, loop.seed, lambda done, of: tick(done, of, ""))
    samples = feedback.group(dataset.load(path))[0][where]
    model, rows = feedback.refit(where, samples)
    model.save(loop.folder / "speed_model.json")
    own = loop.made.module.architecture
    table = [
        SpeedRow(s.name, r.measured, r.predicted, s.architecture == own) for s, r in zip(samples, rows, strict=True)
    ]
    for row in table:
        off = f"{100 * (row.predicted / row.measured - 1):+.0f} %"
        line = f"measured {row.measured:7.2f} ms, predicted {row.predicted:7.2f} ms ({off})"
        loop.tell.say(f"{row.name:<34} {line}{'  <- this network' if row.this else ''}")
    error = f"{100 * model.error:.0f} % in the median" if model.error is not None else "unknown"
    method = [
        f"{len(samples)} networks, each predicted by a model fitted to the others: off by {error}. The model is a "
        "price per multiply-accumulate, byte and kernel; with so few networks it is a first guess.",
        f"All with default schedules, {where.threads} thread, {where.clock} time over RPC, input "
        f"{'x'.join(map(str, where.input_shape))}; a tuned library is another data set.",
    ]
    loop.tell.say(method[0])
    loop.note(speed=Speed(table, method, model.error, "speed_model.json"))


def every_target(loop: DemoRun) -> None:
    """Estimate GPUs by their machine code and count the DSP in its simulator, beside what was measured here.

    Args:
        loop: The run.
    """
    from sr_tvm.demo import every_target as found

    rows = [found.measured(loop.made.measured)]
    note = (
        f"{loop.weights.name}, input {HEIGHT}x{WIDTH}. Only the CPU ran: the others' figures are estimates "
        "or counts, each with what it leaves out, and are no contest between them."
    )
    for row in found.rows(loop.made.onnx, (HEIGHT, WIDTH), loop.folder, loop.tell.say):
        rows.append(row)
        loop.tell.say(f"{row.target}: {row.time or row.how}")
        loop.note(every_target=EveryTarget(note, list(rows)))


def picture(loop: DemoRun) -> None:
    """Enlarge a real photograph by the artifact, and compare it with bicubic.

    Args:
        loop: The run, whose folder gets the pictures.
    """
    from sr_tvm.demo.comparison import compare

    with loop.tell.bar("enlarging") as tick:
        c, enlarged = compare(loop.folder, loop.made.artifact.folder, loop.made.module.architecture.scale, None,
                              lambda what, done, total: tick(done, total, what))  # fmt: skip
    loop.tell.say(f"PSNR-Y {c.psnr_bicubic:.2f} dB by bicubic, {c.psnr_ours:.2f} dB by the network; wrote "
                  f"{loop.folder / enlarged.file}")  # fmt: skip
    loop.note(pictures=Pictures(c, enlarged))


def report(loop: DemoRun) -> None:
    """Write the page of the run.

    Args:
        loop: The run.
    """
    from sr_tvm.report.page import write_report

    write_report(loop.folder)
