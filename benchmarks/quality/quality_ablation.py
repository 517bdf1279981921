"""What in training is worth how much: one thing changed at a time, at equal steps, over seeds.

Every variant trains the same small network from nothing. Reads SR_TVM_DATA (or --data): folders of training pictures in
train/, Set5, Set14 and B100 in eval/; they are not shipped. A row is written as it comes, and what is in the work
folder or the result already is not made again.
"""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import torch
from rich.console import Console
from rich.table import Table

from benchmarks import common, options
from benchmarks.search.pruning_table import SETS, score
from recipes.pictures import refuse_leaks, train_folders
from recipes.ship import digest
from sr_tvm.errors import SrTvmError
from sr_tvm.nets.weights import load_weights
from sr_tvm.records.architecture import Architecture
from sr_tvm.system import files
from sr_tvm.training.data import load_pairs
from sr_tvm.training.loop import train
from sr_tvm.training.session import prepare
from sr_tvm.training.settings import TrainingSettings, WeightsFile
from sr_tvm.training.step import best_precision

NAME = "quality_ablation"
CPU = torch.device("cpu")
NET = Architecture.uniform(2, 3, 24)
OLD = ("BSDS400", "T91")
BASE, MEAN = "new", "mean"


@dataclass(frozen=True)
class Variant:
    """One way of training: what is changed in the settings, and the folders of pictures, all if none are named.

    ``less`` is the variant that it is compared with.
    """

    what: str
    changed: dict[str, Any] = field(default_factory=dict)
    folders: tuple[str, ...] = ()
    distilled: bool = False
    less: str = BASE


VARIANTS = {
    "old": Variant("the pictures of before: BSDS400, T91", folders=OLD),
    "new": Variant("all pictures alike", less="old"),
    "detail": Variant("patches by gradient energy to the power of 0.5", {"detail": 0.5}),
    "old_detail": Variant("those of before, by gradient energy to the power of 0.5", {"detail": 0.5}, OLD, less="old"),
    "detail_quarter": Variant("patches by gradient energy to the power of 0.25", {"detail": 0.25}),
    "detail_whole": Variant("patches by gradient energy", {"detail": 1.0}),
    "lossless": Variant("cid22 and div2k128 twice as often", {"weights": (("cid22", 2.0), ("div2k128", 2.0))}),
    "whole": Variant("div2k128, of 128x128, a quarter as often", {"weights": (("div2k128", 0.25),)}),
    "shuffle": Variant("colours in any order", {"shuffle": True}),
    "late_48": Variant("1 patch of 48x48 in the last fifth", {"late_patch": 48}),
    "late_64": Variant("1 patch of 64x64 in the last fifth", {"late_patch": 64}),
    "branches_sum": Variant("1x1, 1x3 and 3x1 beside each 3x3", {"branches": "sum"}),
    "branches_edges": Variant("1x1s behind fixed edge filters beside each 3x3", {"branches": "edges"}),
    "branches_product": Variant("a wide 3x3 times a 1x1 beside each 3x3", {"branches": "product"}),
    "charbonnier": Variant("Charbonnier's loss", {"loss": "charbonnier"}),
    "l2": Variant("squared differences", {"loss": "l2"}),
    "detail_charbonnier": Variant("Charbonnier's loss, patches by detail", {"loss": "charbonnier", "detail": 0.5}),
    "all": Variant("both, and a wide 3x3 times a 1x1", {"loss": "charbonnier", "detail": 0.5, "branches": "product"}),
    "detail_l2": Variant("squared differences, patches by detail", {"loss": "l2", "detail": 0.5}),
    "taught": Variant("nine tenths of the loss to a teacher", {"teacher_share": 0.9}, distilled=True),
}
COUNT = click.IntRange(1, 10**9)
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@dataclass(frozen=True)
class Plan:
    """What all runs have in common."""

    data: Path
    work: Path
    steps: int
    threads: int
    teacher: Path | None
    cache: Path | None

    def settings(self, variant: Variant, seed: int) -> TrainingSettings:
        """
        Raises:
            SrTvmError: a teacher is wanted and none is named.
        """
        if variant.distilled and self.teacher is None:
            raise SrTvmError(f"{variant.what}: name a teacher's weights file with --teacher")
        teacher = WeightsFile.of(self.teacher) if variant.distilled and self.teacher else None
        return TrainingSettings(NET, self.steps, seed=seed, teacher=teacher, validate_every=10**9,
                        precision=best_precision(CPU), **variant.changed)  # fmt: skip

    def folders(self, variant: Variant) -> list[Path]:
        return [p for p in train_folders(self.data) if not variant.folders or p.name in variant.folders]


