"""Matplotlib figures as inline SVG that takes its colours and its font from the page.

A figure is drawn with placeholder colours; :func:`finish` turns them into CSS variables, so one drawing serves light
and dark pages. Ids get a prefix, since several drawings share the page, and namespaces go: HTML needs none.
"""

from __future__ import annotations

import io
import re
from typing import Any

import matplotlib
from matplotlib.figure import Figure

INK, MUTED, GRID, PAPER = "#010203", "#020304", "#030405", "#040506"
BLUE, ORANGE, GREEN, VIOLET = "#050607", "#060708", "#070809", "#08090a"
SERIES = (BLUE, ORANGE, GREEN, VIOLET)
_VARIABLES = {
    INK: "--ink", MUTED: "--muted", GRID: "--grid", PAPER: "--paper",
    BLUE: "--blue", ORANGE: "--orange", GREEN: "--green", VIOLET: "--violet",
}  # fmt: skip
# parse_math off: a kernel's name may hold dollar signs. Text stays text: small, selectable, in the page's font.
_SETTINGS: dict[str, Any] = {"svg.fonttype": "none", "svg.hashsalt": "sr-tvm", "text.parse_math": False,
                             "axes.formatter.use_mathtext": False, "font.size": 9}  # fmt: skip
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def clean(text: Any, limit: int = 40) -> str:
    """Make a label of a text: one line, without control characters.

    Args:
        text: Anything that has a text.
        limit: The most characters; the middle of what is longer is left out.

    Returns:
        Plain text, not escaped.
    """
    line = _CONTROL.sub(" ", str(text))
    if len(line) <= limit:
        return line
    head = (limit - 1) * 2 // 3
    return f"{line[:head]}…{line[head + 1 - limit :]}"


def settings() -> Any:
    """Make the context that figures are drawn in, for a ``with`` statement.

    Returns:
        A context manager of matplotlib's settings.
    """
    return matplotlib.rc_context(_SETTINGS)  # type: ignore[arg-type]


def bare(axes: Any, grid: str = "") -> None:
    """Leave only what is read of a chart: no box, thin lines of the grid.

    Args:
        axes: Of matplotlib; changed.
        grid: Which lines of the grid: "x", "y", "both" or "" for none.
    """
    for side in axes.spines.values():
        side.set_visible(False)
    axes.tick_params(length=0, colors=MUTED, labelcolor=INK)
    axes.set_axisbelow(True)
    axes.patch.set_visible(False)
    if grid:
        axes.grid(axis=grid, color=GRID, linewidth=0.8)


def finish(figure: Figure, prefix: str, title: str, min_width: int = 0) -> str:
    """Write a figure as an element of the page, its placeholder colours as CSS variables.

    Args:
        figure: Drawn in the context of :func:`settings`.
        prefix: Of the element's ids, other than that of any drawing on the page.
        title: Its description for readers who cannot see it.
        min_width: Below which it is not scaled, in CSS pixels.

    Returns:
        An ``<svg>`` element.
    """
    buffer = io.StringIO()
    with settings():
        figure.savefig(buffer, format="svg", transparent=True, bbox_inches="tight", pad_inches=0.03,
                       metadata={"Date": None})  # fmt: skip
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r'\s+xmlns(:\w+)?="[^"]*"', "", text, count=3)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.S).replace("xlink:href", "href")
    text = re.sub(r'(\bid="|url\(#|\bhref="#)', rf"\g<1>{prefix}-", text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    width = float(re.search(r'width="([\d.]+)pt"', text).group(1))  # type: ignore[union-attr]
    text = re.sub(r'\s(width|height)="[\d.]+pt"', "", text, count=2)
    style = f"max-width:{width * 4 / 3:.0f}px" + (f";min-width:{min_width}px" if min_width else "")
    label = clean(title, 200).replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    return text.replace("<svg", f'<svg role="img" aria-label="{label}" style="{style}"', 1)
