"""Picture quality: bicubic, which tells whether the protocol is the papers', and the shipped models.

Reads the test sets from SR_TVM_DATA/eval/{Set5,Set14,B100} (or --data); they are not shipped.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from benchmarks import common
from sr_tvm.errors import SrTvmError
from sr_tvm.nets.weights import load_weights
from sr_tvm.training import upscalers
from sr_tvm.training.evaluate import Upscale, evaluate

NAME = "quality"
MODELS = Path(__file__).parent.parent / "models"
SETS = ("Set5", "Set14", "B100")
# Bicubic's PSNR-Y as papers print it (for example in VDSR, Kim et al. 2016). They round Y or low resolution in
# different places, which moves the mean by up to 0.02 dB.
PUBLISHED = {
    ("Set5", 2): 33.66,
    ("Set14", 2): 30.24,
    ("B100", 2): 29.56,
    ("Set5", 4): 28.42,
    ("Set14", 4): 26.00,
    ("B100", 4): 25.96,
}
TOLERANCE = 0.02
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
OUTPUT = click.Path(dir_okay=False, path_type=Path)
METHOD = {
    "low_resolution": "MATLAB-style bicubic of uint8 RGB, rows then columns, each rounded",
    "metric": "scikit-image PSNR and SSIM (Gaussian, sigma 1.5) on BT.601 Y 16..235, unrounded; a grey picture is Y",
    "border": "scale pixels shaved, sizes cut to a multiple of the scale",
    "tolerance_db": TOLERANCE,
}


def candidates() -> list[tuple[str, int, int, Upscale]]:
    """Everything that is scored: (name, scale, parameters, upscaler)."""
    cpu = torch.device("cpu")
    found = [("bicubic", scale, 0, upscalers.bicubic(scale)) for scale in (2, 4)]
    for path in sorted(MODELS.glob("*.safetensors")):
        model = load_weights(path)
        a = model.architecture
        found.append((path.stem, a.scale, a.params, upscalers.network(model, cpu)))
    return found


def row(model: str, scale: int, params: int, upscale: Upscale, folder: Path) -> dict[str, Any]:
    """One line of the table; ``published`` is bicubic's only."""
    score = evaluate(upscale, folder, scale)
    return {
        "model": model,
        "set": folder.name,
        "scale": scale,
        "params": params,
        "images": score["images"],
        "psnr_y": round(score["psnr_y"], 3) if math.isfinite(score["psnr_y"]) else None,
        "ssim_y": round(score["ssim_y"], 4),
        "published": PUBLISHED.get((folder.name, scale)) if model == "bicubic" else None,
    }


@click.command()
@click.option("--data", envvar="SR_TVM_DATA", required=True, type=FOLDER, help="Holds eval/Set5 and so on.")
@click.option("-o", "--output", type=OUTPUT, help="Instead of results/quality.json.")
def main(data: Path, output: Path | None) -> None:
    """Score bicubic and every shipped model afresh, and rewrite benchmarks/results/quality.json.

    \b
    Example:  make bench NAME=quality ARGS="--data DATA"
    """
    rows, work = [], [(c, data / "eval" / s) for c in candidates() for s in SETS]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("scoring", total=len(work))
        for candidate, folder in work:
            progress.update(task, description=f"{candidate[0]} x{candidate[1]} on {folder.name}")
            rows.append(row(*candidate, folder))
            progress.advance(task)
    off = [r for r in rows if r["published"] and abs(r["psnr_y"] - r["published"]) > TOLERANCE]
    summary: dict[str, Any] = {"protocol_ok": not off, "off": [f"{r['set']} x{r['scale']}" for r in off]}
    table = Table("model", "scale", "set", "PSNR-Y", "SSIM", "published")
    for r in rows:
        told = (r["psnr_y"], r["ssim_y"], r["published"] or "")
        table.add_row(r["model"], f"x{r['scale']}", r["set"], *map(str, told))
    console = Console()
    console.print(table)
    packages = ("scikit-image", "Pillow")
    console.print(f"wrote {common.write_result(common.result(NAME, METHOD, rows, summary, packages), output)}")
    if off:
        raise SrTvmError(f"bicubic is off the published figures on {', '.join(summary['off'])}: the protocol is broken")


if __name__ == "__main__":
    try:
        main()
    except SrTvmError as error:
        raise SystemExit(f"error: {error}") from None
