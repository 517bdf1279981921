"""Every engine that pip installs against ours, on the same ONNX files: ``make bench NAME=peers``.

Wall time of one run after another on this machine, interleaved, with one thread and with two; every output is
compared with PyTorch's. Writes benchmarks/results/peers.json.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from benchmarks import common, models
from benchmarks.engines import ENGINES, OURS
from benchmarks.process import EngineProcess
from sr_tvm.artifact import Artifact
from sr_tvm.errors import SrTvmError
from sr_tvm.report import host

NAME = "peers"
# Of the output's peak. Winograd's algorithm alone costs up to 1e-4 in MNN; half precision or a wrong result costs more.
TOLERANCE = 5e-4


def measure(folder: Path, model: str, engines: list[str], threads: int, rounds: int, bar: Any) -> list[dict[str, Any]]:
    """One row for every engine, timed with ``threads``; an engine that fails or is off has a row that says so."""
    rows: dict[str, dict[str, Any]] = {}
    with contextlib.ExitStack() as stack:
        ready = []
        for name in engines:
            bar(f"{model}, {threads} thread{'s' * (threads > 1)}: starting {name}", 0)
            row: dict[str, Any] = {"model": model, "engine": name, "threads": threads}
            row |= {"ms": None, "ms_low": None, "ms_high": None, "max_abs_err": None}
            rows[name] = row
            process = stack.enter_context(EngineProcess(name, folder, threads))
            try:
                found = process.ready()
                row["max_abs_err"] = found["max_abs_err"]
                if found["max_abs_err"] > TOLERANCE * max(1.0, found["peak"]):
                    row["error"] = f"off by {found['max_abs_err']:.3g} at a peak of {found['peak']:.3g}"
                ready.append(process)
            except SrTvmError as error:
                row["error"] = str(error)
                process.close()
                bar(None, rounds)
        bar(f"{model}, {threads} thread{'s' * (threads > 1)}: measuring", 0)
        samples, errors = common.interleave(ready, rounds, lambda: bar(None, 1))
    for name, values in samples.items():
        if name in errors:
            rows[name]["error"] = errors[name]
        else:
            rows[name] |= common.timing(values)
    return list(rows.values())


def summarize(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Ratios of the best sound peer's time to ours: above 1, ours is faster. None where one of them is missing."""
    ratios: list[dict[str, Any]] = []
    for model, threads in dict.fromkeys((r["model"], r["threads"]) for r in rows):
        here = [r for r in rows if (r["model"], r["threads"]) == (model, threads)]
        sound = {r["engine"]: r["ms"] for r in here if r["ms"] is not None and "error" not in r}
        ours = sound.pop(OURS, None)
        best = min(sound, key=lambda n: sound[n]) if sound else None
        ratio = round(sound[best] / ours, 4) if best and ours else None
        ratios.append({"model": model, "threads": threads, "best_peer": best, "vs_best_peer": ratio})
    summary: dict[str, Any] = {}
    for threads in dict.fromkeys(r["threads"] for r in rows):
        known = [r["vs_best_peer"] for r in ratios if r["threads"] == threads and r["vs_best_peer"]]
        mean = common.geomean(known)
        summary[f"geomean_vs_best_peer_{threads}t"] = round(mean, 4) if mean else None
        summary[f"worst_vs_best_peer_{threads}t"] = min(known, default=None)
    summary["worst_vs_best_peer"] = min((r["vs_best_peer"] for r in ratios if r["vs_best_peer"]), default=None)
    summary["ratios"] = ratios
    summary["failed"] = [f"{r['engine']} on {r['model']}, {r['threads']} threads" for r in rows if "error" in r]
    return summary


def method(input_size: tuple[int, int], rounds: int, database: Path | None) -> dict[str, Any]:
    """How it was measured, in words and numbers, beside every result."""
    return {
        "clock": "wall time of one run, the input in memory already",
        "order": "each engine in a process of its own; rounds over all engines, shuffled anew each round; a run under "
        "100 ms follows an untimed one",
        "rounds": rounds,
        "statistic": "median; ms_low and ms_high are the first and third quartile",
        "input": f"{input_size[0]}x{input_size[1]} (height x width), batch 1, float32; vgg16 at 224x224",
        "parity": f"largest difference from PyTorch's output; {TOLERANCE:g} of its peak is allowed",
        "engines": {name: engine.how for name, engine in ENGINES.items()},
        "ratios": "time of the fastest sound peer over ours: above 1, ours is faster",
        "database": str(database) if database else "the shipped tuning records, default schedules where there are none",
    }


