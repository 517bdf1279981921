"""The figure of the fusion benchmark: time and intermediate bytes at each depth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from sr_tvm.report import svg
from sr_tvm.system.files import atomic_file

# The light colours of the report's page.
COLOURS = {svg.INK: "#1d1f21", svg.MUTED: "#6a6f75", svg.GRID: "#e5e5e2", svg.BLUE: "#3f72af", svg.ORANGE: "#d9822b"}


def draw(rows: list[dict[str, Any]], path: Path, title: str) -> None:
    """Bars of ``ms`` and ``intermediate_bytes`` for the rows in order, written to ``path`` (.svg or .png).

    A row without a time has no bar, and says so.
    """
    with svg.settings():
        figure = Figure(figsize=(7.6, 0.9 + 0.42 * len(rows)), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        times = [r["ms"] for r in rows]
        _bars(left, times, [f"{v:,.1f} ms" if v else "not measured" for v in times], svg.BLUE, "time of one run")
        sizes = [r["intermediate_bytes"] / 2**20 if r["intermediate_bytes"] is not None else None for r in rows]
        words = [_size(r["intermediate_bytes"], r["kernels"]) for r in rows]
        _bars(right, sizes, words, svg.ORANGE, "bytes from kernel to kernel")
        left.set_yticks(range(len(rows)), [svg.clean(r["depth"]) for r in rows])
        left.invert_yaxis()
        figure.suptitle(svg.clean(title, 100), x=0.01, ha="left", color=COLOURS[svg.INK], fontsize=9)
        _recolour(figure)
        with atomic_file(path) as partial:
            kind = path.suffix[1:]
            metadata = {"Date": None} if kind == "svg" else {}
            figure.savefig(partial, format=kind, dpi=160, facecolor="white", metadata=metadata)


def _bars(axes: Any, values: list[float | None], words: list[str], colour: str, title: str) -> None:
    axes.barh(range(len(values)), [v or 0 for v in values], color=colour, height=0.62)
    for i, (value, text) in enumerate(zip(values, words, strict=True)):
        axes.annotate(text, (value or 0, i), (4, 0), textcoords="offset points", va="center", color=svg.MUTED)
    axes.set_xlim(0, 1.5 * max((v for v in values if v), default=1.0))
    axes.set_xticks([])
    axes.set_title(title, loc="left", fontsize=9, color=svg.INK)
    svg.bare(axes)


def _size(count: int | None, kernels: int | None) -> str:
    if count is None:
        return "not measured"
    return f"{count / 2**20:,.1f} MiB, {kernels} kernel{'s' * (kernels != 1)}"


def _recolour(figure: Figure) -> None:
    """The placeholder colours of the report's figures as real ones: this figure stands on no page."""
    import matplotlib.colors as colours

    for part in figure.findobj():
        for name in ("color", "facecolor", "edgecolor"):
            get, put = getattr(part, f"get_{name}", None), getattr(part, f"set_{name}", None)
            if get and put:
                try:
                    old = colours.to_hex(get())
                except (ValueError, TypeError):
                    continue
                if old in COLOURS:
                    put(COLOURS[old])
