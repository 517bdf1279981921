"""Once round the loop: a trained network to ONNX, Relax, a tuned library, an RPC server, a speed model, a picture.

Every step is a function of a :class:`DemoRun`; what it found goes into summary.json at once, so an interrupted run has
its page up to there. Running again overwrites, except for what took long: tuning goes on from its records, and
architectures that were measured under the same conditions are not measured again.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from sr_tvm.architecture import Architecture
from sr_tvm.artifact import Artifact, sha256
from sr_tvm.errors import SrTvmError
from sr_tvm.report import host, run_folder
from sr_tvm.tvm_setup import import_tvm

WEIGHTS = "wdsr_x2_37k.safetensors"
HEIGHT, WIDTH = 256, 256  # the tile that `upscale` runs; a hundred candidates are measured in minutes
SPEED = "speed.jsonl"
KEY = "this-machine"
TRIALS, TUNING_SECONDS = 128, 200.0
NEIGHBOURS = 8  # small networks measured beside the shipped one, so that a fit means something
REPEATS = 30
TOLERANCE = 1e-5


class Teller(Protocol):
    """Shows progress; the command line's prints with rich."""

    def step(self, number: int, of: int, title: str) -> None: ...

    def say(self, line: str) -> None: ...

    def bar(self, what: str) -> contextlib.AbstractContextManager[Callable[[int, int, str], None]]:
        """Gives a function that is told (done, of how many, a word on how it stands)."""


@dataclass
class DemoRun:
    """A run: its settings, what is handed from step to step, and the summary so far."""

    folder: Path
    trials: int
    seed: int
    weights: Path
    tell: Teller
    summary: dict[str, Any] = field(default_factory=dict)
    made: dict[str, Any] = field(default_factory=dict)

    def note(self, **fields: Any) -> None:
        """Add to the summary, and write it."""
        self.summary |= fields
        run_folder.save(self.folder, self.summary)

    def parity(self, found: Any) -> None:
        """Tell and keep a comparison with PyTorch; off is an error."""
        allowed = found.tolerance * max(1.0, found.peak)  # what ``ok`` means
        row = {"name": found.name, "max_abs_err": found.max_abs_err, "tolerance": allowed, "ok": found.ok}
        self.tell.say(f"{found.name}: largest difference {found.max_abs_err:.1e}, {allowed:.1e} is allowed")
        self.note(parity=[*self.summary.get("parity", []), row])
        found.require()


def network(loop: DemoRun) -> None:
    """Load the trained weights; an input, and PyTorch's output for it, to compare every later step with."""
    import torch

    from sr_tvm.nets.weights import load_weights

    module = load_weights(loop.weights)
    a: Architecture = module.architecture
    x = np.random.default_rng(loop.seed).random((1, 3, HEIGHT, WIDTH), np.float32)
    with torch.inference_mode():
        loop.made |= {"module": module, "architecture": a, "x": x, "y": module(torch.from_numpy(x)).numpy()}
    macs = a.macs(HEIGHT, WIDTH)
    shape = f"WDSR x{a.scale}, {len(a.blocks)} blocks of {a.channels} channels, {a.params:,} parameters"
    loop.tell.say(f"{loop.weights.name}: {shape}")
    loop.note(
        model={"name": loop.weights.name, "sha256": sha256(loop.weights), "params": a.params, "macs": macs},
        architecture=a.to_json(),
        lead=f"{loop.weights.stem}: from trained weights in PyTorch to a library that was built and measured here.",
    )


def export(loop: DemoRun) -> None:
    """PyTorch to ONNX; the exporter compares the two on noise, flat colours and edges."""
    from sr_tvm.frontend.export import export_onnx

    path = loop.folder / "model.onnx"
    found = export_onnx(loop.made["module"], path, (1, 3, HEIGHT, WIDTH), exporter="torchscript")
    loop.made["onnx"] = path
    loop.parity(found)


