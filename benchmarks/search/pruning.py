"""Mask layers against magnitude pruning (appendix A): PSNR at one latency budget, after the same training.

Every seed trains one supernet. Each method starts at it, has the same steps of searching or pruning and of fine-tuning
with the same batches, and ends within the same budget of the same speed model. A row is written as it comes, to
benchmarks/results/pruning.json; run again with the same options, it goes on where it was stopped.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
import time
from pathlib import Path
from typing import Any

import click
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from benchmarks import common, options
from benchmarks.search import pruning_methods
from benchmarks.search.pruning_methods import METHODS, TITLES, Plan, run, supernet
from benchmarks.search.pruning_table import row, score, show, summarize
from recipes.pictures import refuse_leaks
from sr_tvm.records.architecture import Architecture
from sr_tvm.search import magnitude, masks, noise, penalty, scaled, searcher, selection, settle
from sr_tvm.search.plain import latency_of
from sr_tvm.speed import known
from sr_tvm.speed.sample import input_size
from sr_tvm.system import files
from sr_tvm.training.data import load_pairs
from sr_tvm.training.settings import TrainingSettings
from sr_tvm.training.upscalers import pick_device

NAME = "pruning"
TRAIN = ("BSDS400", "T91")
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
# The version counts what settings and constants do not tell: raise it when a method itself becomes another.
SCHEMA, VERSION = "sr-tvm/pruning-rows", 2
RULES = (pruning_methods, magnitude, masks, noise, penalty, scaled, searcher, selection, settle)


def architecture(ctx: click.Context, option: click.Parameter, value: str) -> tuple[int, int]:
    """4x16: blocks x channels."""
    match = re.fullmatch(r"(\d{1,2})x(\d{1,3})", value)
    if not match or not (int(match[1]) and int(match[2])):
        raise click.BadParameter(f"{value!r}; give blocks x channels, such as 4x16")
    return int(match[1]), int(match[2])


def saved(path: Path) -> list[dict[str, Any]]:
    """The rows that an earlier run with the same options wrote."""
    return files.read_json(path, SCHEMA, VERSION)["rows"] if path.exists() else []


@click.command()
@click.option("--data", envvar="SR_TVM_DATA", required=True, type=FOLDER, help="Holds train/T91, eval/Set5 and so on.")
@click.option("--supernet", "size", default="4x16", show_default=True, callback=architecture, help="Blocks x channels.")
@click.option("--scale", default="2", show_default=True, type=click.Choice(["2", "3", "4"]))
@click.option("--device", default="galaxy-s21", show_default=True, help="Whose speed model; a name or a .json file.")
@click.option("--budget", default=25.0, show_default=True, type=click.FloatRange(0, min_open=True), help="In its unit.")
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(1, 100), help="How many.")
@click.option("--methods", default=",".join(METHODS), callback=options.words(METHODS), help="With commas.")
@click.option("--supernet-steps", default=8000, show_default=True, type=click.IntRange(1))
@click.option("--search-steps", default=4500, show_default=True, type=click.IntRange(3), help="Or of pruning.")
@click.option("--finetune-steps", default=7500, show_default=True, type=click.IntRange(1))
@click.option("--batch", default=4, show_default=True, type=click.IntRange(1))
@click.option("--patch", default=32, show_default=True, type=click.IntRange(8), help="In low-resolution pixels.")
@click.option("--lr", default=6e-3, show_default=True, type=click.FloatRange(0, 1, min_open=True))
@click.option("--threads", default=2, show_default=True, type=click.IntRange(1))
@click.option("--work", default="runs/pruning", show_default=True, type=click.Path(path_type=Path), help="Checkpoints.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Not results/pruning.json.")
def main(
    data: Path, size: tuple[int, int], scale: str, device: str, budget: float, seeds: int, methods: list[str],
    supernet_steps: int, search_steps: int, finetune_steps: int, batch: int, patch: int, lr: float, threads: int,
    work: Path, output: Path | None,
) -> None:  # fmt: skip
    """Train, prune and score afresh, or go on with it, and write benchmarks/results/pruning.json.

    \b
    Example:  make bench NAME=pruning ARGS="--data DATA --seeds 3"
    """
    path, console = output or common.RESULTS / f"{NAME}.json", Console()
    files.check_writable(path)
    torch.set_num_threads(threads)
    speed, place = known.find(device), pick_device("auto")
    net = Architecture.uniform(int(scale), *size)
    plan = Plan(net, device, speed, budget, *input_size(int(scale)), supernet_steps, search_steps, finetune_steps,
                batch, patch, lr)  # fmt: skip
    pairs = load_pairs([data / "train" / name for name in TRAIN], net.scale)
    refuse_leaks(pairs, data)
    pairs = pairs.large_enough(patch, lambda _: None)
    how = _method(plan, pairs.digest)
    key = identity(plan, pairs.digest)
    rows = saved(work / key / "rows.json")
    steps = search_steps + finetune_steps
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(NAME, total=seeds * (supernet_steps + len(methods) * steps))
        for seed in range(seeds):
            folder, begun = work / key / f"seed{seed}", seed * (supernet_steps + len(methods) * steps)

            def tick(what: str, step: int, label: str = f"seed {seed}", at: int = begun) -> None:
                progress.update(task, description=f"{label}: {what}", completed=at + step)

            start = supernet(plan, seed, pairs, place, folder / "supernet", tick)
            for number, method in enumerate(methods):
                if any((r["method"], r["seed"]) == (method, seed) for r in rows):
                    continue
                before, at = time.monotonic(), begun + supernet_steps + number * steps
                told = functools.partial(tick, label=f"seed {seed}, {method}", at=at)
                model = run(plan, method, seed, start, pairs, place, folder / method, told)
                seconds = time.monotonic() - before
                rows.append(row(plan, method, seed, model, score(model, data / "eval", place), seconds))
                files.write_json(work / key / "rows.json", {"schema": SCHEMA, "version": VERSION, "rows": rows})
                common.write_result(common.result(NAME, how, rows, summarize(rows, budget), ("torch",)), path)
    value = common.result(NAME, how, rows, summarize(rows, budget), ("torch",))
    show(value["summary"], console)
    if caution := known.caution(speed):
        console.print(f"latencies of {device}: {caution}", highlight=False)
    console.print(f"wrote {common.write_result(value, path)}")


def identity(plan: Plan, digest: str) -> str:
    """Tells runs apart whose rows must not be mixed: by settings, constants, pictures and latencies, not by words."""
    search, train = (
        plan.search(0).to_json(),
        TrainingSettings(plan.supernet, 1, plan.batch, plan.patch, plan.lr).to_json(),
    )
    steps = [plan.supernet_steps, plan.search_steps, plan.finetune_steps]
    numbers = {f"{module.__name__}.{name}": value for module in RULES for name, value in vars(module).items()
               if name.isupper() and type(value) in (int, float)}  # fmt: skip
    nets = (plan.supernet, plan.search(0).smallest.within(plan.supernet))
    speed = [f"{latency_of(plan.speed, net, plan.height, plan.width):.6g}" for net in nets]
    told = json.dumps([VERSION, search, train, steps, numbers, plan.device, speed, digest], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()[:12]


def _method(plan: Plan, digest: str) -> dict[str, Any]:
    names = ("device", "budget", "height", "width", "supernet_steps", "search_steps", "finetune_steps", "batch",
             "patch", "lr")  # fmt: skip
    told = {name: getattr(plan, name) for name in names}
    return told | {
        "supernet": plan.supernet.to_json(),
        "speed_model": {"source": plan.speed.source, "kind": plan.speed.kind, "unit": plan.speed.unit,
                        "ends": plan.speed.ends, "fitted_to": plan.speed.fitted_to},
        "methods": TITLES,
        "blocks": "masks and (iii) can drop a whole block; (i) and (ii), which rank channels, keep some of every layer",
        "training_pictures": f"{' and '.join(TRAIN)}, digest {digest[:12]}",
        "same_for_all": "the seed's supernet as the start, steps, batches, rates, Adam and clipping while searching or "
        "pruning, fine-tuning (L1, Muon for the blocks' filters and Adam for the rest, cosine, averaged weights); "
        "train_macs tells the multiply-accumulates after the supernet",
        "psnr_y": "dB on Y, scale border pixels shaved. No checkpoint and no model of a run was chosen by these sets; "
        "rates, batch and the kind of the search's pull were settled by looking at them (docs/training.md, "
        "docs/search.md)",
    }  # fmt: skip


if __name__ == "__main__":
    options.run(main)
