"""Instruction sets by LLVM's names, as `sr_processor.h` asks the processor for them."""

from __future__ import annotations

from collections.abc import Sequence

# XCR0: the system saves vectors of 256 and of 512 bits.
_YMM, _ZMM = 0x6, 0xE6
_EAX, _EBX, _ECX, _EDX = range(4)

# leaf, subleaf, register, bit, state.
X86: dict[str, tuple[int, int, int, int, int]] = {
    "sse4.1": (1, 0, _ECX, 19, 0),
    "sse4.2": (1, 0, _ECX, 20, 0),
    "movbe": (1, 0, _ECX, 22, 0),
    "popcnt": (1, 0, _ECX, 23, 0),
    "fma": (1, 0, _ECX, 12, _YMM),
    "avx": (1, 0, _ECX, 28, _YMM),
    "f16c": (1, 0, _ECX, 29, _YMM),
    "bmi": (7, 0, _EBX, 3, 0),
    "avx2": (7, 0, _EBX, 5, _YMM),
    "bmi2": (7, 0, _EBX, 8, 0),
    "avx512f": (7, 0, _EBX, 16, _ZMM),
    "avx512dq": (7, 0, _EBX, 17, _ZMM),
    "avx512ifma": (7, 0, _EBX, 21, _ZMM),
    "avx512cd": (7, 0, _EBX, 28, _ZMM),
    "avx512bw": (7, 0, _EBX, 30, _ZMM),
    "avx512vl": (7, 0, _EBX, 31, _ZMM),
    "avx512vbmi": (7, 0, _ECX, 1, _ZMM),
    "avx512vbmi2": (7, 0, _ECX, 6, _ZMM),
    "gfni": (7, 0, _ECX, 8, 0),
    "avx512vnni": (7, 0, _ECX, 11, _ZMM),
    "avx512bitalg": (7, 0, _ECX, 12, _ZMM),
    "avx512vpopcntdq": (7, 0, _ECX, 14, _ZMM),
    "avx512fp16": (7, 0, _EDX, 23, _ZMM),
    "avx512bf16": (7, 1, _EAX, 5, _ZMM),
    "avxvnni": (7, 1, _EAX, 4, _YMM),
    "lzcnt": (0x80000001, 0, _ECX, 5, 0),
}
# Bits of HWCAP.
AARCH64: dict[str, tuple[int, int, int, int, int]] = {"fullfp16": (0, 0, 0, 10, 0)}
TABLES = {"x86_64": X86, "aarch64": AARCH64}


def rows(machine: str, features: Sequence[str]) -> list[tuple[int, int, int, int, int]]:
    """List the entries of C's table for the instruction sets that a processor can lack.

    Args:
        machine: As ``uname -m`` says it.
        features: Instruction sets that the kernels use, by LLVM's names.

    Returns:
        (leaf, subleaf, register, bit, state) of each, as `sr_processor.h` reads them; without what every such processor
        has.
    """
    return [row for name, row in TABLES.get(machine, {}).items() if name in features]