def import_to_relax(loop: DemoRun) -> None:
    """ONNX to TVM's Relax, built plainly and run once."""
    import_tvm()
    from sr_tvm.frontend.onnx_file import load_onnx, resolve_inputs
    from sr_tvm.frontend.parity import compare, run_relax
    from sr_tvm.frontend.to_relax import import_onnx

    model = load_onnx(loop.made["onnx"])
    loop.made["relax"] = import_onnx(model, resolve_inputs(model))
    (y,) = run_relax(loop.made["relax"], [loop.made["x"]])
    loop.parity(compare("Relax against PyTorch", loop.made["y"], y, TOLERANCE))


def passes(loop: DemoRun) -> None:
    """High-level Relax to streaming kernels."""
    from sr_tvm.passes.pipeline import optimize
    from sr_tvm.targets import registry

    target = loop.made["target"] = registry.get("cpu")
    _, report = optimize(loop.made["relax"], target.tvm_target(), lowering=target.lowering(), hooks=target)
    traffic = (report.intermediate_bytes_before / 1e6, report.intermediate_bytes_after / 1e6)
    loop.tell.say(f"{report.kernels_before} kernels before, {report.kernels_after} after")
    loop.tell.say(f"{traffic[0]:.1f} MB written between kernels before, {traffic[1]:.1f} MB after")
    loop.note(passes=report.to_json())


def tuning(loop: DemoRun) -> None:
    """Search how the network streams, and schedules of other kernels; what an earlier run measured here counts."""
    from sr_tvm.tuning.options import TuneOptions
    from sr_tvm.tuning.region_task import find_regions
    from sr_tvm.tuning.tune import tune

    fused, regions = find_regions(loop.made["relax"], loop.made["target"])
    with loop.tell.bar("tuning") as tick:
        result = tune(
            fused, loop.made["target"], loop.folder / "tuning",
            TuneOptions(loop.trials, loop.seed, max_seconds=TUNING_SECONDS), regions=regions,
            progress=lambda e: tick(e.trial, e.trials, f"{e.total_ms:.2f} ms"),
        )  # fmt: skip
    earlier = result.trials - result.new_trials
    kept = f" ({earlier} of them in an earlier run)" if earlier else ""
    loop.tell.say(f"{result.trials} candidates measured{kept}; all kernels together took {result.before_ms:.2f} ms "
                  f"by default, {result.after_ms:.2f} ms with the best found")  # fmt: skip
    loop.note(tuning={
        "trials": result.trials, "seed": loop.seed, "kernels_default_ms": result.before_ms,
        "kernels_best_ms": result.after_ms, "history": list(result.history),
        "note": f"Kernels alone, one thread, {result.clock} time.",
    })  # fmt: skip


def build(loop: DemoRun) -> None:
    """Two artifacts: with default schedules, which the speed model learns from, and with what tuning found."""
    from sr_tvm.build.compiler import compile_model
    from sr_tvm.build.options import CompileOptions

    def make(name: str, database: Path | None) -> Artifact:
        options = CompileOptions(database, use_shipped_log=False)
        return compile_model(loop.made["onnx"], loop.made["target"], loop.folder / name, options=options)

    loop.made["plain"] = make("artifact-default", None)
    artifact = loop.made["artifact"] = make("artifact", loop.folder / "tuning")
    tuned = sum(k.get("schedule") == "tuned" for k in artifact.kernels)
    size = artifact.library_path.stat().st_size / 1e6
    loop.tell.say(f"{artifact.folder}: {len(artifact.kernels)} kernels, {tuned} of them tuned, {size:.1f} MB")
    if not tuned:
        loop.tell.say("no candidate was faster than the default, so the artifact keeps that")
    loop.note(artifact={"folder": artifact.folder.name, "kernels": len(artifact.kernels), "tuned_kernels": tuned})


