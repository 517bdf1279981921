"""Kernels for phone GPUs, stock and ours: machine code by Mesa's compilers, bytes moved, and time on an OpenCL device.

No phone is asked. Writes benchmarks/results/opencl.json after every part.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks import common, models, options
from benchmarks.engines import cell
from benchmarks.engines.process import ROOT
from benchmarks.phones import opencl_builds, opencl_counts, opencl_mnn, opencl_rows
from benchmarks.phones.onnx_facts import network
from benchmarks.phones.opencl_builds import GPUS, STOCK, TUNED, UNTUNED, Built, Variant
from benchmarks.phones.opencl_rows import UNTESTED
from benchmarks.phones.opencl_summary import CODE, GOALS, INFINITE, MAIN, PEER, RUN, summarize, value_of
from benchmarks.phones.opencl_update import Earlier
from sr_tvm.errors import SrTvmError
from sr_tvm.isa import system
from sr_tvm.records.architecture import SCHEMA as ARCHITECTURE
from sr_tvm.records.architecture import VERSION, Architecture
from sr_tvm.regions.value import FLOAT16
from sr_tvm.report import host as report_host
from sr_tvm.system import machine
from sr_tvm.system.files import check_writable, read_json

NAME = "opencl"
SET5 = "eval/Set5"
RECORDING = common.RESULTS / "opencl_kernels.json"
MODELS = {path.stem: path for path in sorted((ROOT / "models").glob("wdsr_*.onnx"))}
RUN_VARIANTS = tuple(Variant(how, target) for how in (STOCK, TUNED, UNTUNED) for target in GPUS)
CODE_VARIANTS = (*(Variant(STOCK, target, generic=True) for target in GPUS), *RUN_VARIANTS)
SIZE = (360, 640)  # of the published counts
KEPT = "of this run, or, where a kernel is the same and was not among those measured again, of an earlier one"
FP16 = Variant(TUNED, "mali", FLOAT16), Variant(UNTUNED, "mali", FLOAT16)  # of the main network
# Of the paper's, beside the WDSRs; not in the summary.
VGG, VGG_SIZE = "vgg16", (224, 224)
VGG_VARIANTS = tuple(Variant(UNTUNED, target) for target in GPUS)
METHOD = {
    "useful_macs": "multiply-accumulates of the ONNX graph as direct convolutions: no padding, nothing computed twice",
    "slots": "issue slots of all launched work-items of all kernels, repeats, waiting, copies and idle work-items at "
    "the edge included, a preamble once a wave; loops as often as they go round",
    "compiler": "Mesa's, static, not the vendors': an estimate",
    "estimated_ms": "for each launch the larger of slots at the GPU's published rate and bytes touched at its "
    "published bandwidth (sr_tvm/isa/gpus.json); no caches, no latency, no heat: an estimate",
    "trust": "a row whose machine code does not multiply as often as the TIR, within 1 %, has an error",
    "stock": "the same pipeline without our lowering: TVM's FuseOps, dlight's default rules, buffers; the text of the "
    "kernels gets the same corrections as ours. Twice for each GPU: as for a phone, and generic, as for a host that is "
    "no phone's, since dlight takes its schedule for Adreno wherever the host is Android, for Mali too",
    "tuned": "by the shipped records; where there are none for a network, schedule says untuned, and it is that build",
    "peer": "MNN's buffer kernels for fp32 from a clone of its repository (--mnn); of each layer the kernel of the "
    "fewest slots; other arithmetic than the convolutions is left out, in its favour",
    "bytes": "distinct bytes that each work-group reads and writes, summed over all and over launches",
    "floor": "picture in and out, weights, and the trunk written and read once a block, whatever the cut",
    "runs": "wall time of a run with the device waited for, the input in its memory; each build in a process of its "
    "own; rounds over all, shuffled anew each round; median, and quartiles in ms_low and ms_high",
    "parity": f"ours: at most {cell.EXACT:g} of max(1, its peak) from PyTorch",
    "vs_stock": "geometric means over the networks; of runs the faster stock build over the fastest of ours, "
    "of slots the stock build as a phone gets it; slots_vs_stock_best is against the better of the two stock builds",
    "dates": "of each row: an updated file holds rows of several runs, and updates lists those",
    "driver": "of float16: the phone's kernels at the size of runs on an OpenCL device here, against float32",
    "missing": f"a row that failed or is missing counts 0, or {INFINITE:g} where less is better",
    "goals": {key: f"{way} {goal:g}" for key, (way, goal) in GOALS.items()},
}


class Bench:
    """One run of the benchmark: its rows, and where they are written."""

    def __init__(
        self, path: Path, names: list[str], how: dict[str, Any], progress: Progress, earlier: Earlier | None = None
    ) -> None:
        self.path, self.names, self.how, self.progress, self.earlier = path, names, how, progress, earlier
        self.rows: list[dict[str, Any]] = []
        self.task = progress.add_task("", total=None)

    def note(self, what: str | None, _: int = 0) -> None:
        if what:
            self.progress.update(self.task, description=what)

    def write(self) -> dict[str, Any]:
        rows, names, how = self.rows, self.names, self.how
        if self.earlier:
            done = {"date": common.now(), "models": names, "rows": [f"{r['part']} {r['variant']}" for r in rows]}
            done["rows"] = list(dict.fromkeys(done["rows"]))
            rows, names, how = self.earlier.with_rows(rows), list(MODELS), self.earlier.told(how, done)
        value = common.result(NAME, METHOD | how, rows, summarize(rows, names), ("apache-tvm",))
        common.write_result(value, self.path)
        return value

    def code(
        self, size: tuple[int, int], recording: opencl_counts.Recording, share: float, seed: int, vgg: bool,
        builds_of: Sequence[str],
    ) -> None:  # fmt: skip
        """Rows of machine code and traffic of all networks, built in the ways ``builds_of``."""
        mesa = system.mesa_version()
        builds: list[tuple[dict[str, Any], Built, int]] = []
        with tempfile.TemporaryDirectory(prefix="sr-tvm-opencl-") as place:
            for name in self.names:
                variants = [v for v in (*CODE_VARIANTS, *(FP16 if name == MAIN else ())) if v.how in builds_of]
                builds += self._built(name, MODELS[name], variants, size, Path(place))
            if vgg:
                self.note(f"{VGG}: exporting")
                models.prepare(VGG, Path(place) / VGG, size)
                found = self._built(VGG, Path(place) / VGG / "model.onnx", VGG_VARIANTS, VGG_SIZE, Path(place))
                builds += found
        used: set[str] = set()
        for gpu in GPUS.values():
            here = [(row, built, macs) for row, built, macs in builds if row["gpu"] == gpu]
            wanted = [program for _, built, _ in here for program in opencl_rows.programs_of(built)]
            used |= {program.key(gpu, mesa) for program in wanted}

            def note(done: int, of: int, gpu: str = gpu) -> None:
                self.note(f"{gpu}: kernel {done} of {of}")
                if self.how["record"]:
                    recording.save(recording.about)

            errors = opencl_counts.measure(wanted, gpu, mesa, recording, share, seed, note, self.how["record"])
            for row, built, macs in here:
                try:
                    found = opencl_counts.network_count(built.code, gpu, mesa, macs, recording, errors)
                    height, width = map(int, row["input"].split("x"))
                    opencl_rows.fill_counts(row, found, height * width)
                except SrTvmError as error:
                    row["error"] = str(error)
            self.write()
        if self.how["record"]:
            recording.save(recording.about, None if self.earlier else used)

    def _built(
        self, name: str, model: Path, variants: Sequence[Variant], size: tuple[int, int], place: Path
    ) -> list[tuple[dict[str, Any], Built, int]]:
        """Rows of a network with its kernels and what they move, its builds and its multiply-accumulates."""
        found: list[tuple[dict[str, Any], Built, int]] = []
        asked = network(model, size)
        untuned: dict[tuple[str, str], Built] = {}
        for variant in variants:
            self.note(f"{name}: compiling {variant.name}")
            row = opencl_rows.code_row(name, variant, size)
            self.rows.append(row)
            try:
                # A build that no record fits is the one without records.
                built = untuned.pop((variant.target, variant.dtype), None) or opencl_builds.build(
                    model, variant, size, place / f"{name}-{variant.name}"
                )
                if variant.how == TUNED and not built.tuned:
                    untuned[variant.target, variant.dtype] = built
                opencl_rows.fill_traffic(row, built, asked)
                found.append((row, built, asked.macs))
            except SrTvmError as error:
                row["error"] = str(error)
        return found

    def loss(self, data: Path | None, size: tuple[int, int], run_size: tuple[int, int]) -> None:
        """Note in the rows in float16 what that costs, in dB on Set5, or on photographs where that is not here.

        And how far they are off on this machine's OpenCL device, where that computes in float16.
        """
        from sr_tvm.build.options import CompileOptions
        from sr_tvm.evaluation.float16 import compare
        from sr_tvm.targets import registry

        rows = [row for row in self.rows if row["part"] == CODE and row["dtype"] == FLOAT16 and "error" not in row]
        set5 = data / SET5 if data and (data / SET5).is_dir() else None
        found: dict[tuple[str, str, bool], dict[str, Any]] = {}
        for row in rows:
            key = row["model"], row["target"], bool(row["how"] == TUNED and row["tuned_kernels"])
            if key not in found:
                self.note(f"{row['model']}: {row['target']}'s float16 against float32")
                try:
                    target, options = registry.get(row["target"]), CompileOptions(use_shipped_log=key[2])
                    made = compare(MODELS[row["model"]], target, {"x": (1, 3, *size)}, set5, options)
                    found[key] = {"loss": str(made)}
                    if set5:
                        found[key]["psnr_set5"] = round(made.psnr_y, 2)
                except SrTvmError as error:
                    found[key] = {"loss": str(error)}
                self.note(f"{row['model']}: {row['target']}'s float16 on this machine's OpenCL")
                found[key] |= opencl_rows.on_driver(MODELS[row["model"]], row["target"], key[2], run_size)
            row |= found[key]
        self.write()

    def mnn(self, checkout: Path, size: tuple[int, int]) -> None:
        """Rows of MNN's convolutions of the main network."""
        shape = Architecture.from_json(read_json(MODELS[MAIN].with_suffix(".json"), ARCHITECTURE, VERSION))
        for gpu in GPUS.values():
            self.note(f"{gpu}: MNN's kernels")
            row: dict[str, Any] = {"part": PEER, "model": MAIN, "variant": "mnn", "gpu": gpu}
            self.rows.append(row)
            try:
                row |= opencl_mnn.row(checkout, shape, gpu, size)
            except SrTvmError as error:
                row["error"] = str(error)
        self.write()

    def run(self, how: opencl_rows.Timed) -> None:
        """Rows of runs, of each OpenCL device of this machine."""
        from sr_tvm.runtimes.opencl import backend

        backend.ensure()
        found = backend.find()
        if not found.devices:
            raise SrTvmError(f"no OpenCL device: {found.problem}")
        for device in found.devices:
            for name in self.names:
                with tempfile.TemporaryDirectory(prefix="sr-tvm-opencl-") as place:
                    self.rows += opencl_rows.run_rows(MODELS[name], RUN_VARIANTS, device, how, Path(place), self.note)
                self.write()


