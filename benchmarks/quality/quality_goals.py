"""What the scores come to: the paper's figures, searched against plain, and what ten times the steps were worth."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from benchmarks.quality.quality_rows import SETS
from recipes import recipe
from sr_tvm.records.architecture import Architecture
from sr_tvm.search.selection import TOLERANCE

MEAN = "all pictures"
BETTER = 0.1  # dB over the paper that we are after
CLEAR = 0.03  # dB that two networks should differ by: less can be the seed's (docs/training.md)


@dataclass(frozen=True)
class Goal:
    """A published row: PSNR-Y on the three sets, at no more than ``params`` or ``budget`` ms on ``device``; ``note``
    is what one must know of it."""

    title: str
    scale: int
    published: tuple[float, float, float]
    params: int | None = None
    device: str = ""
    budget: float = math.inf
    note: str = ""

    def allows(self, row: dict[str, Any]) -> bool:
        if not row["shipped"] or row["scale"] != self.scale:
            return False
        if self.params is not None:
            return bool(row["params"] <= self.params)
        return bool(row["predicted_ms"].get(self.device, math.inf) <= self.budget)


EXTRAPOLATED = "latencies of x4 on the S21 are extrapolated from x2 and probably too low (docs/speed.md)"


def _uniform(depth: int) -> int:
    return Architecture.uniform(2, depth, 24).params


# The paper states parameters in thousands: 91K, 69K and 37K are these networks' (docs/speed.md).
GOALS = (
    Goal("DSP, 91K parameters", 2, (37.68, 33.21, 31.91), _uniform(8)),
    Goal("DSP, 69K parameters", 2, (37.59, 33.12, 31.84), _uniform(6)),
    Goal("DSP, 37K parameters", 2, (37.34, 32.91, 31.67), _uniform(3)),
    Goal("S21 GPU, 100 ms, x2", 2, (37.64, 33.16, 31.91), device="galaxy-s21", budget=100),
    Goal("S21 GPU, 70 ms, x4", 4, (31.88, 28.43, 27.46), None, "galaxy-s21", 70, EXTRAPOLATED),
)

Scores = dict[str, dict[str, Any]]


def by_model(rows: list[dict[str, Any]]) -> Scores:
    """Of each network that was scored on all sets: its row, with ``psnr`` by set and over all pictures."""
    found: Scores = {}
    for name in dict.fromkeys(r["model"] for r in rows if r["role"] != "bicubic"):
        own = {r["set"]: r for r in rows if r["model"] == name and r["psnr_y"] is not None}
        if set(SETS) <= own.keys():
            count = sum(own[s]["images"] for s in SETS)
            psnr = {s: own[s]["psnr_y"] for s in SETS}
            psnr[MEAN] = sum(own[s]["psnr_y"] * own[s]["images"] for s in SETS) / count
            found[name] = own[SETS[0]] | {"psnr": psnr}
    return found


def reached(scores: Scores) -> list[dict[str, Any]]:
    """Each goal with the best of ours that it allows, by the mean over all pictures, and the difference in dB."""
    found = []
    for goal in GOALS:
        told: dict[str, Any] = {"goal": goal.title, "scale": goal.scale}
        told |= {"at_most": {"params": goal.params} if goal.params else {goal.device: goal.budget}}
        told |= {"published": dict(zip(SETS, goal.published, strict=True))}
        best = max(filter(goal.allows, scores.values()), key=lambda r: r["psnr"][MEAN], default=None)
        told |= {"best": best and best["model"], "params": best and best["params"]}
        less = {s: round(best["psnr"][s] - p, 3) for s, p in told["published"].items()} if best else {}
        told |= {"difference": less, "reached": {s: d >= 0 for s, d in less.items()}}
        told |= {"note": goal.note or None}
        told |= {"all_reached": bool(less) and min(less.values()) >= 0,
                 "better_by_a_tenth": bool(less) and min(less.values()) >= BETTER}  # fmt: skip
        found.append(told)
    return found


def against_plain(scores: Scores) -> list[dict[str, Any]]:
    """At each budget: the searched network less the plain one, in dB; None where one of them has no score.

    What is said of both is a pair, the searched network's first.
    """
    found = []
    for target in recipe.TARGETS:
        told: dict[str, Any] = {"device": target.device, "scale": target.scale, "budget": target.budget}
        told |= {"searched": target.name, "plain": target.plain_name}
        both = [scores.get(name) for name in (target.name, target.plain_name)]
        for field in ("params", "predicted_ms", "train_macs"):
            told[field] = [_of(row, field, target.device) for row in both]
        told["of_budget"] = [ms and round(ms / target.budget, 4) for ms in told["predicted_ms"]]
        ours, plain = both
        ms = told["predicted_ms"][0]
        told["within_3_percent"] = ms and target.budget * (1 - TOLERANCE) <= ms <= target.budget
        less = {s: round(ours["psnr"][s] - plain["psnr"][s], 3) for s in ours["psnr"]} if ours and plain else None
        told |= {"difference": less, "better": less and less[MEAN] > 0, "clear": less and less[MEAN] >= CLEAR}
        found.append(told)
    return found


def _of(row: dict[str, Any] | None, field: str, device: str) -> Any:
    value = row and row.get(field)  # rows that were kept may be older than a field
    return value.get(device) if isinstance(value, dict) else value


def tenfold(scores: Scores) -> dict[str, Any]:
    """The plain 37K network with ten times the steps of the last training, twice, and a third time if the gains keep
    shrinking so. ``train_macs`` are of that training; the supernet's are told beside them."""
    names = [name for name, _ in sorted(recipe.SCALED.items(), key=lambda part: -part[1])] + [recipe.PLAIN_37K]
    told: dict[str, Any] = {"networks": names, "psnr": None, "gains": None, "ratio": None, "next_gain": None}
    if not set(names) <= scores.keys() or scores[names[-1]]["role"] != "plain":
        return told | {"why": f"needs scores of {', '.join(names)}, all made by models/train.py"}
    psnr = [scores[name]["psnr"][MEAN] for name in names]
    first, second = (round(b - a, 3) for a, b in zip(psnr, psnr[1:], strict=False))
    told |= {
        "psnr": [round(p, 3) for p in psnr],
        "gains": [first, second],
        "trained": [scores[name]["trained"] for name in names],
        "train_macs": [scores[name].get("train_macs") for name in names],
        "supernet_train_macs": scores.get(recipe.SUPERNETS[2], {}).get("train_macs"),
    }
    if not 0 < second < first:
        return told | {"why": f"gains of {first} and {second} dB do not shrink by a ratio that could go on"}
    ratio = second / first
    return told | {
        "ratio": round(ratio, 3),
        "next_gain": round(second * ratio, 3),
        "why": f"ten times the steps of the last training gained {first} dB, the next ten times {second} dB; if gains "
        f"keep shrinking by that ratio, ten times more give {second * ratio:.3f} dB. Supernet and teacher are the "
        "same in all three",
    }
