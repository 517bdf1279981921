"""The table of models/README.md, out of the rows of the quality benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.quality_rows import BICUBIC, OUTPUT, SETS
from sr_tvm.errors import SrTvmError
from sr_tvm.files import atomic_file

BEGIN, END = "<!-- scores: written by make bench NAME=quality -->", "<!-- end of scores -->"
# By the input that makes 1280x720: the DSP has a stand-in for each.
DEVICES = {
    "S21 GPU": ("galaxy-s21",),
    "S10 GPU": ("galaxy-s10",),
    "S10 DSP": ("galaxy-s10-dsp", "galaxy-s10-dsp-x4"),
}


def table(rows: list[dict[str, Any]]) -> str:
    """Bicubic and the shipped models, a line each, as Markdown."""
    head = ["model", "scale", "parameters", f"MACs for {OUTPUT}", *(f"{name}, ms" for name in DEVICES), *SETS, "how"]
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
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def between(text: str, where: str) -> tuple[int, int]:
    """Where the table begins and ends in ``text``.

    Raises:
        SrTvmError: the marks are not there, each once and in order.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise SrTvmError(f"{where}: the table's place is between a line {BEGIN!r} and a line {END!r}; add them")
    return text.index(BEGIN) + len(BEGIN), text.index(END)


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    """Put the table of ``rows`` in its place.

    Raises:
        SrTvmError: the file cannot be read or has no such place, or cannot be written.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SrTvmError(f"{path}: cannot be read: {error.strerror or error}") from None
    begin, end = between(text, str(path))
    with atomic_file(path) as partial:
        partial.write_text(f"{text[:begin]}\n{table(rows)}\n{text[end:]}", encoding="utf-8")