def run(plan: Plan, name: str, seed: int, before: list[dict[str, Any]], tick: Any) -> dict[str, Any]:
    """Train one variant with one seed, or go on with it, and score it; a row of ``before`` with its weights stays."""
    variant, folder = VARIANTS[name], plan.work / f"{name}-{seed}"
    settings = plan.settings(variant, seed)
    trainer, _ = prepare(settings, plan.folders(variant), None, "cpu", plan.threads, plan.cache)
    train(trainer, folder, lambda now: tick(now.step, now.steps))
    weights = folder / "weights.safetensors"
    for row in before:
        if (row["variant"], row["seed"], row["weights"]) == (name, seed, digest(weights)):
            return row
    psnr = score(load_weights(weights), plan.data / "eval", CPU)
    return {
        "variant": name,
        "what": variant.what,
        "seed": seed,
        "steps": plan.steps,
        "pictures": len(trainer.pairs.pairs),
        "weights": digest(weights),
        **trainer.spent,
        "psnr_y": psnr | {MEAN: round(mean_of_pictures(psnr), 4)},
        "date": common.now(),
    }


def mean_of_pictures(psnr: dict[str, float]) -> float:
    """Each picture alike: a set's 5 should not weigh as much as 100."""
    counts = {"Set5": 5, "Set14": 14, "B100": 100}
    return sum(psnr[s] * counts[s] for s in SETS) / sum(counts.values())


def summarize(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Of each variant, mean and standard deviation over seeds, and its gain over the one that it is compared with.

    ``gain`` is the mean of the differences seed by seed, ``spread`` their standard deviation.
    """
    by = {name: {r["seed"]: r["psnr_y"] for r in rows if r["variant"] == name} for name in VARIANTS}
    found: dict[str, Any] = {}
    for name, scores in by.items():
        if not scores:
            continue
        other = by[VARIANTS[name].less]
        told: dict[str, Any] = {"seeds": sorted(scores), "less": VARIANTS[name].less, "psnr_y": {}, "gain": {}}
        for s in (*SETS, MEAN):
            told["psnr_y"][s] = _spread([p[s] for p in scores.values()])
            told["gain"][s] = _spread([scores[seed][s] - other[seed][s] for seed in scores if seed in other])
        found[name] = told
    return found


def _spread(values: list[float]) -> dict[str, float] | None:
    if not values:
        return None
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"mean": round(statistics.fmean(values), 3), "spread": round(deviation, 3)}


def show(summary: dict[str, Any], console: Console) -> None:
    """A line for each variant: its scores, and below them how much better than the other it is."""
    table = Table("variant", "seeds", *SETS, MEAN, box=None)
    for name, told in summary.items():
        cells = [f"{told['psnr_y'][s]['mean']:.3f}" for s in (*SETS, MEAN)]
        gains = [told["gain"][s] for s in (*SETS, MEAN)]
        table.add_row(name, str(len(told["seeds"])), *cells)
        shown = (f"{g['mean']:+.3f} ± {g['spread']:.3f}" if g else "" for g in gains)
        table.add_row(f"  less {told['less']}", "", *shown)
    console.print(table)


@click.command()
@click.option("--data", envvar="SR_TVM_DATA", required=True, type=FOLDER, help="Holds train/*, eval/Set5 and so on.")
@click.option("--work", default="runs/ablation", show_default=True, type=click.Path(path_type=Path))
@click.option("--variants", default=",".join(VARIANTS), callback=options.words(tuple(VARIANTS)), help="All by default.")
@click.option("--seeds", type=COUNT, default=3, show_default=True, help="How many.")
@click.option("--steps", type=COUNT, default=4000, show_default=True)
@click.option("--threads", type=click.IntRange(1, 256), default=1, show_default=True)
@click.option("--teacher", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="For variants with one.")
@click.option("--cache", type=click.Path(path_type=Path), help="Of prepared pictures; the user's if not given.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Not benchmarks/results.")
def main(data: Path, work: Path, variants: list[str], seeds: int, steps: int, threads: int, teacher: Path | None,
         cache: Path | None, output: Path | None) -> None:  # fmt: skip
    """Train the variants, a seed of all before the next seed, and write benchmarks/results/quality_ablation.json.

    \b
    Example:  make bench NAME=quality_ablation ARGS="--data DATA --variants old,new,detail"
    """
    path = output or common.RESULTS / f"{NAME}.json"
    files.check_writable(path)
    rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.is_file() else []
    plan, console = Plan(data, work, steps, threads, teacher, cache), Console()
    refuse_leaks(load_pairs(train_folders(data), NET.scale, cache), data)
    for seed in range(seeds):
        for name in variants:
            row = run(plan, name, seed, rows, lambda done, total: None)
            rows = [r for r in rows if (r["variant"], r["seed"]) != (name, seed)] + [row]
            rows.sort(key=lambda r: (list(VARIANTS).index(r["variant"]), r["seed"]))
            common.write_result(common.result(NAME, _method(plan), rows, summarize(rows), ("torch",)), path)
            console.print(f"{name}, seed {seed}: {row['psnr_y']}", highlight=False)
    show(summarize(rows), console)
    console.print(f"wrote {path}")


def _method(plan: Plan) -> dict[str, Any]:
    return {
        "network": NET.to_json(),
        "steps": plan.steps,
        "settings": "those of sr-tvm train unless the variant says otherwise; from nothing, the average of the weights",
        "score": "PSNR-Y in dB; mean: over all pictures of the three sets, each alike",
        "gain": "mean over seeds of the difference to the variant named by less, and its standard deviation",
        "precision": best_precision(CPU),
        "threads": plan.threads,
    }


if __name__ == "__main__":
    options.run(main)
