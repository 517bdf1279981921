"""The drawings say what they were given, for any depth and any widths."""

from __future__ import annotations

import random
import re

import pytest

from sr_tvm.records.architecture import Architecture, Block
from sr_tvm.report import figures, svg
from sr_tvm.report.architecture_figure import architecture_svg, draw

_r = random.Random(3)
IRREGULAR = Architecture(4, 24, tuple(Block(_r.randint(1, 400), _r.randint(1, 40)) for _ in range(16)))
NETS = [Architecture(2, 16, ()), Architecture(3, 8, (Block(1, 1),)), Architecture.uniform(2, 3, 24), IRREGULAR,
        Architecture(2, 4096, (Block(4096, 1),))]  # fmt: skip


def labels(drawing: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", drawing)


@pytest.mark.parametrize("net", NETS, ids=lambda a: f"{len(a.blocks)}-blocks-{a.channels}")
def test_every_layer_is_drawn_with_its_width(net: Architecture) -> None:
    drawn = labels(architecture_svg(net))
    widths = sorted(int(w) for w in drawn if w.isdigit())
    assert widths == sorted(cout for _, _, cout, _ in net.convolutions)
    assert sum(w.startswith("block ") for w in drawn) == len(net.blocks)
    assert f"shuffle ×{net.scale}" in drawn


@pytest.mark.parametrize("net", NETS, ids=lambda a: f"{len(a.blocks)}-blocks-{a.channels}")
def test_heights_go_with_widths_and_nothing_is_cut_off(net: Architecture) -> None:
    axes = draw(net).axes[0]
    boxes = [p for p in axes.patches if type(p).__name__ == "FancyBboxPatch" and p.get_width() == 0.2]
    layers = net.convolutions[:-1]  # the skip is drawn last, with a limited height
    heights = [b.get_height() for b in boxes[: len(layers)]]
    order = sorted(zip((cout for _, _, cout, _ in layers), heights, strict=True))
    assert all(a[1] <= b[1] and (a[0] == b[0]) == (a[1] == b[1]) for a, b in zip(order, order[1:], strict=False))
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    for box in boxes:
        assert left <= box.get_x() and box.get_x() + box.get_width() <= right
        assert bottom <= box.get_y() and box.get_y() + box.get_height() <= top
    for a in boxes:
        for b in boxes:
            apart_x = a.get_x() + a.get_width() <= b.get_x() or b.get_x() + b.get_width() <= a.get_x()
            apart_y = a.get_y() + a.get_height() <= b.get_y() or b.get_y() + b.get_height() <= a.get_y()
            assert a is b or apart_x or apart_y


def test_colours_are_left_to_the_page() -> None:
    drawing = figures.operator_bars([{"kernel": "conv", "ms": 1.0}])
    assert "var(--blue)" in drawing and "var(--muted)" in drawing
    assert not any(stand_in in drawing for stand_in in (svg.INK, svg.MUTED, svg.GRID, svg.BLUE))
    assert "xmlns" not in drawing and "http" not in drawing


def test_operator_bars_add_up() -> None:
    drawn = labels(figures.operator_bars([{"kernel": f"k{i}", "ms": float(i)} for i in range(30)], limit=10))
    assert "21 others" in drawn and "k29" in drawn and "k20" not in drawn
    assert any(w.startswith("210 ms") for w in drawn), drawn  # 0 + 1 + ... + 20


@pytest.mark.parametrize("rows", [[{"kernel": "a", "ms": 0.0}], [{"kernel": "$\\frac{$", "ms": 1e-9}]])
def test_operator_bars_of_odd_rows(rows: list[dict]) -> None:
    assert figures.operator_bars(rows).startswith("<svg")


def test_tuning_curve_of_failures_only() -> None:
    drawn = figures.tuning_curve([{"task": "t", "trial": 0, "ms": None, "best_ms": None}])
    assert "candidates measured" in drawn


def test_labels_are_cut_and_cleaned() -> None:
    assert svg.clean("a\x00b\nc") == "a b c"
    long = svg.clean("fused_" + "x" * 100 + "_end", 30)
    assert len(long) == 30 and long.startswith("fused_") and long.endswith("_end")
