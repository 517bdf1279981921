"""What can be decided about the kernel of a stage, and what is decided where nobody tuned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from sr_tvm.errors import SrTvmError
from sr_tvm.targets.hexagon import machine_code

TILES = (1, 2, 4)  # rows are made up to whole runs of 4
SUMS = (12, 16, 20, 24)  # of 32 registers; the taps take the rest
READY = (0, 1, 2, 3, 4)
ORDERS = "tiles", "outputs"
READS = "late", "early"
SPREADS = "spread", "first", "last"
DIRECTIONS = ("", *machine_code.DIRECTIONS)
ROTATIONS = (machine_code.ROTATED, 16)


@dataclass(frozen=True)
class HvxDecisions:
    """How one kind of kernel is written.

    Attributes:
        fused: of two 1x1 convolutions, whether they are one kernel.
        tiles: of 32 pixels that a convolution makes together; 0: by rule.
        sums: that it keeps in registers at most, of all tiles.
        order: what changes first from one product to the next, "tiles" or "outputs".
        read: whether the next vectors are read "early" among the products, or "late".
        ready: doublewords of weights that are read in the turn before.
        shared: of the second of two fused convolutions, the same.
        spread: where its products stand among those of the first: "spread", "first" or "last".
        direction: in which LLVM's scheduler goes through a loop: "down", "up", "both"; "": LLVM's choice.
        rotation: values that a loop may carry and still be rotated into a hardware loop.
    """

    fused: bool = True
    tiles: int = 0
    sums: int = 24
    order: str = "tiles"
    read: str = "late"
    ready: int = -1
    shared: int = 1
    spread: str = "spread"
    direction: str = ""
    rotation: int = machine_code.ROTATED

    @property
    def llvm(self) -> machine_code.Options:
        """The options that LLVM gets for the kernel."""
        return machine_code.options(self.direction, self.rotation)

    def to_json(self) -> dict[str, Any]:
        """Describe the decisions as JSON, from which :meth:`from_json` reads them.

        Returns:
            Their values by name.
        """
        return asdict(self)

    @classmethod
    def from_json(cls, data: Any, where: str) -> HvxDecisions:
        """Read decisions that :meth:`to_json` describes.

        Args:
            data: What was read, not yet checked.
            where: Where it comes from, such as a file's name: the beginning of an error's message.

        Returns:
            The decisions.

        Raises:
            SrTvmError: A field is missing, unknown, of another type or out of range; the message begins with ``where``.
        """
        if not isinstance(data, Mapping) or set(data) != {field.name for field in fields(cls)}:
            raise SrTvmError(f"{where}: not the decisions of a kernel of hexagon")
        for name, allowed in ALLOWED.items():
            if data[name] not in allowed or isinstance(data[name], bool) != isinstance(allowed[0], bool):
                raise SrTvmError(f"{where}: field {name} is {data[name]!r}; {', '.join(map(str, allowed))} is allowed")
        return cls(**data)


ALLOWED: dict[str, tuple[Any, ...]] = {
    "fused": (True, False), "tiles": (0, *TILES), "sums": SUMS, "order": ORDERS, "read": READS, "ready": (-1, *READY),
    "shared": READY, "spread": SPREADS, "direction": DIRECTIONS, "rotation": ROTATIONS,
}  # fmt: skip
DEFAULT = HvxDecisions()
CONVOLUTION = HvxDecisions(direction="down")  # by default, of what is no 1x1
