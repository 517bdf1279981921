"""A complete small search on a CPU: a supernet of 4 blocks with 16 channels, trained, then searched for 3 budgets.

Reads SR_TVM_DATA (or --data): training pictures in each folder of train/, eval/Set5 to score on; they are not shipped.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from benchmarks import common
from sr_tvm.architecture import Architecture
from sr_tvm.errors import SrTvmError
from sr_tvm.nets.wdsr import WDSR
from sr_tvm.nets.weights import load_weights
from sr_tvm.search import loop as search_loop
from sr_tvm.search import session as search_session
from sr_tvm.search.settings import Settings
from sr_tvm.speed import known
from sr_tvm.training import loop as training_loop
from sr_tvm.training import session as training_session
from sr_tvm.training.settings import Settings as TrainingSettings
from sr_tvm.training.step import best_precision

NAME = "search_small"
DEVICE, SCALE, SUPERNET = "galaxy-s21", 2, Architecture.uniform(2, 4, 16)
BUDGETS = (40.0, 28.0, 16.0)
PATCH, LIMIT_MINUTES = 32, 30
STEPS = {"supernet": 3000, "width": 400, "depth": 800, "finetune": 2000}
SEED, BATCH = 0, 16
CPU = torch.device("cpu")
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
PLACE = click.Path(file_okay=False, path_type=Path)
OUTPUT = click.Path(dir_okay=False, path_type=Path)


def train_folders(data: Path) -> list[Path]:
    """The folders of training pictures.

    Raises:
        SrTvmError: there is none.
    """
    found = sorted(p for p in (data / "train").glob("*") if p.is_dir())
    if not found:
        raise SrTvmError(f"{data / 'train'}: no folder of training pictures in it, such as train/BSDS400")
    return found


def supernet(data: Path, place: Path, steps: int, threads: int, tick: Any) -> tuple[WDSR, float]:
    """Train the supernet, or take it up in ``place``; gives it with its PSNR-Y in dB."""
    settings = TrainingSettings(SUPERNET, steps=steps, batch=BATCH, patch=PATCH, seed=SEED, validate_every=steps,
                                precision=best_precision(CPU))  # fmt: skip
    trainer, _ = training_session.prepare(settings, train_folders(data), data / "eval/Set5", "cpu", threads,
                                          place / "cache")  # fmt: skip
    training_loop.train(trainer, place / "supernet", lambda now: tick(now.step, now.steps))
    return load_weights(place / "supernet" / "weights.safetensors"), trainer.history[-1]["psnr"]


def search(budget: float, start: WDSR, data: Path, place: Path, steps: dict[str, int], threads: int, tick: Any) -> Any:
    """One search, or the rest of it; gives a row."""
    lengths = {f"{name}_steps": count for name, count in steps.items() if name != "supernet"}
    height, width = search_session.default_input(SCALE)
    settings = Settings(SUPERNET, budget, height, width, batch=BATCH, patch=PATCH, seed=SEED,
                        validate_every=10**9, precision=best_precision(CPU), **lengths)  # fmt: skip
    begin = time.monotonic()
    searcher = search_session.prepare(settings, known.find(DEVICE), train_folders(data), start, data / "eval/Set5",
                                      threads=threads, cache=place / "cache")  # fmt: skip
    found = search_loop.search(searcher, place / f"{budget:g}", lambda now: tick(now.step, now.steps))
    a, before = searcher.architecture, searcher.history[-2] if len(searcher.history) > 1 else searcher.history[-1]
    return {
        "budget": budget,
        "predicted": round(found.latency, 3),
        "inside": found.inside,
        "channels": a.channels,
        "blocks": [[b.expand, b.linear] for b in a.blocks],
        "params": a.params,
        "psnr_searched": round(before["psnr"], 3),
        "psnr": round(searcher.history[-1]["psnr"], 3),
        "seconds": round(time.monotonic() - begin, 1),
    }


@click.command()
@click.option("--data", envvar="SR_TVM_DATA", required=True, type=FOLDER, help="Holds train/* and eval/Set5.")
@click.option("--work", type=PLACE, default="runs/search_small", show_default=True, help="Checkpoints; it resumes.")
@click.option("--threads", type=click.IntRange(1, 256), default=2, show_default=True)
@click.option("--part", type=click.FloatRange(0.0005, 1), default=1.0, show_default=True, help="Of all steps.")
@click.option("-o", "--output", type=OUTPUT, help="Instead of results/search_small.json.")
def main(data: Path, work: Path, threads: int, part: float, output: Path | None) -> None:
    """Train a small supernet, search it for three budgets, and write benchmarks/results/search_small.json.

    \b
    Example:  make bench NAME=search_small ARGS="--data DATA"
    """
    steps = {name: max(2, int(count * part)) for name, count in STEPS.items()}
    rows, begin = [], time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:

        def bar(name: str) -> Any:
            task = progress.add_task(name, total=None)
            return lambda done, total: progress.update(task, completed=done, total=total)

        start, score = supernet(data, work, steps["supernet"], threads, bar("supernet"))
        for budget in BUDGETS:
            rows.append(search(budget, start, data, work, steps, threads, bar(f"{budget:g} ms")))
    minutes = round((time.monotonic() - begin) / 60, 1)
    summary = {
        "inside": all(r["inside"] for r in rows),
        "supernet_psnr": round(score, 3),
        "minutes": minutes,
        "in_time": minutes <= LIMIT_MINUTES,
    }
    method = {
        "device": f"{DEVICE} ({known.find(DEVICE).source}), for a 1280x720 output",
        "supernet": SUPERNET.to_json(),
        "steps": steps,
        "batch": BATCH,
        "patch": PATCH,
        "seed": SEED,
        "threads": threads,
        "precision": best_precision(CPU),
        "score": "PSNR-Y in dB on Set5; psnr_searched before, psnr after fine-tuning",
        "minutes": "of this run; what was taken up from checkpoints is not in it",
    }
    table = Table("budget", "predicted", "within 3 %", "channels", "blocks", "parameters", "searched", "fine-tuned")
    for r in rows:
        shape = " ".join(f"{e}/{m}" for e, m in r["blocks"])
        first = (r[name] for name in ("budget", "predicted", "inside", "channels"))
        table.add_row(*map(str, (*first, shape, *(r[name] for name in ("params", "psnr_searched", "psnr")))))
    console = Console()
    console.print(table)
    console.print(f"supernet {summary['supernet_psnr']} dB; {minutes} minutes")
    value = common.result(NAME, method, rows, summary, ("torch",))
    console.print(f"wrote {common.write_result(value, output)}")
    if not summary["inside"]:
        raise SrTvmError("a search did not land within 3 % under its budget")


if __name__ == "__main__":
    try:
        main()
    except SrTvmError as error:
        raise SystemExit(f"error: {error}") from None
