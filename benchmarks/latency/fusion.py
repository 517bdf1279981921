"""What each depth of fusion is worth: kernels, intermediate bytes and time, from one kernel an operator to one in all.

Every depth runs in a process of its own, interleaved. Writes benchmarks/results/fusion.json and fusion.svg.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from benchmarks import common, models, options
from benchmarks.engines import ENGINES, LIBRARY, OURS, cell
from benchmarks.engines.process import EngineProcess
from benchmarks.latency import depths
from sr_tvm.errors import SrTvmError
from sr_tvm.system.files import check_writable

NAME = "fusion"
METHOD = {
    "clock": "wall time of one run, the input in memory already",
    "order": "each depth in a process of its own; rounds over all depths, shuffled anew each round",
    "statistic": "median; ms_low and ms_high are the first and third quartile",
    "schedules": "default schedules before the streaming depths, whose kernels come with theirs; no tuning records",
    "kernels": "calls of a TIR function that depend on the input; reshapes of whole tensors are views",
    "intermediate_bytes": "sizes of the kernels' outputs, less the network's own",
    "parity": f"ok: the largest difference from PyTorch's output is at most {cell.EXACT:g} of max(1, its peak)",
    "depths": depths.DEPTHS,
}


def build(folder: Path, names: list[str], note: cell.Note) -> list[dict[str, Any]]:
    """A row for each depth, compiled into a folder of that name; one that cannot be has a row with its ``error``."""
    rows = []
    for depth in names:
        note(f"compiling {depth}", 0)
        row: dict[str, Any] = {"depth": depth, "kernels": None, "intermediate_bytes": None}
        row |= {"ms": None, "ms_low": None, "ms_high": None, "max_abs_err": None, "ok": False}
        try:
            row |= depths.compile_at_depth(folder / "model.onnx", depth, folder / depth)
            for file in ("x.npy", "y.npy"):
                shutil.copy(folder / file, folder / depth)
        except SrTvmError as error:
            row["error"] = str(error)
        rows.append(row)
    return rows


def measure(folder: Path, rows: list[dict[str, Any]], threads: int, rounds: common.Rounds, note: cell.Note) -> None:
    """Time the rows that were built, and note it in them."""
    with contextlib.ExitStack() as stack:
        ready: list[common.Timed] = []
        for row in (r for r in rows if "error" not in r):
            note(f"starting {row['depth']}", 0)
            process = stack.enter_context(EngineProcess(LIBRARY, folder / row["depth"], threads, row["depth"]))
            try:
                cell.judge(row, cell.EXACT, **process.ready())
                ready.append(process)
            except SrTvmError as error:
                row["error"] = str(error)
        note("measuring", 0)
        samples, errors = common.interleave(ready, rounds) if ready else ({}, {})
    for row in rows:
        if row["depth"] in errors:
            row |= {"error": errors[row["depth"]], "ok": False}
        elif row["depth"] in samples:
            row |= common.timing(samples[row["depth"]])


def summarize(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """How many times as fast the deepest sound row is as every other one, None where a time is missing."""
    times = {r["depth"]: r["ms"] for r in rows if r["ms"] and "error" not in r}
    deepest = next((d for d in reversed(depths.DEPTHS) if d in times), None)
    ratios = {r["depth"]: round(times[r["depth"]] / times[deepest], 4) if r["depth"] in times else None for r in rows}
    return {"deepest": deepest, "times_the_deepest": ratios, "failed": [r["depth"] for r in rows if "error" in r]}


def markdown(rows: list[dict[str, Any]]) -> str:
    """The rows as a Markdown table."""
    lines = ["| fusion | kernels | intermediate MiB | ms | middle half |", "|---|---|---|---|---|"]
    for r in rows:
        size = f"{r['intermediate_bytes'] / 2**20:.1f}" if r["intermediate_bytes"] is not None else "-"
        half = f"{r['ms_low']:.1f} to {r['ms_high']:.1f}" if r["ms"] else r.get("error", "-")
        ms = f"{r['ms']:.1f}" if r["ms"] else "-"
        kernels = r["kernels"] if r["kernels"] is not None else "-"
        lines.append(f"| {r['depth']}: {depths.DEPTHS[r['depth']]} | {kernels} | {size} | {ms} | {half} |")
    return "\n".join(lines)


@click.command()
@click.option("--model", default="wdsr-4x16", show_default=True, help="A network of peers.")
@click.option("--depths", "names", default=",".join(depths.DEPTHS), callback=options.words(tuple(depths.DEPTHS)),
              help="With commas.")  # fmt: skip
@click.option("--rounds", default=20, show_default=True, type=click.IntRange(1), help="At most.")
@click.option("--budget", default=120.0, show_default=True, type=click.FloatRange(0), help="Seconds of rounds.")
@click.option("--threads", default=1, show_default=True, type=click.IntRange(1))
@click.option(
    "--input", "input_size", default="360x640", show_default=True, callback=options.size, help="Height x width."
)
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Instead of results/fusion.json.")
def main(
    model: str, names: list[str], rounds: int, budget: float, threads: int, input_size: tuple[int, int],
    output: Path | None,
) -> None:  # fmt: skip
    """Compile and time one network at every depth of fusion, and rewrite benchmarks/results/fusion.json and .svg.

    \b
    Example:  make bench NAME=fusion ARGS="--model wdsr-8x24"
    """
    from benchmarks.latency import fusion_figure

    path = output or common.RESULTS / f"{NAME}.json"
    check_writable(path)
    console, load, plan = Console(), os.getloadavg()[0], common.Rounds(min(5, rounds), rounds, budget)
    with tempfile.TemporaryDirectory(prefix="sr-tvm-fusion-") as place, console.status("") as status:

        def note(what: str | None, runs: int) -> None:
            status.update(what or "")

        note(f"exporting {model}", 0)
        models.prepare(model, Path(place), input_size)
        rows = build(Path(place), names, note)
        measure(Path(place), rows, threads, plan, note)
    size = f"{input_size[0]}x{input_size[1]}"
    how = METHOD | {"model": model, "input": f"{size} (height x width), batch 1, float32", "threads": threads}
    how |= {"rounds": f"{plan.least} to {plan.most}, as many as fit {budget:g} s", "load_average_before": load}
    common.write_result(common.result(NAME, how, rows, summarize(rows), ENGINES[OURS].packages), path)
    figure = path.with_suffix(".svg")
    fusion_figure.draw(rows, figure, f"{model} at {size}, {threads} thread{'s' * (threads > 1)}")
    print(markdown(rows))
    console.print(f"wrote {path} and {figure.name}")
    if not any(r["ms"] for r in rows):
        raise SrTvmError(f"no depth could be measured: {rows[0].get('error')}" if rows else "no depth was asked for")


if __name__ == "__main__":
    options.run(main)
