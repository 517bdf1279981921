"""The table of the pruning benchmark: a row for each run, their summary, and how it is shown."""

from __future__ import annotations

import math
import statistics
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks import common
from benchmarks.search.pruning_methods import MASKS, METHODS, TITLES, Plan
from sr_tvm.nets.wdsr import WDSR
from sr_tvm.search.plain import latency_of
from sr_tvm.training.evaluate import evaluate
from sr_tvm.training.upscalers import network

SETS = ("Set5", "Set14", "B100")


def score(model: WDSR, sets: Path, place: torch.device) -> dict[str, float]:
    """PSNR-Y in dB by test set."""
    upscale, scale = network(model.to(place), place), model.architecture.scale
    return {name: round(float(evaluate(upscale, sets / name, scale)["psnr_y"]), 4) for name in SETS}


def row(plan: Plan, method: str, seed: int, model: WDSR, psnr: dict[str, float], seconds: float) -> dict[str, Any]:
    """One line of the table. ``seconds`` are those since the run was last resumed."""
    a = model.architecture
    steps = plan.search_steps + plan.finetune_steps
    return {
        "method": method,
        "seed": seed,
        "channels": a.channels,
        "blocks": [[b.expand, b.linear] for b in a.blocks],
        "params": a.params,
        "macs_per_input_pixel": a.macs(1, 1),
        "latency": round(latency_of(plan.speed, a, plan.height, plan.width), 4),
        "steps": steps,
        "train_macs": plan.train_macs(method, a),
        "seconds": round(seconds, 1),
        "psnr_y": psnr,
        "date": common.now(),
    }


def summarize(rows: list[dict[str, Any]], budget: float) -> dict[str, Any]:
    """Of each method: mean and spread of the PSNR over seeds; of mask layers less each other method, by seed.

    ``t`` is the mean difference over its standard error; with 3 seeds, 4.3 would be 95 % sure.
    """
    by = {m: {r["seed"]: r for r in rows if r["method"] == m} for m in METHODS}
    summary: dict[str, Any] = {"methods": {}, "masks_less": {}}
    for method, found in by.items():
        if found:
            psnr = {s: [r["psnr_y"][s] for r in found.values()] for s in SETS}
            ms, params = ([r[key] for r in found.values()] for key in ("latency", "params"))
            summary["methods"][method] = {
                "seeds": len(found),
                "psnr_y": {s: round(statistics.fmean(v), 4) for s, v in psnr.items()},
                "spread": {s: round(statistics.stdev(v), 4) if len(v) > 1 else None for s, v in psnr.items()},
                "latency": [min(ms), max(ms)],
                "of_budget": [round(min(ms) / budget, 4), round(max(ms) / budget, 4)],
                "params": [min(params), max(params)],
            }
    for method in METHODS[1:]:
        seeds = sorted(by[MASKS].keys() & by[method].keys())
        if seeds:
            summary["masks_less"][method] = {
                s: _difference([by[MASKS][i]["psnr_y"][s] - by[method][i]["psnr_y"][s] for i in seeds]) for s in SETS
            }
    return summary


def _difference(values: list[float]) -> dict[str, Any]:
    mean = statistics.fmean(values)
    told: dict[str, Any] = {"mean": round(mean, 4), "by_seed": [round(v, 4) for v in values], "t": None}
    if len(values) > 1 and (spread := statistics.stdev(values)):
        told["t"] = round(mean / (spread / math.sqrt(len(values))), 2)
    return told


def show(summary: dict[str, Any], console: Console) -> None:
    """A line a method: mean PSNR with the spread over seeds, latency and parameters from smallest to largest."""
    table = Table("method", "seeds", *SETS, "latency", "params", title="PSNR-Y in dB, mean and standard deviation")
    for method, told in summary["methods"].items():
        cells = [f"{told['psnr_y'][s]:.3f} ± {told['spread'][s] or 0:.3f}" for s in SETS]
        ms, params = ("-".join(f"{v:.{digits}f}" for v in dict.fromkeys(told[key]))
                      for key, digits in (("latency", 2), ("params", 0)))  # fmt: skip
        table.add_row(method, str(told["seeds"]), *cells, ms, params)
    console.print(table)
    for method in summary["methods"]:
        console.print(f"{method}: {TITLES[method]}", highlight=False)
    for method, by_set in summary["masks_less"].items():
        told = ", ".join(f"{s} {d['mean']:+.3f} dB (t {d['t']})" for s, d in by_set.items())
        console.print(f"mask layers less {method}: {told}", highlight=False)