def deploy(loop: DemoRun) -> None:
    """Upload to the RPC server, compare with PyTorch over there, measure."""
    from sr_tvm.frontend.parity import compare
    from sr_tvm.speed import dataset

    device, artifact = loop.made["device"], loop.made["artifact"]
    (y,) = device.run(artifact, [loop.made["x"]])
    loop.parity(compare("artifact over RPC against PyTorch", loop.made["y"], y, TOLERANCE))
    measured = [device.measure(loop.made["plain"], REPEATS)]
    if artifact.schedule == "tuned":
        measured.append(device.measure(artifact, REPEATS))
    for m in measured:
        dataset.append(loop.folder / SPEED, m)
        low, high = m.interval
        how = f"{m.conditions['schedule']} schedules, {m.conditions['threads']} thread, {m.conditions['clock']} time"
        loop.tell.say(f"{m.median:.2f} ms (middle half {low:.2f} to {high:.2f}): {how}")
    tuned = {"default_ms": measured[0].median, "tuned_ms": measured[1].median} if len(measured) == 2 else {}
    loop.made["measured"] = measured[-1]
    loop.note(
        measurement=measured[-1].to_json(), per_operator=device.per_operator(artifact),
        per_operator_note="Over RPC, one thread, thread CPU time; the clock itself adds a few microseconds to a call.",
        tuning=loop.summary["tuning"] | tuned,
    )  # fmt: skip


def learn(loop: DemoRun) -> None:
    """Measure small networks on the same server, fit a speed model, compare it with what was measured."""
    from sr_tvm.speed import dataset, feedback
    from sr_tvm.speed.collect import collect
    from sr_tvm.speed.sampling import random_architectures

    path = loop.folder / SPEED
    plain = next(m for m in reversed(dataset.load(path)) if m.conditions["schedule"] == "default")
    where = feedback.Conditions.of(plain)
    networks = random_architectures(NEIGHBOURS, loop.seed)
    with loop.tell.bar("measuring small networks") as tick:
        collect(path, loop.made["device"], where, networks, REPEATS, loop.seed, lambda done, of: tick(done, of, ""))
    samples = feedback.group(dataset.load(path))[0][where]
    model, rows = feedback.refit(where, samples)
    model.save(loop.folder / "speed_model.json")
    table = [{"name": s.name, "measured": r.measured, "predicted": r.predicted,
              "this": s.architecture == loop.made["architecture"]}
             for s, r in zip(samples, rows, strict=True)]  # fmt: skip
    for row in table:
        measured, predicted = row["measured"], row["predicted"]
        line = f"measured {measured:7.2f} ms, predicted {predicted:7.2f} ms ({100 * (predicted / measured - 1):+.0f} %)"
        loop.tell.say(f"{row['name']:<34} {line}{'  <- this network' if row['this'] else ''}")
    error = f"{100 * model.error:.0f} % in the median" if model.error is not None else "unknown"
    method = [
        f"{len(samples)} networks, each predicted by a model fitted to the others: off by {error}. The model is a "
        "price per multiply-accumulate, byte and kernel; with so few networks it is a first guess.",
        f"All with default schedules, {where.threads} thread, {where.clock} time over RPC, input "
        f"{'x'.join(map(str, where.input_shape))}; a tuned library is another data set.",
    ]
    loop.tell.say(method[0])
    loop.note(speed={"rows": table, "method": method, "median_error": model.error, "model": "speed_model.json"})


def every_target(loop: DemoRun) -> None:
    """GPUs by their machine code and the DSP in its simulator, beside what was measured here."""
    from sr_tvm.report import every_target as found

    rows = [found.measured(loop.made["measured"])]
    note = (
        f"{loop.summary['model']['name']}, input {HEIGHT}x{WIDTH}. Only the CPU ran: the others' figures are estimates "
        "or counts, each with what it leaves out, and are no contest between them."
    )
    for row in found.rows(loop.made["onnx"], (HEIGHT, WIDTH), loop.folder, loop.tell.say):
        rows.append(row)
        loop.tell.say(f"{row['target']}: {row['time'] or row['how']}")
        loop.note(every_target={"note": note, "rows": rows})