def schedules(folder: Path) -> dict[str, Any]:
    """What ours was built from: tuned kernels or default schedules."""
    try:
        artifact = Artifact.load(folder / "artifact")
    except SrTvmError as error:
        return {"schedule": None, "error": str(error).replace(str(folder), folder.name)}
    tuned = sum(k.get("schedule") == "tuned" for k in artifact.kernels)
    return {"schedule": artifact.schedule, "kernels": len(artifact.kernels), "tuned_kernels": tuned}


def show(rows: list[dict[str, Any]], summary: dict[str, Any], console: Console) -> None:
    """The rows as a table, fastest first within each model and number of threads."""
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
            speed = f"{r['vs_best_peer']:.2f} times as fast as {r['best_peer']}, the best peer"
            console.print(f"{r['model']}, {r['threads']} threads: ours is {speed}")


def numbers(ctx: click.Context, option: click.Parameter, value: str) -> list[int]:
    """A comma-separated list of whole numbers from 1."""
    try:
        found = [int(part) for part in value.split(",")]
    except ValueError:
        found = []
    if not found or min(found) < 1:
        raise click.BadParameter(f"{value!r}; give whole numbers from 1, separated by commas, such as 1,2")
    return found


def size(ctx: click.Context, option: click.Parameter, value: str) -> tuple[int, int]:
    """HxW."""
    height, _, width = value.partition("x")
    if not (height.isdigit() and width.isdigit() and int(height) and int(width)):
        raise click.BadParameter(f"{value!r}; give height x width, such as 360x640")
    return int(height), int(width)


def words(known: Sequence[str]) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """A comma-separated list of names out of ``known``; an empty ``known`` allows all."""

    def check(ctx: click.Context, option: click.Parameter, value: str) -> list[str]:
        found = [part.strip() for part in value.split(",") if part.strip()]
        if wrong := [part for part in found if known and part not in known]:
            raise click.BadParameter(f"unknown {wrong[0]!r}; known are {', '.join(known)}")
        return found

    return check


@click.command()
@click.option("--models", "names", default=",".join(models.NAMES), callback=words(()), help="Networks, with commas.")
@click.option("--engines", default=",".join(ENGINES), callback=words(tuple(ENGINES)), help="Engines, with commas.")
@click.option("--rounds", default=20, show_default=True, type=click.IntRange(1))
@click.option("--threads", default="1,2", show_default=True, callback=numbers, help="Numbers of threads.")
@click.option("--input", "input_size", default="360x640", show_default=True, callback=size, help="Height x width.")
@click.option("--database", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Our tuning records.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Instead of results/peers.json.")
def main(
    names: list[str], engines: list[str], rounds: int, threads: list[int], input_size: tuple[int, int],
    database: Path | None, output: Path | None,
) -> None:  # fmt: skip
    """Time every engine on the same ONNX files, afresh, and rewrite benchmarks/results/peers.json.

    \b
    Example:  make bench NAME=peers ARGS="--models wdsr-3x24 --rounds 5"
    """
    console, rows, ours = Console(), [], {}
    load = os.getloadavg()[0]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    total = len(names) * len(threads) * len(engines) * rounds
    with tempfile.TemporaryDirectory(prefix="sr-tvm-peers-") as place:
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("preparing", total=total)

            def step(what: str | None, runs: int) -> None:
                progress.update(task, description=what, advance=runs)

            for name in names:
                folder = Path(place) / name
                progress.update(task, description=f"{name}: exporting")
                models.prepare(name, folder, input_size, database)
                for count in threads:
                    rows += measure(folder, name, engines, count, rounds, step)
                if OURS in engines:
                    ours[name] = schedules(folder)
    summary = {**summarize(rows), "ours": ours}
    packages = tuple(p for e in engines for p in ENGINES[e].packages)
    # What else ran: above the number of cores, times are too long, and two threads are hardly worth more than one.
    how = method(input_size, rounds, database) | {"load_average_before": load, "load_average_after": os.getloadavg()[0]}
    value = common.result(NAME, how, rows, summary, packages)
    if load > float(host.machine()["cores"]):
        console.print(f"[yellow]the machine was busy (load {load:.1f}): trust the order more than the times[/]")
    path = common.write_result(value, output)
    show(rows, summary, console)
    console.print(f"wrote {path}")


if __name__ == "__main__":
    try:
        main()
    except SrTvmError as error:
        raise SystemExit(f"error: {error}") from None
