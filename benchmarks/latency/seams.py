"""Nothing got slower: what is built now against what was built before the code moved, ``make bench NAME=seams``.

Clones the old commit into a folder with a virtual environment of its own, and compiles and runs the networks of peers
by both, interleaved. Writes benchmarks/results/seams.json after every network.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks import common, models, options
from benchmarks.engines import cell
from benchmarks.engines.process import ROOT, Worker
from benchmarks.latency import seams_before
from benchmarks.latency.seams_worker import BEFORE, NOW
from sr_tvm.errors import SrTvmError
from sr_tvm.system import channel
from sr_tvm.system.files import check_writable

NAME = "seams"
LEAST, LEAST_ROUNDS = 5, 5  # pairs of builds and rounds in each, however long they take
ROUNDS_SECONDS = 8.0  # of rounds in a pair
GOALS = {"geomean_vs_before": 0.98, "build_vs_before": 0.95, "equal_bits": 1.0}


def method(size: tuple[int, int], pairs: common.Rounds, rounds: common.Rounds) -> dict[str, Any]:
    """How it was measured, in words and numbers, beside every result."""
    return {
        "before": f"commit {seams_before.COMMIT[:7]}, cloned, with a virtual environment by its own constraints.txt",
        "clock": "run: thread CPU time of TVM's virtual machine, one thread, the input in memory already; build: CPU "
        "time of all threads and the linker, from the import of our compiler to the artifact, TVM imported before",
        "order": "pairs: each side compiles in a fresh process, which is first alternates; then rounds over both, "
        "shuffled anew each round; a run under 100 ms follows an untimed one",
        "pairs": f"{pairs.least} to {pairs.most}, as many as fit {pairs.budget:g} s for a network",
        "rounds": f"{rounds.least} to {rounds.most} in each pair, as many as fit {rounds.budget:g} s",
        "statistic": "ms is the median of all runs, ms_low and ms_high their quartiles; a ratio is the median over the "
        "pairs of the time before over the time now, of a pair's median run or its builds: below 1, it got slower",
        "warm_up": "each side first compiles a tiny network untimed, which writes its byte code into a new folder",
        "input": f"{size[0]}x{size[1]} (height x width), batch 1, float32; vgg16 at 224x224; both sides "
        "get the same ONNX files",
        "equal_bits": "all builds of both sides give the output with the same bits; the share of networks where so",
        "parity": f"ok: the largest difference from PyTorch's output is at most {cell.EXACT:g} of max(1, its peak)",
        "missing": "a network that failed or has no row counts 0 in every mean",
        "goals": GOALS,
    }  # fmt: skip


@dataclass(frozen=True)
class Side:
    """One of the two: its name, the checkout it imports from, its interpreter and a folder for its byte code."""

    name: str
    checkout: Path
    python: Path
    cache: Path

    def start(self, folder: Path) -> Worker:
        """Start a fresh process that compiles the network in ``folder`` and waits to run it."""
        out = folder / self.name
        out.mkdir(exist_ok=True)
        script = Path(__file__).with_name("seams_worker.py")
        # -P keeps the modules beside the script, which are those of one side, out of the other's path.
        command = [str(self.python), "-P", str(script)]
        # What lies compiled in a checkout already would speed up the first builds of one side.
        environment = {"PYTHONPATH": str(self.checkout), "PYTHONPYCACHEPREFIX": str(self.cache)}
        arguments = (self.name, str(folder), str(out), str(channel.__file__))
        return Worker(self.name, "", arguments, 1, environment, command)

    def built(self, worker: Worker) -> dict[str, Any]:
        """Wait for the build of ``worker``; what it says of it."""
        told = worker.ready()
        if Path(told["package"]) != (self.checkout / seams_before.PACKAGE).resolve():
            raise SrTvmError(f"{self.name} imported {told['package']}, not the package of {self.checkout}")
        return told


def measure(
    folder: Path, about: dict[str, Any], sides: Sequence[Side], pairs: common.Rounds, rounds: common.Rounds
) -> list[dict[str, Any]]:
    """A row for each side of the network in ``folder``: its pairs, times and outputs; its error if it failed."""
    rows = {
        side.name: {
            "model": about["model"], "engine": side.name, "threads": 1, "date": common.now(), "ms": None,
            "ms_low": None, "ms_high": None, "rounds": 0, "build_s": None, "macs": about["macs"], "max_abs_err": None,
            "ok": False, "pairs": [],
        }
        for side in sides
    }  # fmt: skip
    samples: dict[str, list[float]] = {side.name: [] for side in sides}
    order, done, start = list(sides), 0, time.monotonic()
    while pairs.another(done, time.monotonic() - start) and not any("error" in row for row in rows.values()):
        _pair(folder, order, rows, samples, rounds)
        order.reverse()
        done += 1
    for name, row in rows.items():
        if samples[name] and "error" not in row:
            row |= common.timing(samples[name]) | {"rounds": len(samples[name])}
            row["build_s"] = round(statistics.median(pair["build_s"] for pair in row["pairs"]), 3)
    return list(rows.values())


def _pair(
    folder: Path, order: Sequence[Side], rows: dict[str, dict[str, Any]], samples: dict[str, list[float]],
    rounds: common.Rounds,
) -> None:  # fmt: skip
    with contextlib.ExitStack() as stack:
        ready: list[Worker] = []
        for side in order:
            row, worker = rows[side.name], stack.enter_context(side.start(folder))
            try:
                told = side.built(worker)
                y, reference = np.load(folder / side.name / "y.npy"), np.load(folder / "y.npy")
                worst = max(off(y, reference), row["max_abs_err"] or 0.0)
                cell.judge(row, cell.EXACT, worst, float(np.abs(reference).max()))
                row["pairs"].append({
                    "ms": None, "build_s": round(told["build_s"], 3), "output": digest(y),
                    "library": told["library"][:16],
                })  # fmt: skip
                ready.append(worker)
            except SrTvmError as error:
                row["error"] = str(error)
        if len(ready) < len(order):
            return
        found, errors = common.interleave(ready, rounds)
    for name, values in found.items():
        if name in errors:
            rows[name] |= {"error": errors[name], "ok": False}
        else:
            samples[name] += values
            rows[name]["pairs"][-1]["ms"] = round(statistics.median(values), 3)


def digest(y: np.ndarray) -> str:
    """Name an array by its type, shape and bits: -0.0 is not 0.0, and a NaN is itself."""
    return hashlib.sha256(f"{y.dtype.str} {y.shape} ".encode() + y.tobytes()).hexdigest()[:16]


def off(y: np.ndarray, reference: np.ndarray) -> float:
    """The largest difference of an output from PyTorch's.

    Raises:
        SrTvmError: it has another size, or holds NaN or infinity.
    """
    if y.size != reference.size or not np.isfinite(y).all():
        raise SrTvmError("the output has another size, or holds NaN or infinity")
    return float(np.abs(y.astype(np.float64).reshape(reference.shape) - reference).max())


def ratios(rows: list[dict[str, Any]], names: Iterable[str]) -> list[dict[str, Any]]:
    """For each of ``names`` the time before over now, of run and build; 0 where a side failed or is missing."""
    table = []
    for name in names:
        here = {r["engine"]: r["pairs"] for r in rows if r["model"] == name and r["ms"] and "error" not in r}
        pairs = list(zip(here.get(BEFORE, ()), here.get(NOW, ()), strict=False))
        row: dict[str, Any] = {"model": name}
        for key, column in (("vs_before", "ms"), ("build_vs_before", "build_s")):
            each = [before[column] / now[column] for before, now in pairs]
            row[key] = round(statistics.median(each), 4) if each else 0.0
        for key, column in (("equal_bits", "output"), ("equal_library", "library")):
            row[key] = bool(pairs) and len({side[column] for pair in pairs for side in pair}) == 1
        table.append(row)
    return table


def summarize(rows: list[dict[str, Any]], names: Sequence[str]) -> dict[str, Any]:
    """What the rows come to over ``names``, from the rows alone: geometric means, and the share of equal outputs."""
    table = ratios(rows, names)
    summary: dict[str, Any] = {
        "geomean_vs_before": _mean(r["vs_before"] for r in table),
        "worst_vs_before": min((r["vs_before"] for r in table), default=0.0),
        "build_vs_before": _mean(r["build_vs_before"] for r in table),
        "worst_build_vs_before": min((r["build_vs_before"] for r in table), default=0.0),
        "equal_bits": sum(r["equal_bits"] for r in table) / len(table) if table else 0.0,
    }
    summary["reached"] = all(summary[key] >= least for key, least in GOALS.items())
    summary["ok"] = bool(rows) and all(r["ok"] and r["ms"] is not None for r in rows)
    summary["max_abs_err"] = max((r["max_abs_err"] for r in rows if r["max_abs_err"] is not None), default=None)
    summary["failed"] = [f"{r['engine']} on {r['model']}" for r in rows if "error" in r]
    summary["missing"] = [name for name in names if name not in {r["model"] for r in rows}]
    summary["ratios"] = table
    return summary


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    mean = common.geomean(found) if all(found) else None  # the logarithm of 0 is none
    return round(mean, 4) if mean else 0.0


def show(rows: list[dict[str, Any]], summary: dict[str, Any], console: Console) -> None:
    """The ratios as a table, errors below it, then what they come to."""
    columns = ("model", "ms before", "ms now", "ratio", "build s before", "now", "ratio", "bits")
    table = Table(*columns, box=None, pad_edge=False)
    for r in summary["ratios"]:
        here = {row["engine"]: row for row in rows if row["model"] == r["model"]}
        ms = [f"{here[n]['ms']:.2f}" if n in here and here[n]["ms"] else "-" for n in (BEFORE, NOW)]
        build = [f"{here[n]['build_s']:.2f}" if n in here and here[n]["build_s"] else "-" for n in (BEFORE, NOW)]
        bits = "equal" if r["equal_bits"] else "[red]differ[/]"
        table.add_row(r["model"], *ms, f"{r['vs_before']:.3f}", *build, f"{r['build_vs_before']:.3f}", bits)
    console.print(table)
    for row in rows:
        if "error" in row:
            console.print(f"[red]{row['model']}, {row['engine']}: {escape(row['error'])}[/]")
    for key, value in summary.items():
        if value is None or isinstance(value, (int, float)):
            goal = f", goal {GOALS[key]:g}" if key in GOALS else ""
            console.print(f"{key} {value}{goal}")


def warm_up(sides: Sequence[Side], folder: Path) -> dict[str, dict[str, str]]:
    """Compile a tiny network on each side, untimed; the versions of each.

    Raises:
        SrTvmError: a side cannot compile at all.
    """
    models.prepare("wdsr-1x4", folder, (12, 20))
    versions = {}
    for side in sides:
        with side.start(folder) as worker:
            versions[side.name] = side.built(worker)["versions"]
    return versions


@click.command()
@click.option("--models", "names", callback=options.words(models.compared()), help="Networks, with commas; without it, "
              "the nine of peers; some of them need -o.")  # fmt: skip
@click.option("--pairs", default=7, show_default=True, type=click.IntRange(1), help="Builds of each side, at most.")
@click.option("--budget", default=120.0, show_default=True, type=click.FloatRange(0), help="Seconds of pairs for a "
              f"network; {LEAST} are made even if they take longer.")  # fmt: skip
@click.option("--rounds", default=20, show_default=True, type=click.IntRange(1), help="Runs of each side in a pair, at "
              f"most; {LEAST_ROUNDS}, and more as long as they fit {ROUNDS_SECONDS:g} s.")  # fmt: skip
@click.option(
    "--input", "input_size", default="360x640", show_default=True, callback=options.size, help="Height x width."
)
@click.option("--before", type=click.Path(file_okay=False, path_type=Path), help="The old checkout with its .venv, "
              "made and kept if it is not there. Without it, one is made in a temporary folder.")  # fmt: skip
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Instead of results/seams.json.")
def main(
    names: list[str], pairs: int, budget: float, rounds: int, input_size: tuple[int, int], before: Path | None,
    output: Path | None,
) -> None:  # fmt: skip
    """Build and run networks by the old commit and by this checkout, and rewrite benchmarks/results/seams.json.

    \b
    Example:  make bench NAME=seams ARGS="--models fsrcnn --pairs 3 --before runs/before -o runs/seams.json"
    """
    every = list(models.compared())
    if names and set(names) != set(every) and not output:
        raise click.UsageError("the published file is of all networks: name another for the result with -o")
    names, path = names or every, output or common.RESULTS / f"{NAME}.json"
    check_writable(path)
    console, load = Console(), os.getloadavg()[0]
    plan = common.Rounds(min(LEAST, pairs), pairs, budget)
    runs = common.Rounds(min(LEAST_ROUNDS, rounds), rounds, ROUNDS_SECONDS)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    rows: list[dict[str, Any]] = []
    value: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="sr-tvm-seams-") as temporary:
        place = Path(temporary)
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("cloning and installing the old commit", total=len(names))
            old = (before or place / "checkout").absolute()
            if not old.exists():
                seams_before.make(old)
            seams_before.check(old)
            sides = (
                Side(BEFORE, old, seams_before.python(old), place / "bytes-before"),
                Side(NOW, ROOT, Path(sys.executable), place / "bytes-now"),
            )
            progress.update(task, description="warming up")
            how = method(input_size, plan, runs) | {"load_average_before": load}
            how |= {"versions": warm_up(sides, place / "tiny")}
            for name in names:
                progress.update(task, description=name)
                folder = place / name
                about = models.prepare(name, folder, input_size)
                rows += measure(folder, about, sides, plan, runs)
                shutil.rmtree(folder)  # VGG-16 alone is half a gigabyte three times
                progress.advance(task)
                how["load_average_after"] = os.getloadavg()[0]
                value = common.result(NAME, how, rows, summarize(rows, names))
                common.write_result(value, path)
    show(value["rows"], value["summary"], console)
    console.print(f"wrote {path}")


if __name__ == "__main__":
    options.run(main)