@click.command()
@click.option("--models", "names", callback=options.words(tuple(MODELS)), help="With commas; without it, all.")
@click.option("--quick", is_flag=True, help=f"One network, {MAIN}; needs -o.")
@click.option("--parts", default=f"{CODE},{RUN}", show_default=True, callback=options.words((CODE, RUN)))
@click.option("--input", "size", default="360x640", show_default=True, callback=options.size, help="Of machine code.")
@click.option("--run-input", "run_size", default="90x160", show_default=True, callback=options.size, help="Of runs.")
@click.option("--rounds", default=20, show_default=True, type=click.IntRange(1), help="At most.")
@click.option(
    "--budget", default=20.0, show_default=True, type=click.FloatRange(0), help="Seconds of rounds a network."
)
@click.option("--threads", default=1, show_default=True, type=click.IntRange(1), help="Of PoCL.")
@click.option("--seed", default=0, show_default=True, help="Which recorded kernels are measured again.")
@click.option("--again", default=0.1, show_default=True, type=click.FloatRange(0, 1), help="Their share.")
@click.option("--data", envvar="SR_TVM_DATA", type=click.Path(file_okay=False, path_type=Path),
              help=f"Has {SET5}, for what float16 costs.")  # fmt: skip
@click.option("--mnn", type=click.Path(exists=True, file_okay=False, path_type=Path), help="A clone of MNN, whose "
              "kernels are then counted, too.")  # fmt: skip
