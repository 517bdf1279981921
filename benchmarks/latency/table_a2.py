"""Table A2 of the paper's appendix on this CPU: frames per second at a 720p output, MNN's and ours, with the PSNR.

The paper timed MNN on a phone. Here MNN and ours run in one session, interleaved, and everything goes to
benchmarks/results/table_a2.json.
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
from rich.table import Table

from benchmarks import common, models, options
from benchmarks.engines import ENGINES, OURS, cell
from sr_tvm.system.files import check_writable

NAME = "table_a2"
NETWORKS = ("carn-m", "fsrcnn", models.SHIPPED)
TITLES = {"carn-m": "CARN-M", "fsrcnn": "FSRCNN", models.SHIPPED: "ours, WDSR 3x24"}
COMPARED = ("mnn", OURS)
SCALES = (2, 4)
SETS = ("Set5", "Set14", "B100", "Urban100")
QUALITY = common.RESULTS / "quality.json"
# The appendix's own lines: PSNR on Y in dB over SETS, and MNN's frames per second on a phone's CPU.
PUBLISHED = {
    ("carn-m", 2): ((37.53, 33.26, 31.92, 31.23), 0.4),
    ("fsrcnn", 2): ((37.00, 32.63, 31.53, 29.88), 3.9),
    ("carn-m", 4): ((31.92, 28.42, 27.44, 25.62), 0.9),
    ("fsrcnn", 4): ((30.71, 27.59, 26.98, 24.62), 11.3),
}
# Its own networks, which have no weights here.
PAPERS = (
    ("the paper's, 100 ms", 2, (37.64, 33.16, 31.91, 31.08), 6.8),
    ("the paper's, 70 ms", 4, (31.88, 28.43, 27.46, 25.69), 12.4),
)
METHOD: dict[str, Any] = {
    "order": "each engine in a process of its own; rounds over both, shuffled anew each round",
    "fps": "1000 / ms, ms the median wall time of one run, the input in memory already",
    "input": "RGB; FSRCNN takes luma alone, so a picture needs its chroma enlarged besides",
    "engines": {name: ENGINES[name].how for name in COMPARED},
    "psnr": "dB on Y. published: the appendix's figure for the network's published weights; random weights were timed. "
    "measured: our shipped weights, from results/quality.json. not trained: random weights, no figure",
    "published_networks": [
        {"model": m, "scale": scale, "psnr_y": dict(zip(SETS, psnr, strict=True)), "phone_fps": fps}
        for m, scale, psnr, fps in PAPERS
    ],
}


def quality(name: str, scale: int, results: Path = QUALITY) -> dict[str, Any]:
    """PSNR on Y by test set, and where it is from: published, measured or not trained."""
    if (name, scale) in PUBLISHED:
        values = dict(zip(SETS, PUBLISHED[name, scale][0], strict=True))
        return {"psnr_y": values, "psnr_source": "published", "phone_fps": PUBLISHED[name, scale][1]}
    path = models.weights_file(name, scale)
    if path is None:
        return {"psnr_y": None, "psnr_source": "not trained", "phone_fps": None}
    rows = json.loads(results.read_text())["rows"] if results.is_file() else []
    found = {r["set"]: r["psnr_y"] for r in rows if r["model"] == path.stem and r["scale"] == scale}
    return {"psnr_y": found or None, "psnr_source": "measured" if found else "not measured", "phone_fps": None}


def row(measured: dict[str, Any], about: dict[str, Any]) -> dict[str, Any]:
    """One engine's row with frames per second, the scale and the quality."""
    more = {"scale": about["scale"], "weights": about["weights"]}
    more["fps"] = round(1e3 / measured["ms"], 3) if measured["ms"] else None
    return measured | more | quality(about["model"], about["scale"])


