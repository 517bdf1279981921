"""The architecture drawn as in the paper's figure A1: the chain of blocks, every layer a box as high as it is wide.

Coordinates are inches. The chain runs left to right and goes on in the next row after ``PER_ROW`` blocks; the skip
from the input runs in a lane of its own below the last row.
"""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch, PathPatch
from matplotlib.path import Path

from sr_tvm.records.architecture import COLOURS, Architecture
from sr_tvm.report import svg

PER_ROW = 6
BOX, GAP, STEP = 0.2, 0.055, 0.3  # width of a box, between the boxes of a block, between blocks
TALL, LEAST = 1.25, 0.09  # height of the widest layer, of a layer of one channel
LEFT, ROW_GAP, LANE = 0.55, 0.85, 0.62


class _Pen:
    """Draws at a moving x on the row's centre line."""

    def __init__(self, axes: Any, widest: int) -> None:
        self.axes, self.widest = axes, widest
        self.x, self.y = LEFT, 0.0

    def height(self, channels: int) -> float:
        return LEAST + (TALL - LEAST) * channels / self.widest

    def line(self, *points: tuple[float, float], colour: str = svg.MUTED, arrow: bool = False) -> None:
        xs, ys = zip(*points, strict=True)
        self.axes.plot(xs, ys, color=colour, linewidth=0.9, solid_joinstyle="round", zorder=1)
        if arrow:
            self.axes.annotate("", points[-1], points[-2], zorder=3,
                               arrowprops={"arrowstyle": "-|>", "color": colour, "lw": 0.9, "shrinkA": 0, "shrinkB": 0,
                                           "mutation_scale": 7})  # fmt: skip

    def text(self, x: float, y: float, words: str, colour: str = svg.INK, **how: Any) -> None:
        self.axes.text(x, y, words, color=colour, ha=how.pop("ha", "center"), fontsize=how.pop("fontsize", 7.5), **how)

    def box(self, channels: int, colour: str, name: str = "") -> None:
        """Draw a layer at the current place; its output channels above, ``name`` below."""
        tall = self.height(channels)
        shape = FancyBboxPatch((self.x, self.y - tall / 2), BOX, tall, boxstyle="round,pad=0,rounding_size=0.03",
                               facecolor=colour, edgecolor="none", zorder=2)  # fmt: skip
        self.axes.add_patch(shape)
        self.text(self.x + BOX / 2, self.y + tall / 2 + 0.04, str(channels), va="bottom")
        if name:
            self.text(self.x + BOX / 2, self.y - tall / 2 - 0.04, name, svg.MUTED, va="top", fontsize=7)
        self.x += BOX

    def plus(self) -> float:
        """Draw a circled plus.

        Returns:
            The x of its centre, in inches.
        """
        centre = self.x + 0.07
        self.axes.add_patch(Circle((centre, self.y), 0.07, facecolor=svg.PAPER, edgecolor=svg.MUTED, lw=0.9, zorder=3))
        self.text(centre, self.y - 0.004, "+", va="center", fontsize=7.5, zorder=4)
        self.x += 0.14
        return centre

    def ahead(self, length: float) -> None:
        self.line((self.x, self.y), (self.x + length, self.y))
        self.x += length


def _block(pen: _Pen, number: int, expand: int, linear: int, channels: int) -> None:
    start = pen.x - STEP / 2
    for width, colour in ((expand, svg.BLUE), (linear, svg.ORANGE), (channels, svg.GREEN)):
        pen.box(width, colour)
        pen.ahead(GAP)
    end = pen.plus()
    top = pen.y + TALL / 2 + 0.34
    bend = 0.12
    arc = Path(
        [(start, pen.y), (start, top - bend), (start, top), (start + bend, top),
         (end - bend, top), (end, top), (end, top - bend), (end, pen.y + 0.07)],
        [Path.MOVETO, Path.LINETO, Path.CURVE3, Path.CURVE3, Path.LINETO, Path.CURVE3, Path.CURVE3, Path.LINETO],
    )  # fmt: skip
    pen.axes.add_patch(PathPatch(arc, facecolor="none", edgecolor=svg.MUTED, lw=0.9, zorder=1))
    pen.text((start + end) / 2, top + 0.03, f"block {number}", svg.MUTED, va="bottom", fontsize=7)


def _wrap(pen: _Pen) -> None:
    """Draw the line from the end of a row to the start of the next."""
    below = pen.y - TALL / 2 - 0.2
    start = LEFT - 0.15
    next_y = pen.y - TALL - ROW_GAP
    pen.line((pen.x, pen.y), (pen.x, below), (start, below), (start, next_y), (LEFT + 0.02, next_y))
    pen.x, pen.y = LEFT + 0.02, next_y