@click.option("--vgg", is_flag=True, help="Count VGG-16 as well, as a run of all networks does.")
@click.option("--record", is_flag=True, help=f"Rewrite {RECORDING.name} with the kernels of this run.")
@click.option("--update", is_flag=True, help="Replace rows of a file that is there; others stay, with their dates.")
@click.option("--builds", default=f"{STOCK},{TUNED},{UNTUNED}", show_default=True,
              callback=options.words((STOCK, TUNED, UNTUNED)), help="Of code; fewer need --update.")  # fmt: skip
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Instead of results/opencl.json.")
def main(
    names: list[str], quick: bool, parts: list[str], size: tuple[int, int], run_size: tuple[int, int], rounds: int,
    budget: float, threads: int, seed: int, again: float, data: Path | None, mnn: Path | None, vgg: bool, record: bool,
    update: bool, builds: list[str], output: Path | None,
) -> None:  # fmt: skip
    """Count, run and compare kernels for phone GPUs, and rewrite benchmarks/results/opencl.json.

    \b
    Example:  make bench NAME=opencl ARGS="--quick -o runs/opencl.json"
    """
    names = [MAIN] if quick else names or list(MODELS)
    whole = set(names) == set(MODELS) and set(parts) == {CODE, RUN}
    if len(builds) < 3 and not update:
        raise click.UsageError("--builds leaves out rows: it is for --update")
    if not whole and not output and not update:
        raise click.UsageError("the published file is of all networks and parts: name another for the result with -o")
    counted = set(names) == set(MODELS) and CODE in parts and (vgg or whole) and size == SIZE
    if record and not counted and not update:
        raise click.UsageError("--record needs the machine code of all networks, VGG-16's too, at 360x640: it drops "
                               "what this run has not counted")  # fmt: skip
    path = output or common.RESULTS / f"{NAME}.json"
    check_writable(path)
    earlier = Earlier(path, NAME) if update else None
    from sr_tvm.system.tvm_setup import import_tvm
    from sr_tvm.targets.opencl.family import LINUX

    import_tvm()
    host = LINUX.get(machine.machine(), "x86")
    plan = common.Rounds(min(5, rounds), rounds, budget)
    recording = opencl_counts.Recording(RECORDING)
    if record:
        command = f"make bench NAME={NAME} ARGS=" + ("'--record --update ...'" if update else "--record")
        recording.about = {"command": command, "seed": seed, "date": common.now(), "machine": report_host.machine()}
        recording.about |= {"rows": KEPT}
    how: dict[str, Any] = {"input": f"code {size[0]}x{size[1]}, runs {run_size[0]}x{run_size[1]}, batch 1, float32"}
    how |= {"rounds": f"{plan.least} to {plan.most}, as many as fit {budget:g} s", "threads": threads, "seed": seed}
    how |= {"recording": recording.about, "measured_again": again, "record": record}
    how |= {"load_average_before": os.getloadavg()[0]}
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bench = Bench(path, names, how, progress, earlier)
        if CODE in parts:
            bench.code(size, recording, again, seed, vgg or (whole and not update), builds)
            bench.loss(data, size, run_size)
        if mnn:
            bench.mnn(mnn, size)
        if RUN in parts:
            bench.run(opencl_rows.Timed(run_size, threads, plan, host))
        how["load_average_after"] = os.getloadavg()[0]
        value = bench.write()
    show(value, Console(width=max(Console().width, 120)))
    Console().print(f"wrote {path}")


