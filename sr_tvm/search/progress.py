"""What a search tells of itself, step by step and in its history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sr_tvm.records.architecture import Architecture


@dataclass(frozen=True)
class SearchProgress:
    """How far a search has come after ``step`` of ``steps``.

    ``phase`` is its name, ``loss`` the L1 loss (the mean since the last row of the history), ``latency`` that of what
    is kept and ``target`` where it should be, both in the speed model's unit (no target outside of a search). ``due``
    tells whether this is a row of the history, and ``psnr``, in dB, is there on a validation.
    """

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
    """Build a row of the history.

    Args:
        step: Steps done.
        phase: Its name.
        loss: The mean L1 loss since the last row.
        latency: Of what is kept, in the speed model's unit.
        target: Of the latency, in the same unit; None outside of a search.
        a: What is kept.

    Returns:
        A JSON object.
    """
    row = {"step": step, "phase": phase, "loss": loss, "latency": latency, "target": target}
    return row | {"channels": a.channels, "blocks": [[b.expand, b.linear] for b in a.blocks]}
