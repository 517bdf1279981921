"""The rows of the quality benchmark: what is scored, and what is said of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

from benchmarks import common
from recipes import ship
from sr_tvm.errors import SrTvmError
from sr_tvm.nets.weights import load_weights
from sr_tvm.records.architecture import Architecture
from sr_tvm.search.plain import latency_of
from sr_tvm.speed import known
from sr_tvm.speed.sample import OUTPUT_HEIGHT, OUTPUT_WIDTH, input_size
from sr_tvm.training import upscalers
from sr_tvm.training.evaluate import Upscale, evaluate

SETS = ("Set5", "Set14", "B100")
BICUBIC, SHIPPED = "bicubic", "shipped"
PHASES = ("width", "race", "depth")  # of a search; "race" is successive halving, which the first ones had not
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


@dataclass(frozen=True)
class Candidate:
    """Something to score: bicubic, or the network of a weights file. ``about`` is the same in its rows of all sets."""

    name: str
    scale: int
    weights: Path | None
    about: dict[str, Any]

    def upscale(self) -> Upscale:
        if self.weights is None:
            return upscalers.bicubic(self.scale)
        return upscalers.network(load_weights(self.weights), torch.device("cpu"))


def candidates(models: Path, work: Path) -> tuple[list[Candidate], list[dict[str, Any]]]:
    """What can be scored: bicubic, the shipped models, and those of ``work`` that models/history tells of.

    Returns:
        The candidates, and the histories of networks whose weights are neither shipped nor in ``work``.
    """
    found = [Candidate(BICUBIC, scale, None, _about(BICUBIC, 0, 0, {})) for scale in (2, 4)]
    histories, missing = {h["name"]: h for h in ship.read(models)}, []
    for path in sorted(models.glob("*.safetensors")):
        found.append(_network(path.stem, path, histories.get(path.stem), True))
    names = {candidate.name for candidate in found}
    for name, history in histories.items():
        path = work / name / "weights.safetensors"
        if name not in names:
            if path.is_file() and ship.digest(path) == history["weights"]:
                found.append(_network(name, path, history, False))
            else:
                missing.append(history)
    return found, missing


def _network(name: str, path: Path, history: dict[str, Any] | None, shipped: bool) -> Candidate:
    digest, a = ship.digest(path), load_weights(path).architecture
    if history and history["weights"] != digest:
        history = None  # of other weights
    size = input_size(a.scale)
    about = _about(history["role"] if history else SHIPPED, a.params, a.macs(*size), predicted(a))
    about |= {"shipped": shipped, "weights": digest}
    if history:
        about |= {"trained": trained(history), "train_macs": train_macs(history)}
        about |= {"seen_pixels": sum(map(seen, _runs(history))), "spent": history.get("spent")}
    return Candidate(name, a.scale, path, about)


def _about(role: str, params: int, macs: int, ms: dict[str, float]) -> dict[str, Any]:
    return {"role": role, "params": params, "macs": macs, "predicted_ms": ms,
            "shipped": False, "weights": None, "trained": None, "train_macs": None}  # fmt: skip


@cache
def predicted(architecture: Architecture) -> dict[str, float]:
    """Latency in ms by each shipped surrogate that knows the input of 1280x720; none of them was measured."""
    found = {}
    for name in known.names():
        try:
            ms = latency_of(known.find(name), architecture, *input_size(architecture.scale))
        except SrTvmError:  # for another input size
            continue
        found[name] = round(ms, 2)
    return found


def trained(history: dict[str, Any]) -> str:
    """In short."""
    runs = _runs(history)
    parts = []
    if search := history["search"]:
        parts.append(f"searched {sum(search['run'].get(f'{phase}_steps', 0) for phase in PHASES):,} steps")
    parts.append("trained " + " and ".join(f"{run['steps']:,}" for run in runs))
    if history["role"] in (ship.PLAIN, ship.SCALED):
        parts.insert(0, "plain")
    parts[-1] += " steps" if not search else ""
    if runs[-1].get("teacher"):
        parts.append("taught")
    return ", ".join(parts)


def _runs(history: dict[str, Any]) -> list[dict[str, Any]]:
    """What each training of a network was asked to do, the last one last."""
    return [training["training"]["run"] for training in (*history.get("before", ()), history)]


def seen(run: dict[str, Any]) -> int:
    """Low-resolution pixels that a training learnt from."""
    late, share = run.get("late_patch", 0), run.get("late_share", 0.0)
    later = run["steps"] - math.ceil(run["steps"] * (1 - share)) if late else 0
    pixels = run["batch"] * run["patch"] ** 2
    return (run["steps"] - later) * pixels + later * (max(1, pixels // late**2) * late**2 if late else 0)


def train_macs(history: dict[str, Any]) -> int:
    """Multiply-accumulates of a network's own training, from its supernet on."""
    run, search, name = history["training"]["run"], history["search"], history["name"]
    found = Architecture.from_json(run["architecture"], name)
    macs = 3 * found.macs(1, 1) * sum(map(seen, _runs(history)))
    if search:
        s = search["run"]
        large, steps = Architecture.from_json(s["supernet"], name), s["width_steps"] + s["depth_steps"]
        # Those that are halved are as fast as what is found, so they are counted as it.
        macs += computed(s["batch"], s["patch"], (steps, large), (s.get("race_steps", 0), found))
    return macs


def computed(batch: int, patch: int, *parts: tuple[int, Architecture]) -> int:
    """Multiply-accumulates of so many steps of each network: a forward pass, and twice as much backward.

    While a network is masked it still computes everything.
    """
    return 3 * batch * patch**2 * sum(steps * network.macs(1, 1) for steps, network in parts)


def row(candidate: Candidate, upscale: Upscale, folder: Path) -> dict[str, Any]:
    """One candidate on one set; ``published`` is bicubic's only."""
    score = evaluate(upscale, folder, candidate.scale)
    return {
        "model": candidate.name,
        "set": folder.name,
        "scale": candidate.scale,
        **candidate.about,
        "images": score["images"],
        "psnr_y": round(score["psnr_y"], 3) if math.isfinite(score["psnr_y"]) else None,
        "ssim_y": round(score["ssim_y"], 4),
        "published": PUBLISHED.get((folder.name, candidate.scale)) if candidate.name == BICUBIC else None,
        "date": common.now(),
    }


def kept(before: list[dict[str, Any]], missing: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[str]]:
    """Earlier rows of the ``missing`` histories' very weights, and the names of those that have none in all sets."""
    rows, without = [], []
    for history in missing:
        own = [r for r in before if r["model"] == history["name"] and r.get("weights") == history["weights"]]
        if {r["set"] for r in own} == set(SETS):
            rows.extend(own)
        else:
            without.append(history["name"])
    return rows, without


OUTPUT = f"{OUTPUT_WIDTH}x{OUTPUT_HEIGHT}"