def show(value: dict[str, Any], console: Console) -> None:
    """The rows as two tables, errors below, then what they come to."""
    columns = ("model", "variant", "MAC/slot", "slots/pixel", "worst", "spills", "waves", "est. ms", "x floor", "calls")
    code = Table(*columns, box=None, pad_edge=False)
    runs = Table("model", "variant", "ms", "max error", "device", box=None, pad_edge=False)
    for r in value["rows"]:
        if r["part"] == CODE:
            keys = ("mac_per_slot", "slots_per_pixel", "worst_mac_per_slot", "spills", "min_waves", "estimated_ms")
            code.add_row(r["model"], r["variant"], *(_text(r[k]) for k in (*keys, "traffic_vs_floor", "calls")))
        elif r["part"] == RUN:
            runs.add_row(r["model"], r["variant"], _text(r["ms"]), _text(r["max_abs_err"]), r["device"])
    console.print(code, "", runs)
    for r in value["rows"]:
        if r.get("loss"):
            ran = escape(r.get("driver", UNTESTED))
            console.print(f"{r['model']}, {r['variant']}: {r['loss']}; on a driver: {ran}")
    for r in value["rows"]:
        if r["part"] == PEER and "error" not in r:
            console.print(f"MNN {r['version']} on {r['gpu']}: {r['mac_per_slot']} MAC/slot, convolutions alone")
    for r in value["rows"]:
        if "error" in r:
            console.print(f"[red]{r['model']}, {r['variant']}, {r['part']}: {escape(r['error'])}[/]")
    for key, (way, goal) in GOALS.items():
        mark = "" if value["summary"]["goals"][key] else " [red]missed[/]"
        console.print(f"{key} {value_of(value['summary'], key)}, goal {way} {goal:g}{mark}")


def _text(value: Any) -> str:
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    options.run(main)
