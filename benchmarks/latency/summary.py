"""What the rows of peers come to, from the rows alone: so rows of several runs can be put together."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import Any

from benchmarks import common, models
from benchmarks.engines import OURS

OTHERS = {"fsrcnn": "fsrcnn", "carn-m": "carn_m", "vgg16": "vgg16"}


def ratios(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each network and number of threads, the time of the best sound peer over ours: above 1, ours is faster.

    None where one of them is missing. With one thread also ``peak_fraction``, ours, and ``roofline_vs_best_peer``: the
    ratio that direct convolution at the whole of the measured peak would have.
    """
    found = []
    for model, threads in dict.fromkeys((r["model"], r["threads"]) for r in rows):
        here = [r for r in rows if (r["model"], r["threads"]) == (model, threads)]
        sound = {r["engine"]: r for r in here if r["ms"] is not None and "error" not in r}
        ours = sound.pop(OURS, None)
        best = min(sound.values(), key=lambda r: r["ms"], default=None)
        row = {"model": model, "threads": threads, "best_peer": best["engine"] if best else None}
        row["vs_best_peer"] = round(best["ms"] / ours["ms"], 4) if best and ours else None
        if peak := next((r["peak_gflops"] for r in here if r.get("peak_gflops")), None):
            row |= {"gmacs": round(here[0]["macs"] / 1e9, 3), "peak_gflops": peak}
            row["peak_fraction"] = ours["peak_fraction"] if ours else None
            limit = 2 * here[0]["macs"] / peak / 1e6
            row["roofline_vs_best_peer"] = round(best["ms"] / limit, 4) if best else None
        found.append(row)
    return found


def summarize(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The ratios and what they come to; None where something is missing. Means and worst are over the WDSRs."""
    table = ratios(rows)
    summary: dict[str, Any] = {}
    for threads in sorted({1, 2} | {r["threads"] for r in rows}):
        known = _known(table, "vs_best_peer", threads)
        summary[f"geomean_vs_best_peer_{threads}t"] = _mean(known)
        summary[f"worst_vs_best_peer_{threads}t"] = min(known, default=None)
        for model, key in OTHERS.items():
            here = [r["vs_best_peer"] for r in table if (r["model"], r["threads"]) == (model, threads)]
            summary[f"{key}_vs_best_peer" + (f"_{threads}t" if threads > 1 else "")] = here[0] if here else None
    summary["roofline_vs_best_peer_1t"] = _mean(_known(table, "roofline_vs_best_peer"))
    shares, peaks = _known(table, "peak_fraction"), [r["peak_gflops"] for r in table if r.get("peak_gflops")]
    summary["peak_fraction"] = round(statistics.median(shares), 4) if shares else None
    summary["peak_gflops"] = round(statistics.median(peaks), 2) if peaks else None
    ours = [r for r in rows if r["engine"] == OURS]
    summary["ok"] = bool(ours) and all(r["ok"] and r["ms"] is not None for r in ours)
    summary["max_abs_err"] = max((r["max_abs_err"] for r in ours if r["max_abs_err"] is not None), default=None)
    summary["failed"] = [f"{r['engine']} on {r['model']}, {r['threads']} threads" for r in rows if "error" in r]
    summary["ratios"] = table
    return summary


def _known(table: list[dict[str, Any]], key: str, threads: int = 1) -> list[float]:
    return [r[key] for r in table if r["threads"] == threads and models.is_wdsr(r["model"]) and r.get(key)]


def _mean(values: Iterable[float]) -> float | None:
    mean = common.geomean(values)
    return round(mean, 4) if mean else None
