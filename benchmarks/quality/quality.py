"""Picture quality: bicubic, which tells whether the protocol is the papers', the shipped models, and what they show.

Reads the test sets from SR_TVM_DATA/eval/{Set5,Set14,B100} (or --data); they are not shipped. The plain networks and
other evidence are not shipped either: they are scored where --work holds the weights that models/history tells of, and
otherwise keep the rows that an earlier run gave these very weights.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from benchmarks import common, options
from benchmarks.quality import quality_figure, quality_goals, quality_readme
from benchmarks.quality.quality_goals import MEAN
from benchmarks.quality.quality_rows import OUTPUT, SETS, Candidate, candidates, kept, row
from recipes import MODELS, ship
from sr_tvm.errors import SrTvmError
from sr_tvm.system import files

NAME = "quality"
TOLERANCE = 0.02
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
METHOD = {
    "low_resolution": "MATLAB-style bicubic of uint8 RGB, rows then columns, each rounded",
    "metric": "scikit-image PSNR and SSIM (Gaussian, sigma 1.5) on BT.601 Y 16..235, in fractions; a grey picture is Y",
    "border": "scale pixels shaved, sizes cut to a multiple of the scale",
    "tolerance_db": TOLERANCE,
    "macs": f"of one {OUTPUT} output",
    "predicted_ms": f"by the stand-ins of docs/speed.md for a {OUTPUT} output, blocks only; not measured",
    "weights": "sha256 of the weights file, its first 16 digits",
    "mean": "over all pictures of the three sets, each alike: a set's 5 pictures should not weigh as much as 100",
    "chosen_by_these_sets": "no checkpoint and no model of a run; but rates, batch, the teacher's share and the kind "
    "of the search's pull were settled by looking at them (docs/training.md, docs/search.md)",
    "goals": "the best shipped network, by that mean, of no more parameters or no more predicted ms; goal by goal, set "
    "by set",
    "plain": "the uniform network that makes the most of the budget: of those within 3 % of the most parameters the "
    "slowest. As many steps in all as search and training, not as many multiply-accumulates, since a step of a search "
    "computes the whole supernet; better: by that mean, clear: by 0.03 dB or more",
    "train_macs": "multiply-accumulates of a network's own training and search: three forward passes a step. Without "
    "the supernet's training, which is in its own row, and the teacher's pictures, which are made once",
    "tenfold": "ten times the steps of the last training; supernet and teacher are the same",
}


def summarize(rows: list[dict[str, Any]], missing: list[str]) -> dict[str, Any]:
    """What the rows come to; ``missing`` are networks without scores."""
    off = [r for r in rows if r["published"] and abs(r["psnr_y"] - r["published"]) > TOLERANCE]
    scores = quality_goals.by_model(rows)
    against = quality_goals.against_plain(scores)
    better, clear, inside = ([r[key] for r in against if r[key] is not None]
                             for key in ("better", "clear", "within_3_percent"))  # fmt: skip
    return {
        "protocol_ok": not off,
        "off": [f"{r['set']} x{r['scale']}" for r in off],
        "missing": missing,
        "mean_psnr": {name: round(score["psnr"][MEAN], 3) for name, score in scores.items()},
        "goals": quality_goals.reached(scores),
        "searched_against_plain": against,
        "searched_better": f"{sum(better)} of {len(better)}",
        "searched_clearly_better": f"{sum(clear)} of {len(clear)}",
        "inside": f"{sum(inside)} of {len(inside)}",
        "tenfold": quality_goals.tenfold(scores),
    }


def show(rows: list[dict[str, Any]], summary: dict[str, Any], console: Console) -> None:
    """Scores, then goals, then searched against plain."""
    table = Table("model", "scale", "set", "PSNR-Y", "SSIM", "published")
    for r in rows:
        told = (r["psnr_y"], r["ssim_y"], r["published"] or "")
        table.add_row(r["model"], f"x{r['scale']}", r["set"], *map(str, told))
    goals = Table("the paper's", "best of ours", *SETS, "reached", title="less the published PSNR-Y, dB")
    for g in summary["goals"]:
        goals.add_row(g["goal"], g["best"] or "none", *_signed(g["difference"], SETS), str(g["all_reached"]))
    plain = Table("searched", "plain", *SETS, MEAN, title="searched less plain, dB")
    for r in summary["searched_against_plain"]:
        plain.add_row(r["searched"], r["plain"], *_signed(r["difference"] or {}, (*SETS, MEAN)))
    for part in (table, goals, plain):
        console.print(part)
    for g in summary["goals"]:
        if g["note"]:
            console.print(f"{g['goal']}: {g['note']}", highlight=False)
    told = f"{summary['searched_better']}, clearly so {summary['searched_clearly_better']}"
    told += f"; within 3 % under the budget: {summary['inside']}"
    console.print(f"searched better than plain: {told}", highlight=False)
    console.print(f"ten times the steps of the last training: {summary['tenfold']['why']}", highlight=False)
    if summary["missing"]:
        console.print(f"without scores, for want of weights: {', '.join(summary['missing'])}", highlight=False)


def _signed(values: dict[str, float], names: tuple[str, ...]) -> list[str]:
    return [f"{values[name]:+.3f}" if name in values else "" for name in names]


def score(work: list[tuple[Candidate, Path]]) -> list[dict[str, Any]]:
    """A row for each candidate and folder."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task, rows = progress.add_task("scoring", total=len(work)), []
        for candidate, folder in work:
            progress.update(task, description=f"{candidate.name} x{candidate.scale} on {folder.name}")
            rows.append(row(candidate, candidate.upscale(), folder))
            progress.advance(task)
    return rows


@click.command()
@click.option("--data", envvar="SR_TVM_DATA", required=True, type=FOLDER, help="Holds eval/Set5 and so on.")
@click.option("--work", default="runs/models", show_default=True, type=click.Path(path_type=Path),
              help="Of models/train.py: weights that are not shipped.")  # fmt: skip
@click.option("--models", default=MODELS, type=FOLDER, help="Its README.md, if any, gets the tables; ours by default.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Not results/quality.json.")
def main(data: Path, work: Path, models: Path, output: Path | None) -> None:
    """Score bicubic and every model afresh; rewrite results/quality.json and .svg and the tables of models/README.md.

    \b
    Example:  make bench NAME=quality ARGS="--data DATA --work runs/models"
    """
    path, console = output or common.RESULTS / f"{NAME}.json", Console()
    files.check_writable(path)
    found, missing = candidates(models, work)
    rows = score([(c, data / "eval" / s) for c in found for s in SETS])
    before = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.is_file() else []
    old, without = kept(before, missing)
    rows += old
    summary = summarize(rows, without)
    show(rows, summary, console)
    value = common.result(NAME, METHOD, rows, summary, ("scikit-image", "Pillow"))
    console.print(f"wrote {common.write_result(value, path)}")  # first: it took minutes, and the rest may fail
    if summary["off"]:
        raise SrTvmError(f"bicubic is off the published figures on {', '.join(summary['off'])}: the protocol is broken")
    readme = models / "README.md"
    if readme.exists() or models.samefile(MODELS):
        quality_readme.write(readme, rows, summary)
        console.print(f"wrote the tables of {readme}")
    if quality_figure.draw(ship.read(models), path.with_suffix(".svg")):
        console.print(f"wrote {path.with_suffix('.svg')}")


if __name__ == "__main__":
    options.run(main)