def draw(architecture: Architecture) -> Figure:
    """Draw an architecture of any depth from 0 and any widths. Box heights are proportional to channels.

    Args:
        architecture: The network.

    Returns:
        A figure in placeholder colours, which svg.py or standalone.py replaces; an inch is a unit.
    """
    a, out = architecture, COLOURS * architecture.scale**2
    widest = max([a.channels, out, *(b.expand for b in a.blocks), *(b.linear for b in a.blocks)])
    figure = Figure()
    axes = figure.add_axes((0, 0, 1, 1))
    pen = _Pen(axes, widest)
    pen.text(0.0, 0.0, "LR", va="center", fontsize=8)
    pen.line((0.12, 0), (LEFT, 0))
    pen.box(a.channels, svg.VIOLET, "head")
    pen.ahead(STEP)
    right = pen.x
    for i, block in enumerate(a.blocks):
        if i and i % PER_ROW == 0:
            right = max(right, pen.x)
            _wrap(pen)
            pen.ahead(STEP)
        _block(pen, i + 1, block.expand, block.linear, a.channels)
        pen.ahead(STEP)
    pen.box(out, svg.VIOLET, "tail")
    pen.ahead(0.16)
    join = pen.plus()
    pen.ahead(0.2)
    _skip(pen, join, out)
    pen.text(pen.x + 0.04, pen.y, f"shuffle ×{a.scale}", svg.INK, ha="left", va="center")
    end = pen.x + 0.72
    pen.line((end, pen.y), (end + 0.22, pen.y), arrow=True)
    pen.text(end + 0.26, pen.y, "HR", ha="left", va="center", fontsize=8)
    _frame(figure, axes, max(right, end + 0.5), pen.y - TALL / 2 - LANE - 0.26, bool(a.blocks))
    return figure


def _skip(pen: _Pen, join: float, out: int) -> None:
    """Draw the 5x5 from the input, in its lane under the last row, up into the plus at ``join``."""
    lane = pen.y - TALL / 2 - LANE
    high = min(pen.height(out), 0.4)
    middle = (0.2 + join) / 2
    pen.line((0.2, 0), (0.2, lane), (join, lane), (join, pen.y - 0.07), arrow=True)
    shape = FancyBboxPatch((middle - BOX / 2, lane - high / 2), BOX, high, boxstyle="round,pad=0,rounding_size=0.03",
                           facecolor=svg.VIOLET, edgecolor="none", zorder=2)  # fmt: skip
    pen.axes.add_patch(shape)
    pen.text(middle, lane + high / 2 + 0.04, str(out), va="bottom")
    pen.text(middle + BOX, lane - 0.04, "skip 5×5", svg.MUTED, va="top", ha="left", fontsize=7)


def _frame(figure: Figure, axes: Any, right: float, bottom: float, blocks: bool) -> None:
    """Set the limits and draw the legend; one unit is one inch."""
    top = TALL / 2 + 0.85
    names = [("head, tail 3×3; skip 5×5", svg.VIOLET)]
    if blocks:
        names += [("expand 1×1, ReLU", svg.BLUE), ("linear 1×1", svg.ORANGE), ("3×3 back", svg.GREEN)]
    x = 0.0
    for words, colour in names:
        axes.add_patch(FancyBboxPatch((x, top - 0.14), 0.1, 0.1, boxstyle="round,pad=0,rounding_size=0.02",
                                      facecolor=colour, edgecolor="none"))  # fmt: skip
        axes.text(x + 0.15, top - 0.09, words, va="center", ha="left", fontsize=7.5, color=svg.INK)
        x += 0.33 + 0.053 * len(words)
    right = max(right, x)
    axes.set_xlim(-0.12, right)
    axes.set_ylim(bottom, top)
    axes.set_axis_off()
    figure.set_size_inches(right + 0.12, top - bottom)


def architecture_svg(architecture: Architecture) -> str:
    """Draw an architecture as an element of the page that is not scaled below legibility.

    Args:
        architecture: The network.

    Returns:
        An ``<svg>`` element.
    """
    a = architecture
    words = ", ".join(f"{b.expand}/{b.linear}" for b in a.blocks) or "none"
    with svg.settings():
        figure = draw(a)
        least = min(int(figure.get_size_inches()[0] * 82), 760)
        title = f"WDSR x{a.scale}, {a.channels} channels, blocks (expand/linear): {words}"
        return svg.finish(figure, "architecture", title, least)
