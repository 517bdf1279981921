"""What can be chosen when a region is lowered: where it is cut, and of each piece the strip and the register tiles."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from sr_tvm.errors import SrTvmError
from sr_tvm.targets.cpu.rows.tiles import Tiles
from sr_tvm.validation import Record, plain, read_whole, without

SCHEMA = "sr-tvm row decisions"


Place = Annotated[int, Meta(ge=1, le=1 << 20)]


class PieceDecisions(Record, frozen=True, forbid_unknown_fields=False):
    """``width``: pixels of a strip, a multiple of the column block. ``phases``: 2 allows Winograd, 1 does not."""

    width: Place
    phases: Annotated[int, Meta(ge=1, le=2)]
    tiles: Tiles


class RowDecisions(Record, frozen=True, forbid_unknown_fields=False):
    """``cuts``: positions in the region's order of nodes; ``pieces``: one more than cuts."""

    cuts: tuple[Place, ...]
    pieces: tuple[PieceDecisions, ...]

    def to_json(self) -> dict[str, Any]:
        return {"schema": SCHEMA, "version": 1, **plain(self)}

    @classmethod
    def from_json(cls, data: dict[str, Any], where: str) -> RowDecisions:
        """Raises SrTvmError where a field is missing, of another type or out of range."""
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
    """Records of before there was a choice of lines lack it."""
    tiles = piece.get("tiles") if isinstance(piece, dict) else None
    return {**piece, "tiles": {"lines": 1} | tiles} if isinstance(tiles, dict) else piece
