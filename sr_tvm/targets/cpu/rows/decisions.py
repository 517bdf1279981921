"""What can be chosen when a region is lowered: where it is cut, and of each piece the strip and the register tiles."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from sr_tvm.errors import SrTvmError
from sr_tvm.system.validation import Record, plain, read_whole, without

SCHEMA = "sr-tvm row decisions"


Place = Annotated[int, Meta(ge=1, le=1 << 20)]


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


class PieceDecisions(Record, frozen=True, forbid_unknown_fields=False):
    """What is decided about one piece of a region.

    Attributes:
        width: pixels of a strip, a multiple of the column block.
        phases: 2 keeps even and odd pixels of a row apart, which Winograd's products need; 1 keeps them as they come.
        tiles: the register tiles of its stages.
    """

    width: Place
    phases: Annotated[int, Meta(ge=1, le=2)]
    tiles: Tiles


class RowDecisions(Record, frozen=True, forbid_unknown_fields=False):
    """What is decided about a region.

    Attributes:
        cuts: positions in the region's order of nodes; a cut at p lies before node p.
        pieces: the decisions of each piece between the cuts, one more than cuts.
    """

    cuts: tuple[Place, ...]
    pieces: tuple[PieceDecisions, ...]

    def to_json(self) -> dict[str, Any]:
        """Describe the decisions as JSON, from which :meth:`from_json` reads them.

        Returns:
            The schema's name and version, the cuts, and the fields of every piece.
        """
        return {"schema": SCHEMA, "version": 1, **plain(self)}

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
        if not isinstance(data, dict) or (data.get("schema"), data.get("version")) != (SCHEMA, 1):
            raise SrTvmError(f"{where}: not version 1 of {SCHEMA}")
        pieces = data.get("pieces")
        if isinstance(pieces, list):
            data = {**data, "pieces": [_since_lines(piece) for piece in pieces]}
        found = read_whole(cls, without(data, "schema", "version"), where)
        if len(found.pieces) != len(found.cuts) + 1:
            cuts, made = len(found.cuts), len(found.pieces)
            raise SrTvmError(f"{where}: {cuts} cuts make {cuts + 1} pieces, but it has {made}")
        return found


def _since_lines(piece: Any) -> Any:
    """Return a piece of a record with a choice of lines, which older records lack."""
    tiles = piece.get("tiles") if isinstance(piece, dict) else None
    return {**piece, "tiles": {"lines": 1} | tiles} if isinstance(tiles, dict) else piece
