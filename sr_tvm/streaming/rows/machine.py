"""What the lowering and its cost model know of a processor."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Processor:
    """One core, in terms of its vectors.

    Attributes:
        lanes: float32 in a vector.
        registers: vector registers.
        l2_bytes: of the second-level cache.
        l3_bytes_per_fma, memory_bytes_per_fma: bytes that move in the time of one vector FMA, from the third level and from memory. Measured on Zen 4 with
            kernels of one to six blocks; they rank cuts and need not be exact.
    """

    lanes: int
    registers: int
    l2_bytes: int = 1 << 20
    l3_bytes_per_fma: float = 11.0
    memory_bytes_per_fma: float = 2.7
