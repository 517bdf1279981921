"""What a work-group, and a work-item of it, may take of a GPU."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What a work-group, and a work-item of it, may take of a family of GPUs.

    Attributes:
        local_bytes: Local memory of a work-group.
        items: Work-items of a work-group.
        registers: Vectors of four float32 that a work-item has without spilling.
    """

    local_bytes: int = 32768
    items: int = 256
    registers: int = 29  # of Adreno's 32 that let four waves run


MALI = Limits(registers=16)  # 64 registers of 32 bits
PC = Limits(registers=32)
