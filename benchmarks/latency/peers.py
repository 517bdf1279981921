"""Every engine that pip installs against ours, on the same ONNX files: ``make bench NAME=peers``.

Wall time of one run after another on this machine, interleaved, with one thread and with two; every output is
compared with PyTorch's. Writes benchmarks/results/peers.json after every network.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks import common, models, options
from benchmarks.engines import ENGINES, OURS, cell, memory
from benchmarks.engines.ours import BUILD
from benchmarks.engines.peak import Peak
from benchmarks.latency import merge
from benchmarks.latency.summary import summarize
from sr_tvm.errors import SrTvmError
from sr_tvm.records.artifact import Artifact
from sr_tvm.report import host
from sr_tvm.system.files import check_writable

NAME = "peers"
LEAST = 5  # rounds, however long they take


def method(
    input_size: tuple[int, int], rounds: common.Rounds, database: Path | None, seed: int, peak: Peak | None
) -> dict[str, Any]:
    """How it was measured, in words and numbers, beside every result."""
    return {
        "clock": "wall time of one run, the input in memory already",
        "order": "each engine in a process of its own; rounds over all engines, shuffled anew each round; a run under "
        "100 ms follows an untimed one",
        "rounds": f"{rounds.least} to {rounds.most}, as many as fit {rounds.budget:g} s for a network and a number of "
        "threads; each row has its own",
        "statistic": "median; ms_low and ms_high are the first and third quartile",
        "input": f"{input_size[0]}x{input_size[1]} (height x width), batch 1, float32; vgg16 at 224x224",
        "arch_seed": seed,
        "parity": f"ok: the largest difference from PyTorch's output is at most {cell.EXACT:g} of max(1, its peak); "
        f"ours must reach that, peers count up to {cell.TOLERANCE:g}",
        "engines": {name: engine.how for name, engine in ENGINES.items()},
        "ratios": "time of the fastest sound peer over ours: above 1, ours is faster",
        "peak": f"one core's fused multiply-adds on {peak.lanes} lanes, {peak.accumulators} accumulators, in the same "
        "rounds; gflops counts 2 operations for each multiply-accumulate of direct convolution" if peak else None,
        "memory": f"growth of a process's anonymous memory at its highest over {memory.RUNS} runs, after loading, one "
        "thread; planned_bytes is what one run asks TVM's virtual machine for",
        "database": str(database) if database else "the shipped tuning records, default schedules where there are none",
    }  # fmt: skip


def schedules(folder: Path) -> dict[str, Any]:
    """What ours was built from, tuned kernels or default schedules, and the seconds from ONNX file to artifact."""
    try:
        artifact = Artifact.load(folder / "artifact")
    except SrTvmError as error:
        return {"schedule": None, "error": str(error).replace(str(folder), folder.name)}
    tuned = sum(k.get("schedule") == "tuned" for k in artifact.kernels)
    built = json.loads((folder / BUILD).read_text())
    return {"schedule": artifact.schedule, "kernels": len(artifact.kernels), "tuned_kernels": tuned, **built}


def show(rows: list[dict[str, Any]], summary: dict[str, Any], console: Console) -> None:
    """The rows as a table, fastest first within each model and number of threads; then what they come to."""
    table = Table("model", "threads", "engine", "ms", "middle half", "error against PyTorch", box=None, pad_edge=False)
    for model, threads in dict.fromkeys((r["model"], r["threads"]) for r in rows):
        here = [r for r in rows if (r["model"], r["threads"]) == (model, threads)]
        for r in sorted(here, key=lambda r: r["ms"] if r["ms"] is not None else float("inf")):
            name = f"[bold]{r['engine']}[/]" if r["engine"] == OURS else r["engine"]
            ms = f"{r['ms']:.2f}" if r["ms"] is not None else "-"
            half = f"{r['ms_low']:.2f} to {r['ms_high']:.2f}" if r["ms"] is not None else ""
            off = f"{r['max_abs_err']:.1e}" if r["max_abs_err"] is not None else ""
            words = f"{off} [red]{escape(r['error'][:80])}[/]" if "error" in r else off
            table.add_row(model, str(threads), name, ms, half, words)
        table.add_section()
    console.print(table)
    for r in summary["ratios"]:
        if r["vs_best_peer"]:
            words = f"{r['vs_best_peer']:.2f} times as fast as {r['best_peer']}, the best peer"
            if r.get("peak_fraction"):
                words += f"; {r['peak_fraction']:.0%} of the core's {r['peak_gflops']:.0f} GFLOPS"
            console.print(f"{r['model']}, {r['threads']} threads: ours is {words}")
    for m in summary["memory"]:
        size = f"{m['bytes'] / 2**20:.1f} MiB" if m["bytes"] is not None else escape(m["error"])
        console.print(f"{m['model']}, {m['engine']}: {size} of activations at the peak")
    for key, value in summary.items():
        if value is None or isinstance(value, (int, float)):
            console.print(f"{key} {value}")


class Run:
    """The rows of this run, and the file that they and those of earlier ones go to."""

    def __init__(self, path: Path, how: dict[str, Any], packages: tuple[str, ...], seed: int, fresh: bool) -> None:
        self.path, self.how, self.packages, self.seed = path, how, packages, seed
        self.rows: list[dict[str, Any]] = []
        self.memory: list[dict[str, Any]] = []
        self.ours: dict[str, Any] = {}
        self.old, self.refused = (None, None) if fresh else merge.earlier(path, self._result([], {}))

    def save(self) -> dict[str, Any]:
        """Write what there is so far, with the rows of earlier runs that can stand beside it; gives the result."""
        old = self.old or {"rows": [], "summary": {}, "versions": {}}
        rows = merge.rows(old["rows"], self.rows, models.compared(self.seed), self.seed)
        there = {r["model"] for r in rows}
        kept = merge.by_model(old["summary"].get("memory", []), self.memory, there)
        ours = {n: v for n, v in (old["summary"].get("ours", {}) | self.ours).items() if n in there}
        more = {"memory": kept, "memory_ratios": memory.compare(kept), "ours": ours}
        value = self._result(rows, summarize(rows) | more)
        value["versions"] = old["versions"] | value["versions"]
        common.write_result(value, self.path)
        return value

    def _result(self, rows: list[dict[str, Any]], summary: dict[str, Any]) -> dict[str, Any]:
        how = self.how | {"load_average_after": os.getloadavg()[0]}
        return common.result(NAME, how, rows, summary, self.packages)


@click.command()
@click.option(
    "--models", "names", callback=options.words(()), help="Networks, with commas; without it, the nine of the table."
)
@click.option("--engines", default=",".join(ENGINES), callback=options.words(tuple(ENGINES)), help="With commas.")
@click.option("--rounds", default=20, show_default=True, type=click.IntRange(1), help="At most.")
@click.option("--budget", default=60.0, show_default=True, type=click.FloatRange(0), help="Seconds of rounds for "
              f"a network and a number of threads; {LEAST} rounds are made even if they take longer.")  # fmt: skip
@click.option("--threads", default="1,2", show_default=True, callback=options.numbers, help="Numbers of threads.")
@click.option(
    "--input", "input_size", default="360x640", show_default=True, callback=options.size, help="Height x width."
)
@click.option(
    "--arch-seed", default=0, show_default=True, type=click.IntRange(0, 10**9 - 1), help="Of irregular WDSRs."
)
@click.option("--memory/--no-memory", "with_memory", default=True, help="Also the peak memory of activations.")
@click.option("--fresh", is_flag=True, help="Drop the rows that are in the file already.")
@click.option("--database", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Our tuning records.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Instead of results/peers.json.")
def main(
    names: list[str], engines: list[str], rounds: int, budget: float, threads: list[int], input_size: tuple[int, int],
    arch_seed: int, with_memory: bool, fresh: bool, database: Path | None, output: Path | None,
) -> None:  # fmt: skip
    """Time every engine on the same ONNX files and put the rows into benchmarks/results/peers.json.

    \b
    Rows of networks that are not measured now are kept, if machine, versions and input are the same, but for WDSRs that
    another seed drew.
    Example:  make bench NAME=peers ARGS="--models wdsr-4x16,fsrcnn --threads 1"
    """
    names = names or list(models.compared(arch_seed))
    path = output or common.RESULTS / f"{NAME}.json"
    check_writable(path)
    for name in names:
        models.input_shape(name, input_size)  # an unknown one fails here, before the work
    console, load = Console(), os.getloadavg()[0]
    plan, peak = common.Rounds(min(LEAST, rounds), rounds, budget), Peak() if 1 in threads else None
    # What else ran: above the number of cores, times are too long, and two threads are hardly worth more than one.
    how = method(input_size, plan, database, arch_seed, peak) | {"load_average_before": load}
    packages = tuple(p for e in engines for p in ENGINES[e].packages)
    run = Run(path, how, packages, arch_seed, fresh)
    if run.refused:
        console.print(f"[yellow]the rows in {path} are dropped: {run.refused}[/]")
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    value: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="sr-tvm-peers-") as place:
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("preparing", total=len(names) * (len(threads) + with_memory))

            def note(what: str | None, runs: int) -> None:
                if what:
                    progress.update(task, description=what)

            for name in names:
                folder = Path(place) / name
                note(f"{name}: exporting", 0)
                about = models.prepare(name, folder, input_size, database)
                for count in threads:
                    run.rows += cell.measure(folder, about, engines, count, plan, note, peak if count == 1 else None)
                    progress.advance(task)
                if OURS in engines:
                    run.ours[name] = schedules(folder)
                if with_memory:
                    note(f"{name}: memory", 0)
                    run.memory += [memory.measure(folder, e) for e in memory.ENGINES if e != OURS or OURS in engines]
                    progress.advance(task)
                value = run.save()
    show(value["rows"], value["summary"], console)
    if load > float(host.machine()["cores"]):
        console.print(f"[yellow]the machine was busy (load {load:.1f}): trust the order more than the times[/]")
    console.print(f"wrote {path}")


if __name__ == "__main__":
    options.run(main)
