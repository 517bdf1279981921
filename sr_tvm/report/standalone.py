"""A drawing of the page as a file of its own: on white, with the page's light colours in place of its variables."""

from __future__ import annotations

from pathlib import Path

from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text

from sr_tvm.records.architecture import Architecture
from sr_tvm.report import svg
from sr_tvm.report.architecture_figure import draw

# As in page.css, light.
COLOURS = {
    svg.INK: "#1d1f21", svg.MUTED: "#6a6f75", svg.GRID: "#e5e5e2", svg.PAPER: "#ffffff",
    svg.BLUE: "#3f72af", svg.ORANGE: "#d9822b", svg.GREEN: "#4c9568", svg.VIOLET: "#8a78b8",
}  # fmt: skip
DPI = 200


def _paint(figure: Figure) -> None:
    """Replace the placeholder colours of everything in ``figure`` by the page's light ones."""
    parts = figure.findobj()
    # An annotation's arrow is not among its children.
    parts += [arrow for part in parts if (arrow := getattr(part, "arrow_patch", None)) is not None]
    for part in parts:
        if isinstance(part, Patch):
            faces, edges = to_hex(part.get_facecolor(), True), to_hex(part.get_edgecolor(), True)
            if faces[:7] in COLOURS:
                part.set_facecolor(COLOURS[faces[:7]])
            if edges[:7] in COLOURS:
                part.set_edgecolor(COLOURS[edges[:7]])
        elif isinstance(part, Line2D | Text):
            colour = to_hex(part.get_color())
            part.set_color(COLOURS.get(colour, colour))


def write_architecture(architecture: Architecture, path: Path, kind: str) -> None:
    """Draw an architecture into a file of its own; equal networks make equal files.

    Args:
        architecture: The network.
        path: Of the file. Not atomic: give it a partial file.
        kind: "svg" or "png".
    """
    with svg.settings():
        figure = draw(architecture)
        _paint(figure)
        metadata = {"Date": None} if kind == "svg" else {"Software": None}
        figure.savefig(path, format=kind, dpi=DPI, facecolor="#ffffff", bbox_inches="tight", pad_inches=0.05,
                       metadata=metadata)  # fmt: skip
