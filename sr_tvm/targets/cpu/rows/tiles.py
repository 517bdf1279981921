"""What is decided about a stage's code."""

from typing import Annotated

from msgspec import Meta

from sr_tvm.validation import Record


class Tiles(Record, frozen=True, forbid_unknown_fields=False):
    """Decisions on a stage's code.

    Attributes:
        registers: accumulators of a register tile, most.
        winograd: output channels of a tile of Winograd products; 0 for none.
        lines: lines of Winograd products that are summed at a time, 1 or 2: of each an output takes four accumulators.
        pairs: whether a tile of a convolution by its definition covers both rows of a step.
        chunk: most channels that exist between the two convolutions of a chain at a time.
        unroll: input channels that one iteration of a convolution by its definition takes, where that divides them.
    """

    registers: Annotated[int, Meta(ge=2, le=64)] = 28
    winograd: Annotated[int, Meta(ge=0, le=16)] = 6
    lines: Annotated[int, Meta(ge=1, le=2)] = 1
    pairs: bool = True
    chunk: Annotated[int, Meta(ge=1, le=1 << 16)] = 48
    unroll: Annotated[int, Meta(ge=1, le=64)] = 1
