"""What the rows of the OpenCL benchmark come to, from the rows alone.

A row that failed or is missing counts 0 in a ratio and in what should be large, and is INFINITE in what should be
small.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks import common
from benchmarks.phones.opencl_builds import GPUS, STOCK, TUNED, UNTUNED
from sr_tvm.regions.value import FLOAT16, FLOAT32

CODE, RUN, PEER = "code", "run", "peer"  # parts: machine code, runs on an OpenCL device, MNN's machine code
MAIN = "wdsr_x2_37k"
GOALS: dict[str, tuple[str, float]] = {
    "adreno.mac_per_slot": (">=", 0.75),
    "adreno.mac_per_slot_worst": (">=", 0.5),
    "adreno.min_waves": (">=", 4),
    "adreno.spills": ("<=", 0),
    "adreno.slots_vs_stock": (">=", 20),
    "mali.mac_per_instruction": (">=", 0.42),
    "mali.mac_per_instruction_fp16": (">=", 1.05),
    "mali.slots_vs_stock": (">=", 20),
    "traffic_vs_floor": ("<=", 2.0),
    "pocl_vs_stock": (">=", 1.5),
    "max_abs_err": ("<=", 1e-5),
}

INFINITE = 1e300  # JSON has no infinity
Row = dict[str, Any]


def summarize(rows: Sequence[Row], names: Sequence[str]) -> dict[str, Any]:
    """The keys of GOALS, nested, over the networks ``names``; and what else is told of them."""
    others = [name for name in names if name != MAIN]

    def chosen(name: str, target: str, dtype: str = FLOAT32) -> Row | None:
        """Ours of a network: tuned where a log has it."""
        return _code(rows, name, TUNED, target, dtype) or _code(rows, name, UNTUNED, target, dtype)

    def each(target: str, which: Sequence[str], key: str, missing: float) -> list[float]:
        found = [chosen(name, target) for name in which]
        return [missing if row is None or row.get(key) is None else float(row[key]) for row in found]

    def one(target: str, key: str, dtype: str = FLOAT32) -> float:
        row = chosen(MAIN, target, dtype) if MAIN in names else None
        return float(row[key]) if row and row.get(key) is not None else 0.0

    fp16 = chosen(MAIN, "mali", FLOAT16)
    traffic = {target: each(target, names, "traffic_vs_floor", INFINITE) for target in GPUS}
    summary: dict[str, Any] = {
        "adreno": {
            "mac_per_slot": one("adreno", "mac_per_slot"),
            "mac_per_slot_worst": min(each("adreno", others, "mac_per_slot", 0.0), default=0.0),
            "min_waves": min(each("adreno", names, "min_waves", 0.0), default=0.0),
            "spills": sum(each("adreno", names, "spills", INFINITE)) if names else INFINITE,
            "slots_vs_stock": _vs_stock(rows, names, "adreno", chosen, (False,)),
            "slots_vs_stock_best": _vs_stock(rows, names, "adreno", chosen, (False, True)),
            "estimated_ms": one("adreno", "estimated_ms") or None,
        },
        "mali": {
            "mac_per_instruction": one("mali", "mac_per_slot"),
            "mac_per_instruction_fp16": one("mali", "mac_per_slot", FLOAT16),
            "fp16_psnr_set5": fp16.get("psnr_set5") if fp16 else None,
            "slots_vs_stock": _vs_stock(rows, names, "mali", chosen, (False,)),
            "slots_vs_stock_best": _vs_stock(rows, names, "mali", chosen, (False, True)),
            "estimated_ms": one("mali", "estimated_ms") or None,
        },
        "traffic_vs_floor": max((v for values in traffic.values() for v in values), default=INFINITE),
        "traffic_vs_floor_37k": max(one(target, "traffic_vs_floor") or INFINITE for target in GPUS),
        "pocl_vs_stock": 0.0,
        "max_abs_err": INFINITE,
        "devices": {},
    }
    for row in rows:
        if row["part"] == PEER and "error" not in row:
            target = next(t for t, gpu in GPUS.items() if gpu == row["gpu"])
            ours = chosen(MAIN, target)
            summary[target]["mnn_mac_per_slot"] = row["mac_per_slot"]
            summary[target]["slots_vs_mnn"] = round(row["slots"] / ours["slots"], 3) if ours else 0.0
    runs = [r for r in rows if r["part"] == RUN]
    for device in dict.fromkeys(r["device"] for r in runs):
        here = [r for r in runs if r["device"] == device]
        told = {"vs_stock": _runs_vs_stock(here, names), "max_abs_err": _error(here, names)}
        summary["devices"][device] = told
        if not here[0]["device_is_gpu"]:
            summary["pocl_vs_stock"], summary["max_abs_err"] = told["vs_stock"], told["max_abs_err"]
    summary["goals"] = {key: _reached(value_of(summary, key), *goal) for key, goal in GOALS.items()}
    summary["failed"] = [f"{r['part']}: {r['variant']} of {r['model']}" for r in rows if "error" in r]
    return summary


def value_of(summary: dict[str, Any], key: str) -> Any:
    """The value of a key such as "adreno.spills"."""
    for part in key.split("."):
        summary = summary[part]
    return summary


def _reached(value: float, way: str, goal: float) -> bool:
    return value >= goal if way == ">=" else value <= goal


def _code(
    rows: Sequence[Row], name: str, how: str, target: str, dtype: str = FLOAT32, generic: bool = False
) -> Row | None:
    """The sound row of machine code, counted; one that was to be tuned counts only if a log had it."""
    for row in rows:
        key = (row["part"], row["model"], row.get("how"), row.get("target"), row.get("dtype"), row.get("generic"))
        if key == (CODE, name, how, target, dtype, generic) and "error" not in row and row["slots"]:
            return None if how == TUNED and not row["tuned_kernels"] else row
    return None


def _vs_stock(
    rows: Sequence[Row], names: Sequence[str], target: str, chosen: Callable[[str, str], Row | None],
    builds: Sequence[bool],
) -> float:  # fmt: skip
    """Slots of the best of stock's ``builds``, generic or not, over ours; all of them have to be there."""
    ratios = []
    for name in names:
        stock, ours = [_code(rows, name, STOCK, target, generic=kind) for kind in builds], chosen(name, target)
        known = [row["slots"] for row in stock if row]
        ratios.append(min(known) / ours["slots"] if ours and len(known) == len(builds) else 0.0)
    return _mean(ratios)


def _runs_vs_stock(rows: Sequence[Row], names: Sequence[str]) -> float:
    """The faster of the stock builds over the fastest of ours."""
    ratios = []
    for name in names:
        sound = [r for r in rows if r["model"] == name and r.get("ms") and "error" not in r]
        stock = [r["ms"] for r in sound if r["how"] == STOCK]
        ours = [r["ms"] for r in sound if r["how"] != STOCK]
        ratios.append(min(stock) / min(ours) if stock and ours else 0.0)
    return _mean(ratios)


def _error(rows: Sequence[Row], names: Sequence[str]) -> float:
    worst = 0.0 if names else INFINITE
    for name in names:
        ours = [r.get("max_abs_err") for r in rows if r["model"] == name and r["how"] != STOCK]
        known = [INFINITE if e is None else e for e in ours]
        worst = max(worst, max(known, default=INFINITE))
    return worst


def _mean(ratios: Sequence[float]) -> float:
    mean = common.geomean(ratios) if ratios and all(ratios) else None
    return round(mean, 4) if mean else 0.0
