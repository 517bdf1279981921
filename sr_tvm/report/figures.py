"""The charts of the page: time by operator, the tuner's progress, predicted against measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from sr_tvm.report import svg
from sr_tvm.report.summary import SpeedRow

WIDTH = 6.2


def _number(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def _calls(row: dict[str, Any]) -> str:
    calls = row.get("calls", 1)
    return svg.clean(row["kernel"], 44) + (f" ×{int(calls)}" if calls != 1 and row["kernel"][:1] != "(" else "")


def operator_bars(rows: Sequence[dict[str, Any]], limit: int = 16) -> str:
    """Draw the time of each operator as horizontal bars.

    Args:
        rows: {"kernel", "ms", "calls"} of each operator, from top to bottom.
        limit: The most bars; beyond it the smallest become one.

    Returns:
        An ``<svg>`` element.
    """
    rows = [{"kernel": _calls(r), "ms": float(r["ms"])} for r in rows]
    if len(rows) > limit:
        kept = sorted(range(len(rows)), key=lambda i: -rows[i]["ms"])[: limit - 1]
        rest = [r for i, r in enumerate(rows) if i not in kept]
        rows = [rows[i] for i in sorted(kept)]
        rows.append({"kernel": f"{len(rest)} others", "ms": sum(r["ms"] for r in rest)})
    total = sum(r["ms"] for r in rows) or 1.0
    with svg.settings():
        figure = Figure(figsize=(WIDTH, 0.45 + 0.27 * len(rows)))
        axes = figure.add_subplot()
        axes.barh(range(len(rows)), [r["ms"] for r in rows], color=svg.BLUE, height=0.62)
        for i, row in enumerate(rows):
            share = f"{_number(row['ms'])} ms · {row['ms'] / total:.0%}"
            axes.annotate(share, (row["ms"], i), (5, 0), textcoords="offset points", va="center", color=svg.MUTED)
        axes.set_yticks(range(len(rows)), [svg.clean(r["kernel"], 50) for r in rows])
        axes.set_xticks([])
        axes.set_xlim(0, 1.35 * max(r["ms"] for r in rows) or 1)
        axes.invert_yaxis()
        svg.bare(axes)
        return svg.finish(figure, "operators", "Time of each operator in milliseconds")


def tuning_curve(history: Sequence[dict[str, Any]]) -> str:
    """Draw the best time so far against measured trials: of the whole network, and of its slowest kernels.

    A dot is a candidate.

    Args:
        history: The tuner's, {"task", "trial", "ms", "best_ms", "total_ms"} in order; a failed candidate has no ``ms``.

    Returns:
        An ``<svg>`` element.
    """
    tasks: dict[str, list[tuple[int, float | None, float | None]]] = {}
    for i, row in enumerate(history):
        tasks.setdefault(str(row["task"]), []).append((i + 1, row.get("ms"), row.get("best_ms")))
    # The lines that matter are those of the slow kernels; the rest would only be a tangle.
    finals = {t: next((b for _, _, b in reversed(p) if b is not None), 0.0) for t, p in tasks.items()}
    shown = sorted(tasks, key=lambda t: -finals[t])[:6]
    with svg.settings():
        figure = Figure(figsize=(WIDTH, 3.1))
        axes = figure.add_subplot()
        totals = [(i + 1, row["total_ms"]) for i, row in enumerate(history) if row.get("total_ms")]
        if totals:
            axes.step(*zip(*totals, strict=True), where="post", color=svg.INK, linewidth=2.2, label="all kernels")
        for i, task in enumerate(shown):
            colour, dash = svg.SERIES[i % 4], "-" if i < 4 else "--"
            dots = [(x, ms) for x, ms, _ in tasks[task] if ms is not None and 0 < ms < math.inf]
            best = [(x, b) for x, _, b in tasks[task] if b is not None and 0 < b < math.inf]
            if dots:
                axes.plot(*zip(*dots, strict=True), ".", color=colour, alpha=0.35, markersize=4)
            if best:
                axes.step(*zip(*best, strict=True), where="post", color=colour, linestyle=dash, linewidth=1.8,
                          label=svg.clean(task, 44))  # fmt: skip
        times = [v for t in shown for _, ms, best in tasks[t] for v in (ms, best) if v is not None]
        times += [total for _, total in totals]
        values = [v for v in times if 0 < v < math.inf]
        if values and max(values) > 4 * min(values):  # on less than that a log scale has hardly a tick
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: _number(v)))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("candidates measured", color=svg.MUTED)
        axes.set_ylabel("ms", color=svg.MUTED)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="upper left", bbox_to_anchor=(0, -0.17), frameon=False, labelcolor=svg.INK,
                        ncols=2 if len(shown) > 1 else 1, fontsize=8, handlelength=1.4, borderaxespad=0)  # fmt: skip
        svg.bare(axes, "both")
        return svg.finish(figure, "tuning", "Best time so far against the number of candidates measured")


def predicted_scatter(rows: Sequence[SpeedRow]) -> str:
    """Draw predicted against measured milliseconds; a point on the diagonal was predicted exactly.

    Args:
        rows: At least one network; that of this run stands out.

    Returns:
        An ``<svg>`` element.
    """
    points = [(r.measured, r.predicted, r.this) for r in rows]
    high = 1.08 * max(max(m, p) for m, p, _ in points)
    with svg.settings():
        figure = Figure(figsize=(3.9, 3.6))
        axes = figure.add_subplot()
        axes.plot([0, high], [0, high], color=svg.MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
        for this, colour, size in ((False, svg.BLUE, 5.0), (True, svg.ORANGE, 7.0)):
            chosen = [(m, p) for m, p, t in points if t == this]
            if chosen:
                axes.plot(*zip(*chosen, strict=True), "o", color=colour, markersize=size,
                          label="this network" if this else "other architectures")  # fmt: skip
        axes.set_xlim(0, high)
        axes.set_ylim(0, high)
        axes.set_aspect("equal")
        axes.set_xlabel("measured, ms", color=svg.MUTED)
        axes.set_ylabel("predicted, ms", color=svg.MUTED)
        if any(t for _, _, t in points):
            axes.legend(loc="upper left", frameon=False, labelcolor=svg.INK, fontsize=8, handletextpad=0.2)
        svg.bare(axes, "both")
        return svg.finish(figure, "speed", "Predicted against measured milliseconds")
