"""The tables of models/README.md, out of the rows and the summary of the quality benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.quality.quality_rows import BICUBIC, OUTPUT, SETS
from sr_tvm.errors import SrTvmError
from sr_tvm.system.files import atomic_file

SCORES, GOALS = "scores", "goals"
# By the input that makes 1280x720: the DSP has a surrogate for each.
DEVICES = {
    "S21 GPU": ("galaxy-s21",),
    "S10 GPU": ("galaxy-s10",),
    "S10 DSP": ("galaxy-s10-dsp", "galaxy-s10-dsp-x4"),
}


def table(rows: list[dict[str, Any]]) -> str:
    """Bicubic and the shipped models, a line each, as Markdown."""
    told = any("seen_pixels" in r for r in rows)
    head = ["model", "scale", "parameters", f"MACs for {OUTPUT}", *(f"{name}, ms" for name in DEVICES), *SETS, "how"]
    head += ["LR pixels seen", "minutes"] if told else []
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    shown = [r for r in rows if r["shipped"] or r["model"] == BICUBIC]
    for name, scale in dict.fromkeys((r["model"], r["scale"]) for r in shown):
        own = {r["set"]: r for r in shown if (r["model"], r["scale"]) == (name, scale)}
        one = next(iter(own.values()))
        macs = f"{one['macs'] / 1e9:.2f} G" if one["macs"] else "0"
        cells = [name if name == BICUBIC else f"`{name}`", f"x{scale}", f"{one['params']:,}", macs]
        for models in DEVICES.values():
            ms = next((one["predicted_ms"][m] for m in models if m in one["predicted_ms"]), None)
            cells.append("" if ms is None else f"{ms:.1f}")
        for s in SETS:
            cells.append(f"{own[s]['psnr_y']:.2f} / {own[s]['ssim_y']:.4f}" if s in own else "")
        cells.append(one["trained"] or "")
        if told:
            spent, pixels = one.get("spent"), one.get("seen_pixels")
            cells.append(f"{pixels / 1e6:,.0f} M" if pixels else "")
            cells.append(f"{spent['minutes']:,.0f} of {spent['device']}" if spent else "")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def goals(found: list[dict[str, Any]]) -> str:
    """What the paper has and the best of ours beside it, as Markdown; ``found`` is ``goals`` of the summary."""
    lines = ["| the paper's row | the paper | ours | difference |", "|---" * 4 + "|"]
    for g in found:
        paper, less = g["published"], g["difference"]
        title = f"{g['goal']} ({g['note']})" if g["note"] else g["goal"]
        theirs = " / ".join(f"{paper[s]:.2f}" for s in SETS)
        ours = " / ".join(f"{paper[s] + less[s]:.2f}" for s in SETS if s in less)
        ours = f"`{g['best']}` ({g['params']:,}) {ours}" if g["best"] else "none"
        lines.append(f"| {title} | {theirs} | {ours} | {' / '.join(f'{less[s]:+.2f}' for s in SETS if s in less)} |")
    return "\n".join(lines)


def tables(rows: list[dict[str, Any]], summary: dict[str, Any]) -> dict[str, str]:
    """All tables, by the name of their place."""
    return {SCORES: table(rows), GOALS: goals(summary["goals"])}


def marks(name: str) -> tuple[str, str]:
    """The lines before and after the table ``name``."""
    return f"<!-- {name}: written by make bench NAME=quality -->", f"<!-- end of {name} -->"


def between(text: str, name: str, where: str) -> tuple[int, int]:
    """Where the table ``name`` begins and ends in ``text``.

    Raises:
        SrTvmError: the marks are not there, each once and in order.
    """
    before, after = marks(name)
    if text.count(before) != 1 or text.count(after) != 1 or text.index(before) > text.index(after):
        raise SrTvmError(f"{where}: the table's place is between a line {before!r} and a line {after!r}; add them")
    return text.index(before) + len(before), text.index(after)


def write(path: Path, rows: list[dict[str, Any]], summary: dict[str, Any]) -> None:
    """Put the tables in their places.

    Raises:
        SrTvmError: the file cannot be read or has no such place, or cannot be written.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SrTvmError(f"{path}: cannot be read: {error.strerror or error}") from None
    for name, told in tables(rows, summary).items():
        begin, end = between(text, name, str(path))
        text = f"{text[:begin]}\n{told}\n{text[end:]}"
    with atomic_file(path) as partial:
        partial.write_text(text, encoding="utf-8")
