"""What can be decided about the kernel of a stage, and what is decided where nobody tuned."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from sr_tvm.system.validation import Record, one_of, read_whole
from sr_tvm.targets.hexagon import machine_code

Tiles = Literal[0, 1, 2, 4]  # rows are made up to whole runs of 4
TILES: tuple[Tiles, ...] = get_args(Tiles)[1:]
Sums = Literal[12, 16, 20, 24]  # of 32 registers; the taps take the rest
SUMS: tuple[Sums, ...] = get_args(Sums)
Shared = Literal[0, 1, 2, 3, 4]
READY: tuple[Shared, ...] = get_args(Shared)
Ready = Literal[-1, 0, 1, 2, 3, 4]
ORDERS = "tiles", "outputs"
READS = "late", "early"
SPREADS = "spread", "first", "last"
DIRECTIONS = ("", *machine_code.DIRECTIONS)
Rotation = Literal[200, 16]
ROTATIONS: tuple[Rotation, ...] = get_args(Rotation)


class HvxDecisions(Record, frozen=True):
    """How one kind of kernel is written.

    Attributes:
        fused: Whether two 1x1 convolutions, one behind the other, are one kernel.
        tiles: How many tiles of 32 pixels a convolution makes together; 0: by rule.
        sums: Vectors of sums that it keeps in registers at most, for all tiles together.
        order: What changes first from one product to the next, "tiles" or "outputs".
        read: Whether the next vectors are read "early" among the products, or "late".
        ready: Doublewords of a turn's weights that are read in the turn before; -1: by rule.
        shared: The same for the weights of the second of two fused convolutions.
        spread: Where the products of that second one stand among those of the first: "spread", "first" or "last".
        direction: In which LLVM's scheduler goes through a loop: "down", "up", "both"; "": LLVM's choice.
        rotation: Values that a loop may carry and still be rotated into a hardware loop.
    """

    fused: bool = True
    tiles: Tiles = 0
    sums: Sums = 24
    order: Annotated[str, one_of(ORDERS)] = "tiles"
    read: Annotated[str, one_of(READS)] = "late"
    ready: Ready = -1
    shared: Shared = 1
    spread: Annotated[str, one_of(SPREADS)] = "spread"
    direction: Annotated[str, one_of(DIRECTIONS)] = ""
    rotation: Rotation = machine_code.ROTATED

    @property
    def llvm(self) -> machine_code.Options:
        """The options that LLVM gets for the kernel."""
        return machine_code.options(self.direction, self.rotation)

    @classmethod
    def from_json(cls, data: Any, where: str) -> HvxDecisions:
        """Read decisions that ``to_json`` describes.

        Args:
            data: What was read, not yet checked.
            where: Where it comes from, such as a file's name: the beginning of an error's message.

        Returns:
            The decisions.

        Raises:
            SrTvmError: A field is missing, unknown, of another type or out of range; the message begins with ``where``.
        """
        return read_whole(cls, data, where)


ALLOWED: dict[str, tuple[Any, ...]] = {
    "fused": (True, False), "tiles": (0, *TILES), "sums": SUMS, "order": ORDERS, "read": READS, "ready": (-1, *READY),
    "shared": READY, "spread": SPREADS, "direction": DIRECTIONS, "rotation": ROTATIONS,
}  # fmt: skip
DEFAULT = HvxDecisions()
CONVOLUTION = HvxDecisions(direction="down")  # by default, of what is no 1x1
