"""What a search tells of itself, step by step and in its history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sr_tvm.records.architecture import Architecture


@dataclass(frozen=True)
class SearchProgress:
    """After ``step`` of ``steps``: the phase, the loss (L1, mean since the last row of the history), the latency of
    what is kept and its target in the speed model's unit, the architecture, whether this is a row of the history, and
    on a validation the PSNR in dB."""

    step: int
    steps: int
    phase: str
    loss: float
    latency: float
    target: float | None
    architecture: Architecture
    due: bool
    psnr: float | None


def history_row(
    step: int, phase: str, loss: float, latency: float, target: float | None, a: Architecture
) -> dict[str, Any]:
    """A line of the history."""
    row = {"step": step, "phase": phase, "loss": loss, "latency": latency, "target": target}
    return row | {"channels": a.channels, "blocks": [[b.expand, b.linear] for b in a.blocks]}
