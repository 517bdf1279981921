"""The figure of the quality benchmark: PSNR on Set5 against steps, of every training that models/history tells of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from benchmarks.latency.fusion_figure import COLOURS
from recipes import ship
from recipes.recipe import PLAIN_37K
from sr_tvm.report import svg
from sr_tvm.system.files import atomic_file

STYLES = {100: "-", 70: "--", 40: ":"}  # by budget
INK, MUTED, GRID = (COLOURS[name] for name in (svg.INK, svg.MUTED, svg.GRID))
# By device, searched and plain.
PAIRS = {"galaxy-s21": (COLOURS[svg.BLUE], "#9db9d8"), "galaxy-s10-dsp": ("#4c9a6a", "#a5cdb4")}
SCALES = (2, 4)
LAST = 0.05  # of the PSNRs of a panel are below it: the first steps would flatten all the others


def panels(histories: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The histories by the panel that they are drawn in; panels with nothing to draw are left out."""
    scored = [h for h in histories if any("psnr" in row for row in h["training"]["rows"])]
    found = {f"x{scale}": [h for h in scored if h["scale"] == scale and h["role"] != ship.SCALED] for scale in SCALES}
    found["the plain 37K network with all, a tenth and a hundredth of the steps"] = [
        h for h in scored if h["role"] == ship.SCALED or (h["name"] == PLAIN_37K and h["role"] == ship.PLAIN)
    ]
    return {title: lines for title, lines in found.items() if lines}


def draw(histories: list[dict[str, Any]], path: Path) -> bool:
    """Write the figure to ``path`` (.svg or .png); whether there was anything to draw."""
    found = panels(histories)
    if not found:
        return False
    with svg.settings():
        figure = Figure(figsize=(8.6, 3.1 * len(found)), layout="constrained")
        for axes, (title, lines) in zip(figure.subplots(len(found), squeeze=False)[:, 0], found.items(), strict=True):
            _panel(axes, title, lines)
        with atomic_file(path) as partial:
            kind = path.suffix[1:]
            metadata = {"Date": None} if kind == "svg" else {}
            figure.savefig(partial, format=kind, dpi=160, facecolor="white", metadata=metadata)
    return True


def _panel(axes: Any, title: str, histories: list[dict[str, Any]]) -> None:
    """A line for each history, the best at the top of the legend."""
    curves = []
    for history in histories:
        points = [(row["step"], row["psnr"]) for row in history["training"]["rows"] if "psnr" in row]
        curves.append((points[-1][1], history, points))
    for last, history, points in sorted(curves, key=lambda curve: -curve[0]):
        steps, psnr = zip(*points, strict=True)
        label = svg.clean(f"{last:.2f} {history['name']}", 60)
        style = STYLES.get(history["budget"], "-") if len(points) > 1 else "."
        axes.plot(steps, psnr, style, color=_colour(history), linewidth=1.3, label=label)
    every = sorted(psnr for _, _, points in curves for _, psnr in points)
    axes.set_ylim(bottom=every[int(LAST * len(every))] - 0.02)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda step, place: f"{step:,.0f}")
    axes.xaxis.set_minor_formatter(lambda step, place: "")
    axes.set_title(f"PSNR-Y on Set5 in dB, {title}", loc="left", fontsize=9, color=INK)
    axes.set_xlabel("step of the training, which a search comes before", color=MUTED)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize=7.5, labelcolor=INK)
    svg.bare(axes)
    axes.tick_params(which="both", length=0, colors=MUTED, labelcolor=INK)
    axes.grid(axis="both", color=GRID, linewidth=0.8)


def _colour(history: dict[str, Any]) -> str:
    searched, plain = PAIRS.get(history["device"], (MUTED, MUTED))
    return searched if history["role"] == ship.SEARCHED else plain
