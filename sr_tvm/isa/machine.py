"""Records of machine code: a kernel's instructions, its loops and what the compiler says of it."""

from __future__ import annotations

from dataclasses import dataclass, field

Loops = list[tuple[int, int]]
KINDS = ("mac", "load", "store", "mov", "int", "float", "flow", "nop")
MEMORIES = ("global", "local", "constant", "image", "private")


def outer_first(loops: Loops) -> Loops:
    """Sort loops by their beginnings; of those that begin together the outer comes first.

    Args:
        loops: Ranges (first, last) of instructions.

    Returns:
        The same ranges.
    """
    return sorted(loops, key=lambda loop: (loop[0], -loop[1]))


@dataclass(frozen=True)
class Instruction:
    """One instruction of the text.

    Attributes:
        kind: One of ``KINDS``.
        work: Issue slots of the operation and its repeats.
        stall: Issue slots of the waiting that is written into it.
        multiplies: Floating-point multiplications that it does for a work-item, added to something or not.
        half: Whether it computes in 16 bits only, which Adreno does at twice the rate.
        memory: Which memory a load or store goes to, one of ``MEMORIES``; "" for the others.
        size: Bytes that it moves for a work-item.
        preamble: Whether it runs once a wave, before the shader proper.
    """

    op: str
    kind: str
    work: int = 1
    stall: int = 0
    multiplies: int = 0
    half: bool = False
    memory: str = ""
    size: int = 0
    preamble: bool = False

    @property
    def slots(self) -> int:
        """Issue slots, waiting included."""
        return self.work + self.stall


@dataclass(frozen=True)
class Statistics:
    """What the compiler itself says; None where this one does not say it.

    Attributes:
        registers: Of a work-item: of 32 bits on Mali, vectors of four of them on Adreno.
        half_registers: Vectors of four registers of 16 bits, on Adreno.
        max_waves: On Adreno how many waves of it a core holds; on Mali 2 where 32 registers are enough, which let all
            threads of a core run, else 1.
        wave: Work-items of a wave.
        spills, fills: Instructions of the text that put registers into scratch memory and bring them back.
        local_bytes, private_bytes: Local memory of a work-group, scratch memory of a work-item.
        max_group: The largest work-group that the registers allow.
    """

    registers: int
    half_registers: int | None = None
    max_waves: int | None = None
    wave: int | None = None
    spills: int = 0
    fills: int = 0
    local_bytes: int | None = None
    private_bytes: int | None = None
    max_group: int | None = None


@dataclass(frozen=True)
class MachineKernel:
    """A kernel in a GPU's instructions, in the order of the text.

    ``loops`` are ranges (first, last) of instructions, ended by a branch backwards; nested ones lie within one another.
    ``mesa`` is the compiler's version.
    """

    name: str
    gpu: str
    mesa: str
    instructions: tuple[Instruction, ...]
    loops: tuple[tuple[int, int], ...]
    statistics: Statistics = field(default_factory=lambda: Statistics(0))
