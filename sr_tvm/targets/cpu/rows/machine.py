"""What the lowering and its cost model know of a processor."""

from __future__ import annotations

from dataclasses import dataclass

import tvm
from tvm.target import codegen

# The first feature a processor has tells the float32 in its vectors and its vector registers.
VECTORS = {"avx512f": (16, 32), "avx2": (8, 16), "avx": (8, 16), "neon": (4, 32), "": (4, 16)}


@dataclass(frozen=True)
class CpuCore:
    """One core, in terms of its vectors.

    Attributes:
        lanes: float32 in a vector.
        registers: vector registers.
        l2_bytes, l3_bytes: of the second-level cache, and of a core's share of the third.
        l3_bytes_per_fma, memory_bytes_per_fma: bytes that move in the time of one vector FMA, from the third level and
            from memory. Measured on Zen 4 with kernels of one to six blocks; they rank cuts and need not be exact.
    """

    lanes: int
    registers: int
    l2_bytes: int = 1 << 20
    l3_bytes: int = 8 << 20
    l3_bytes_per_fma: float = 11.0
    memory_bytes_per_fma: float = 2.7


def processor_of(target: tvm.target.Target, l2_bytes: int = 1 << 20) -> CpuCore:
    """Find out what vectors LLVM may use for a target.

    Args:
        target: An LLVM target; its features decide.
        l2_bytes: Size of a core's second-level cache.

    Returns:
        The core, its third-level cache and the speeds of its memory as they are by default.
    """
    features = {str(name) for name in codegen.llvm_get_cpu_features(target)}
    lanes, registers = next(vectors for name, vectors in VECTORS.items() if name in features or not name)
    return CpuCore(lanes, registers, l2_bytes)
