"""What can be chosen when a region is lowered: where it is cut, and of each piece the strip and the register tiles."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from sr_tvm.errors import SrTvmError

SCHEMA = "sr-tvm row decisions"


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


@dataclass(frozen=True)
class PieceDecisions:
    """What is decided about one piece of a region.

    Attributes:
        width: pixels of a strip, a multiple of the column block.
        phases: 2 keeps even and odd pixels of a row apart, which Winograd's products need; 1 keeps them as they come.
        tiles: the register tiles of its stages.
    """

    width: int
    phases: int
    tiles: Tiles


@dataclass(frozen=True)
class RowDecisions:
    """What is decided about a region.

    Attributes:
        cuts: positions in the region's order of nodes; a cut at p lies before node p.
        pieces: the decisions of each piece between the cuts, one more than cuts.
    """

    cuts: tuple[int, ...]
    pieces: tuple[PieceDecisions, ...]

    def to_json(self) -> dict[str, Any]:
        """Describe the decisions as JSON, from which :meth:`from_json` reads them.

        Returns:
            The schema's name and version, the cuts, and the fields of every piece.
        """
        return {"schema": SCHEMA, "version": 1, "cuts": list(self.cuts), "pieces": [asdict(p) for p in self.pieces]}

    @classmethod
    def from_json(cls, data: dict[str, Any], where: str) -> RowDecisions:
        """Read the decisions that :meth:`to_json` describes.

        Args:
            data: What was read, not yet checked.
            where: Where it comes from, such as a file's name: the beginning of an error's message.

        Returns:
            The decisions.

        Raises:
            SrTvmError: It is of another schema or version, a field is missing, of another type or out of range, or
                there is not one piece more than cuts.
        """
        try:
            if data["schema"] != SCHEMA or data["version"] != 1:
                raise SrTvmError(f"{where}: not version 1 of {SCHEMA}")
            pieces = [
                PieceDecisions(_whole(p, "width", 1, 1 << 20), _whole(p, "phases", 1, 2), _tiles(p["tiles"]))
                for p in data["pieces"]
            ]
            cuts = [_whole({"cut": cut}, "cut", 1, 1 << 20) for cut in data["cuts"]]
        except (KeyError, TypeError) as error:
            raise SrTvmError(f"{where}: the decisions lack {error}") from error
        if len(pieces) != len(cuts) + 1:
            raise SrTvmError(f"{where}: {len(cuts)} cuts make {len(cuts) + 1} pieces, but it has {len(pieces)}")
        return cls(tuple(cuts), tuple(pieces))


def _tiles(data: dict[str, Any]) -> Tiles:
    if not isinstance(data["pairs"], bool):
        raise TypeError("pairs as true or false")
    return Tiles(
        _whole(data, "registers", 2, 64),
        _whole(data, "winograd", 0, 16),
        _whole({"lines": 1} | data, "lines", 1, 2),  # records of before there was a choice lack it
        data["pairs"],
        _whole(data, "chunk", 1, 1 << 16),
        _whole(data, "unroll", 1, 64),
    )


def _whole(data: dict[str, Any], name: str, low: int, high: int) -> int:
    value = data[name]
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise TypeError(f"{name} as a whole number from {low} to {high}")
    return value
