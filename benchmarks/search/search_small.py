"""A complete small search on a CPU: a supernet of 4 blocks with 16 channels, trained, then searched for 3 budgets.

What is found for a budget is compared with the plain network of it, equal blocks of usual proportions: sliced from the
same supernet, trained for as many steps as searching and fine-tuning took, on the same batches at the same rate. Steps
are equal, multiply-accumulates are not: a step of a search computes the whole supernet.

Reads SR_TVM_DATA (or --data): training pictures in each folder of train/, eval/Set5, Set14 and B100 to score on; they
are not shipped.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from benchmarks import common
from benchmarks.quality.quality_rows import computed
from benchmarks.search.pruning_table import SETS, score
from benchmarks.search.search_small_time import Spent
from recipes.pictures import refuse_leaks, train_folders
from sr_tvm.errors import SrTvmError
from sr_tvm.nets.wdsr import WDSR
from sr_tvm.nets.weights import load_weights
from sr_tvm.records.architecture import Architecture
from sr_tvm.search import loop as search_loop
from sr_tvm.search import session as search_session
from sr_tvm.search.plain import latency_of, plain
from sr_tvm.search.settings import SearchSettings
from sr_tvm.speed import known
from sr_tvm.training import loop as training_loop
from sr_tvm.training import session as training_session
from sr_tvm.training.data import load_pairs
from sr_tvm.training.settings import TrainingSettings, WeightsFile
from sr_tvm.training.step import best_precision

NAME = "search_small"
DEVICE, SCALE, SUPERNET = "galaxy-s21", 2, Architecture.uniform(2, 4, 16)
BUDGETS = (40.0, 28.0, 16.0)
BATCH, PATCH, SEED, LIMIT_MINUTES = 4, 32, 0, 30
STEPS = {"supernet": 8000, "width": 1000, "race": 2000, "depth": 2000, "finetune": 5000}
CPU = torch.device("cpu")
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
PLACE = click.Path(file_okay=False, path_type=Path)
OUTPUT = click.Path(dir_okay=False, path_type=Path)


@dataclass(frozen=True)
class Plan:
    """What all runs of one benchmark have in common."""

    data: Path
    place: Path
    steps: dict[str, int]
    threads: int

    @property
    def supernet(self) -> Path:
        return self.place / "supernet" / "weights.safetensors"

    @property
    def cache(self) -> Path:
        return self.place / "cache"

    @property
    def whole(self) -> int:
        """Steps of a network from the supernet on."""
        return sum(self.steps.values()) - self.steps["supernet"]


def train(plan: Plan, net: Architecture, steps: int, name: str, tick: Any, init: Path | None = None) -> WDSR:
    """Train a network, or go on with it in its folder, ``name``."""
    settings = TrainingSettings(
        net, steps=steps, batch=BATCH, patch=PATCH, seed=SEED, validate_every=10**9, precision=best_precision(CPU),
        init=WeightsFile.of(init) if init else None,
    )  # fmt: skip
    trainer, _ = training_session.prepare(settings, train_folders(plan.data), None, "cpu", plan.threads, plan.cache)
    training_loop.train(trainer, plan.place / name, lambda now: tick(now.step, now.steps))
    return load_weights(plan.place / name / "weights.safetensors")


def search(plan: Plan, budget: float, tick: Any) -> dict[str, Any]:
    """One search, or the rest of it; gives its part of a row."""
    steps, (height, width) = plan.steps, search_session.default_input(SCALE)
    settings = SearchSettings(
        SUPERNET, budget, height, width, width_steps=steps["width"], race_steps=steps["race"],
        depth_steps=steps["depth"], finetune_steps=steps["finetune"], batch=BATCH, patch=PATCH, seed=SEED,
        validate_every=10**9, precision=best_precision(CPU),
    )  # fmt: skip
    searcher = search_session.prepare(settings, known.find(DEVICE), train_folders(plan.data),
                                      load_weights(plan.supernet), plan.data / "eval/Set5", threads=plan.threads,
                                      cache=plan.cache)  # fmt: skip
    found = search_loop.search(searcher, plan.place / f"{budget:g}", lambda now: tick(now.step, now.steps))
    before = searcher.history[-2] if len(searcher.history) > 1 else searcher.history[-1]
    net, masked = searcher.dense, steps["width"] + steps["depth"]
    told = describe(net, plan, budget, (masked, SUPERNET), (plan.whole - masked, net.architecture))
    return told | {"inside": found.inside, "set5_searched": round(before["psnr"], 3)}


def unsearched(plan: Plan, budget: float, tick: Any) -> dict[str, Any]:
    """The plain network of a budget, trained as long as a search with its fine-tuning takes; its part of a row."""
    net = plain(known.find(DEVICE), SCALE, budget, *search_session.default_input(SCALE), within=SUPERNET)
    model = train(plan, net, plan.whole, f"plain{budget:g}", tick, plan.supernet)
    return describe(model, plan, budget, (plan.whole, net))


def describe(model: WDSR, plan: Plan, budget: float, *trained: tuple[int, Architecture]) -> dict[str, Any]:
    """A trained network: what it is, how long it would take, what its training computed, how good it is.

    ``trained`` are the networks whose steps it came from; those of the halving are as fast as it and count as it.
    """
    a = model.architecture
    predicted = latency_of(known.find(DEVICE), a, *search_session.default_input(SCALE))
    return {
        "predicted": round(predicted, 3),
        "of_budget": round(predicted / budget, 4),
        "channels": a.channels,
        "blocks": [[b.expand, b.linear] for b in a.blocks],
        "params": a.params,
        "train_macs": computed(BATCH, PATCH, *trained),
        "psnr_y": score(model, plan.data / "eval", CPU),
    }


def row(budget: float, found: dict[str, Any], usual: dict[str, Any]) -> dict[str, Any]:
    """Of one budget: what was found, the plain network, and how much better the former is, in dB."""
    gain = {name: round(found["psnr_y"][name] - usual["psnr_y"][name], 3) for name in SETS}
    return {"budget": budget, "searched": found, "plain": usual, "gain": gain}


def summarize(
    rows: list[dict[str, Any]], supernet: dict[str, float], minutes: float, cpu_minutes: float, all_known: bool = True
) -> dict[str, Any]:
    """``beats_plain``: whether the search's network is the better one, by the mean gain over the sets of pictures.

    ``in_time`` is None unless it is ``all_known`` how long everything took.
    """
    gains = {f"{r['budget']:g}": round(sum(r["gain"].values()) / len(SETS), 3) for r in rows}
    return {
        "inside": all(r["searched"]["inside"] for r in rows),
        "beats_plain": {budget: gain > 0 for budget, gain in gains.items()},
        "mean_gain": gains,
        "supernet_psnr_y": supernet,
        "minutes": minutes,
        "cpu_minutes": cpu_minutes,
        "in_time": minutes <= LIMIT_MINUTES if all_known else None,
    }


def show(rows: list[dict[str, Any]], console: Console) -> None:
    """A line for each network."""
    table = Table("budget", "network", "predicted", "channels", "blocks", "parameters", *SETS)
    for r in rows:
        for name in ("searched", "plain"):
            net = r[name]
            shape = " ".join(f"{e}/{m}" for e, m in net["blocks"])
            told = (r["budget"], name, net["predicted"], net["channels"], shape, net["params"])
            table.add_row(*map(str, told), *(f"{net['psnr_y'][s]:.3f}" for s in SETS))
    console.print(table)


@click.command()
@click.option("--data", envvar="SR_TVM_DATA", required=True, type=FOLDER, help="Holds train/*, eval/Set5 and so on.")
@click.option("--work", type=PLACE, default="runs/search_small", show_default=True, help="Checkpoints; it resumes.")
@click.option("--threads", type=click.IntRange(1, 256), default=2, show_default=True)
@click.option("--part", type=click.FloatRange(0.0005, 1), default=1.0, show_default=True, help="Of all steps.")
@click.option("-o", "--output", type=OUTPUT, help="Instead of results/search_small.json.")
def main(data: Path, work: Path, threads: int, part: float, output: Path | None) -> None:
    """Train a small supernet, search it for three budgets, and write benchmarks/results/search_small.json.

    \b
    Example:  make bench NAME=search_small ARGS="--data DATA"
    """
    if part < 1 and output is None:
        raise click.UsageError("a part of the steps is no result to publish; name a file for it with -o")
    plan = Plan(data, work, {name: count and max(2, int(count * part)) for name, count in STEPS.items()}, threads)
    rows, spent = [], Spent(work)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:

        def bar(name: str) -> Any:
            task = progress.add_task(name, total=None)
            return lambda done, total: progress.update(task, completed=done, total=total)

        with spent.on("supernet"):
            pairs = load_pairs(train_folders(data), SCALE, plan.cache)
            refuse_leaks(pairs, data)
            whole = train(plan, SUPERNET, plan.steps["supernet"], "supernet", bar("supernet"))
            supernet = score(whole, data / "eval", CPU)
        for budget in BUDGETS:
            name = f"{budget:g} ms"
            with spent.on(name):
                found = search(plan, budget, bar(name))
            with spent.on(f"{name}, plain"):
                usual = unsearched(plan, budget, bar(f"{name}, plain"))
            seconds = [{"seconds": spent.seconds(part)} for part in (name, f"{name}, plain")]
            rows.append(row(budget, found | seconds[0], usual | seconds[1]))
    minutes, cpu = spent.minutes
    summary = summarize(rows, supernet, minutes, cpu, spent.all_known)
    method = {
        "device": f"{DEVICE} ({known.find(DEVICE).source}), for a 1280x720 output",
        "supernet": SUPERNET.to_json(),
        "steps": plan.steps,
        "plain": "the uniform network that makes the most of the budget, sliced from the supernet, trained for the "
        "steps of searching and fine-tuning together. Steps are equal, multiply-accumulates are not, since a step of a "
        "search computes the whole supernet: train_macs, three forward passes a step, without the supernet's training",
        "batch": BATCH,
        "patch": PATCH,
        "lr": TrainingSettings(SUPERNET).lr,
        "seed": SEED,
        "threads": threads,
        "precision": best_precision(CPU),
        "score": "PSNR-Y in dB; set5_searched before fine-tuning. No checkpoint and no model of a run was chosen by "
        "it; rates, batch and the kind of the search's pull were settled by looking at these sets (docs/training.md, "
        "docs/search.md)",
        "minutes": "by the clock, and of all threads on the CPU, of everything in the work folder, whichever run it "
        "was done in; in_time is null where a part was killed and its time is not known",
    }
    console = Console()
    show(rows, console)
    console.print(f"supernet {supernet['Set5']} dB on Set5; {minutes} minutes")
    value = common.result(NAME, method, rows, summary, ("torch",))
    console.print(f"wrote {common.write_result(value, output)}")
    if not summary["inside"]:
        raise SrTvmError("a search did not land within 3 % under its budget")


if __name__ == "__main__":
    try:
        main()
    except SrTvmError as error:
        raise SystemExit(f"error: {error}") from None
