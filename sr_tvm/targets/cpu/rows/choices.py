"""What may be decided about a piece of a region: the values worth trying for its strip and its register tiles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from msgspec.structs import replace

from sr_tvm.codegen.kernel import Shape
from sr_tvm.regions.region import Region
from sr_tvm.targets.cpu.rows.cost import NOMINAL_WIDTH, strip_widths
from sr_tvm.targets.cpu.rows.decisions import PieceDecisions, Tiles
from sr_tvm.targets.cpu.rows.layout import RowLayout
from sr_tvm.targets.cpu.rows.plan import plan_stages
from sr_tvm.targets.cpu.rows.stage import winograd_pays
from sr_tvm.targets.cpu.rows.stages import build_stages

FIELDS = ("width", "phases", "registers", "winograd", "lines", "pairs", "chunk", "unroll")
CHUNKS = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192)
STEP = 4  # registers: a channel of one row is two vectors, of two rows four


@dataclass(frozen=True)
class Choices:
    """The values to choose from for one piece of a region.

    Attributes:
        values: by the name of a decision, one of :data:`FIELDS`; a single value where there is nothing to choose.
        layer: the piece is one layer for Winograd's products, which none of these decisions touches.
    """

    values: dict[str, tuple[Any, ...]]
    layer: bool = False

    @classmethod
    def of(cls, piece: Region, shape: Shape, lanes: int, registers: int, winograd: bool, layer: bool) -> Choices:
        """Find the values worth trying for one piece.

        Args:
            piece: The piece, a region of its own.
            shape: N, H and W of the whole region; where W is None, strips are cut as of a row of :data:`NOMINAL_WIDTH`
                pixels.
            lanes: Elements in a vector.
            registers: Vector registers of the processor.
            winograd: Whether Winograd's products may be used at all.
            layer: Whether the piece is made one layer at a time, outside of the row kernels: then nothing is open.

        Returns:
            The choices of the piece.
        """
        pairs = RowLayout(lanes, 2, 2, 2 * lanes)
        stages = build_stages(piece)
        halo = plan_stages(stages, pairs).halo
        pays, wide = False, 0
        for stage in stages:
            terms = stage.layers[0].terms if stage.layers else ()
            paying = any(winograd_pays(term, pairs) for term in terms)
            pays |= paying
            if len(stage.layers) == 2:
                wide = max(wide, stage.layers[0].channels)
        widths = strip_widths(shape[2] or NOMINAL_WIDTH, halo, pairs.block) or [narrowest(halo, pairs.block)]
        values: dict[str, tuple[Any, ...]] = {
            "width": tuple(sorted(widths)),
            "phases": (2, 1) if winograd else (1,),
            "registers": tuple(range(STEP, registers, STEP)),
            "winograd": tuple(range(0, registers // 4 + 1)) if winograd and pays else (0,),
            "lines": (1, 2) if winograd and pays else (1,),
            "pairs": (True, False),
            "chunk": (*(c for c in CHUNKS if c < wide), wide) if wide else (Tiles().chunk,),
            "unroll": (1, 2, 4),
        }
        if layer:
            values = {name: choices[:1] for name, choices in values.items()}
        return cls(values, layer)

    def open_fields(self) -> list[str]:
        """List the decisions that there is something to choose for.

        Returns:
            Names out of :data:`FIELDS`.
        """
        return [name for name, values in self.values.items() if len(values) > 1]

    def fit(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Replace the value of every decision by the nearest one that is allowed.

        A decision without effect beside the others gets one fixed value, so that equal programs have equal decisions.

        Args:
            fields: A value for each of :data:`FIELDS`, allowed or not.

        Returns:
            The allowed values, by name.
        """
        fitted = {name: _nearest(self.values[name], fields[name]) for name in FIELDS}
        if fitted["phases"] == 1:
            fitted |= {"winograd": 0, "pairs": False}
        if not fitted["winograd"]:
            fitted["lines"] = 1
        return fitted

    def draw(self, name: str, rng: Random) -> Any:
        """Draw one of the values of a decision, all alike likely.

        Args:
            name: One of :data:`FIELDS`.
            rng: Where the randomness comes from.

        Returns:
            The value, a number or, for "pairs", a bool.
        """
        return rng.choice(self.values[name])


def _nearest(values: tuple[Any, ...], wanted: Any) -> Any:
    return min(values, key=lambda value: abs(value - wanted))


def narrowest(halo: int, block: int) -> int:
    """Compute the least width of a strip whose middle part, without the halos, is not empty.

    Args:
        halo: Pixels that a result depends on to the left and to the right.
        block: Pixels of a column block.

    Returns:
        Pixels, a multiple of ``block`` over twice the halo.
    """
    return (2 * halo // block + 1) * block


def fields_of(piece: PieceDecisions) -> dict[str, Any]:
    """Spread a piece's decisions into values by name; :func:`piece_of` puts them together again.

    Args:
        piece: The decisions of one piece.

    Returns:
        A value for each of :data:`FIELDS`.
    """
    return dict(_named(piece))


def _named(piece: PieceDecisions) -> Iterator[tuple[str, Any]]:
    for name in FIELDS:
        yield name, getattr(piece if name in ("width", "phases") else piece.tiles, name)


def piece_of(fields: dict[str, Any]) -> PieceDecisions:
    """Make a piece's decisions of values by name, the inverse of :func:`fields_of`.

    Args:
        fields: A value for each of :data:`FIELDS`.

    Returns:
        The decisions of one piece.
    """
    tiles = replace(Tiles(), **{name: fields[name] for name in FIELDS[2:]})
    return PieceDecisions(fields["width"], fields["phases"], tiles)