def summarize(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """MNN's time over ours for every network, scale and number of threads: above 1, ours is faster."""
    ratios = []
    for key in dict.fromkeys((r["model"], r["scale"], r["threads"]) for r in rows):
        here = [r for r in rows if (r["model"], r["scale"], r["threads"]) == key and r["ms"] and "error" not in r]
        ms = {r["engine"]: r["ms"] for r in here}
        ratio = round(ms["mnn"] / ms[OURS], 4) if set(COMPARED) <= ms.keys() else None
        ratios.append({"model": key[0], "scale": key[1], "threads": key[2], "vs_mnn": ratio})
    summary: dict[str, Any] = {}
    for threads in dict.fromkeys(r["threads"] for r in rows):
        mean = common.geomean(r["vs_mnn"] for r in ratios if r["threads"] == threads and r["vs_mnn"])
        summary[f"geomean_vs_mnn_{threads}t"] = round(mean, 4) if mean else None
    failed = [f"{r['engine']} on {r['model']} x{r['scale']}, {r['threads']} threads" for r in rows if "error" in r]
    return summary | {"failed": failed, "ratios": ratios}


def show(rows: list[dict[str, Any]], summary: dict[str, Any], console: Console) -> None:
    """As the appendix has it: a line for each network and scale, frames per second of both engines, then quality."""
    threads = list(dict.fromkeys(r["threads"] for r in rows))
    heads = [f"{name}, {t} thread{'s' * (t > 1)}" for t in threads for name in ("MNN", "ours")]
    table = Table(
        "", "scale", *heads, *SETS, "PSNR is", box=None, pad_edge=False, title="frames per second, PSNR-Y in dB"
    )
    for scale, model in dict.fromkeys((r["scale"], r["model"]) for r in rows):
        here = {(r["engine"], r["threads"]): r for r in rows if (r["model"], r["scale"]) == (model, scale)}
        cells = [here.get((engine, t), {}).get("fps") for t in threads for engine in COMPARED]
        about = next(iter(here.values()))
        psnr = [f"{about['psnr_y'][s]:.2f}" if s in (about["psnr_y"] or {}) else "-" for s in SETS]
        speeds = [f"{fps:.2f}" if fps else "-" for fps in cells]
        table.add_row(TITLES.get(model, model), f"x{scale}", *speeds, *psnr, about["psnr_source"])
    console.print(table)
    for r in rows:
        if "error" in r:
            console.print(
                f"[red]{r['engine']}, {r['model']} x{r['scale']}, {r['threads']} threads: {escape(r['error'][:200])}[/]"
            )
    for key, value in summary.items():
        if key.startswith("geomean"):
            console.print(f"{key} {value}")


@click.command()
@click.option(
    "--models", "names", default=",".join(NETWORKS), callback=options.words(()), help="Networks, with commas."
)
@click.option("--rounds", default=20, show_default=True, type=click.IntRange(1), help="At most.")
@click.option(
    "--budget", default=30.0, show_default=True, type=click.FloatRange(0), help="Seconds of rounds for a line."
)
@click.option("--threads", default="1,2", show_default=True, callback=options.numbers, help="Numbers of threads.")
@click.option("--output-size", default="720x1280", show_default=True, callback=options.size, help="Height x width.")
@click.option("--database", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Our tuning records.")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Instead of results/table_a2.json."
)
def main(
    names: list[str], rounds: int, budget: float, threads: list[int], output_size: tuple[int, int],
    database: Path | None, output: Path | None,
) -> None:  # fmt: skip
    """Time MNN and ours afresh, x2 and x4, and rewrite benchmarks/results/table_a2.json.

    \b
    Example:  make bench NAME=table_a2 ARGS="--models fsrcnn --threads 1"
    """
    console, rows, load = Console(), [], os.getloadavg()[0]
    path = output or common.RESULTS / f"{NAME}.json"
    check_writable(path)
    plan = common.Rounds(min(5, rounds), rounds, budget)
    made = f"{output_size[0]}x{output_size[1]} (height x width), batch 1, float32; the input is smaller by the scale"
    how = METHOD | {"output": made, "database": str(database) if database else "the shipped tuning records"}
    how |= {"rounds": f"{plan.least} to {plan.most}, as many as fit {budget:g} s", "load_average_before": load}
    with tempfile.TemporaryDirectory(prefix="sr-tvm-a2-") as place, console.status("") as status:
        for scale in SCALES:
            for name in names:
                size = (output_size[0] // scale, output_size[1] // scale)
                about = models.prepare(name, Path(place) / f"{name}-x{scale}", size, database, scale)
                for count in threads:

                    def note(what: str | None, runs: int, scale: int = scale) -> None:
                        if what:
                            status.update(f"x{scale}: {what}")

                    measured = cell.measure(Path(place) / f"{name}-x{scale}", about, COMPARED, count, plan, note)
                    rows += [row(r, about) for r in measured]
                packages = tuple(p for e in COMPARED for p in ENGINES[e].packages)
                value = common.result(NAME, how, rows, summarize(rows), packages)
                common.write_result(value, path)
    show(rows, value["summary"], console)
    console.print(f"wrote {path}")


if __name__ == "__main__":
    options.run(main)