def picture(loop: DemoRun) -> None:
    """A real photograph through the artifact, against bicubic."""
    from sr_tvm.report.comparison import compare

    with loop.tell.bar("enlarging") as tick:
        found = compare(loop.folder, loop.made["artifact"].folder, loop.made["architecture"].scale, None,
                        lambda what, done, total: tick(done, total, what))  # fmt: skip
    c = found["compare"]
    loop.tell.say(f"PSNR-Y {c['psnr_bicubic']:.2f} dB by bicubic, {c['psnr_ours']:.2f} dB by the network; wrote "
                  f"{loop.folder / found['enlarged']['file']}")  # fmt: skip
    loop.note(pictures=found)


def report(loop: DemoRun) -> None:
    """The page."""
    from sr_tvm.report.page import write_report

    loop.made["report"] = write_report(loop.folder)


# The server runs from the first of the two steps that need it to the end of the second.
BEFORE: tuple[tuple[str, Callable[[DemoRun], None]], ...] = (
    ("A trained network", network),
    ("Export to ONNX", export),
    ("Import to Relax", import_to_relax),
    ("Passes", passes),
    ("Tune with the genetic tuner", tuning),
    ("Build the artifact", build),
)
SERVED = (("Deploy over RPC and measure", deploy), ("Learn: predicted against measured", learn))
AFTER = (
    ("The same network on every target", every_target),
    ("Enlarge a photograph", picture),
    ("Write the report", report),
)


def run(folder: Path, trials: int, seed: int, weights: Path | None, tell: Teller) -> dict[str, Any]:
    """All steps in order; gives the summary. The page is ``folder``/report.html.

    Raises:
        SrTvmError: a step failed; the message begins with its title.
    """
    _check(folder)
    loop = DemoRun(folder, trials, seed, weights or Path(str(resources.files("sr_tvm.models") / WEIGHTS)), tell)
    loop.note(title="Once round the loop", machine=host.machine(), versions=host.versions(), steps=[], complete=False)
    for title, step in BEFORE:
        _step(loop, title, step)
    with _server(loop):
        for title, step in SERVED:
            _step(loop, title, step)
    for title, step in AFTER[:-1]:
        _step(loop, title, step)
    loop.note(complete=True)
    _step(loop, *AFTER[-1])
    return loop.summary


def _step(loop: DemoRun, title: str, step: Callable[[DemoRun], None]) -> None:
    number, of = len(loop.summary["steps"]) + 1, len(BEFORE) + len(SERVED) + len(AFTER)
    loop.tell.step(number, of, title)
    start = time.perf_counter()
    try:
        step(loop)
    except SrTvmError as error:
        raise SrTvmError(f"{title}: {error}") from error
    loop.note(steps=[*loop.summary["steps"], {"name": title, "seconds": round(time.perf_counter() - start, 2)}])


@contextlib.contextmanager
def _server(loop: DemoRun) -> Iterator[None]:
    """A real tracker and a real server on this machine, and a device that speaks to them."""
    from sr_tvm.runners.rpc import RpcRunner
    from sr_tvm.runners.tracker import start_server, start_tracker

    with start_tracker() as tracker, start_server(tracker, KEY) as server:
        with RpcRunner(tracker, KEY, deadline=120.0) as device:
            loop.made["device"] = device
            loop.tell.say(f"tracker on {tracker}, server on {server.address}, both on this machine")
            yield


def _check(folder: Path) -> None:
    """A folder that is not a run's is left alone."""
    if folder.exists() and not folder.is_dir():
        raise SrTvmError(f"{folder}: a file of that name is there; name a folder")
    if folder.is_dir() and any(folder.iterdir()):
        run_folder.load(folder)
