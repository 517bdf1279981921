"""What is decided about a stage's code."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Tiles:
    """Decisions on a stage's code.

    Attributes:
        registers: accumulators of a register tile, most.
        winograd: output channels of a tile of Winograd products; 0 for none.
        lines: lines of Winograd products that are summed at a time, 1 or 2: of each an output takes four accumulators.
        pairs: whether a tile of a convolution by its definition covers both rows of a step.
        chunk: most channels that exist between the two convolutions of a chain at a time.
        unroll: input channels that one iteration of a convolution by its definition takes, where that divides them.
    """

    registers: int = 28
    winograd: int = 6
    lines: int = 1
    pairs: bool = True
    chunk: int = 48
    unroll: int = 1
