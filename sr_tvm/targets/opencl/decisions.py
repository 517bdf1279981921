"""What can be chosen when a region becomes kernels for a phone's GPU."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from msgspec import Meta

from sr_tvm.errors import SrTvmError
from sr_tvm.regions.value import FLOAT16, FLOAT32
from sr_tvm.system.validation import Record, RecordError, one_of, plain, read_whole, without

SCHEMA, VERSION = "sr-tvm opencl decisions", 2
# What version 1 had not, as its kernels were: such records are still read.
SINCE_2, STAGE_SINCE_2 = {"remade": False}, {"tiles": 1, "winograd": False}
LOCAL, GLOBAL = "local", "global"  # where weights are read from
BUFFER, IMAGE = "buffer", "image"  # what values between kernels lie in
Pixels = Literal[1, 2, 4, 8]
PIXELS: tuple[Pixels, ...] = get_args(Pixels)
GROUPS = (
    (64, 1),
    (64, 2),
    (64, 4),
    (32, 2),
    (32, 4),
    (32, 8),
    (16, 4),
    (16, 8),
    (16, 16),
    (128, 1),
    (128, 2),
    (256, 1),
)
Tiles = Literal[1, 2, 3, 4, 5, 6, 8, 9, 12]
TILES: tuple[Tiles, ...] = get_args(Tiles)
Loads = Literal[1, 2, 4]
LOADS: tuple[Loads, ...] = get_args(Loads)
Narrow = Literal[8, 16, 24, 32, 48, 64]
NARROW: tuple[Narrow, ...] = get_args(Narrow)


Way = tuple[Narrow, bool, bool]  # of cutting a region, see OpenClDecisions: narrow, packed and remade


class StageDecisions(Record, frozen=True, forbid_unknown_fields=False):
    """Choices for one kernel.

    Attributes:
        pixels: Neighbours in a row that a work-item computes: each weight that it reads serves them all.
        group: Work-items of a work-group, along a row and down.
        tiles: Tiles of pixels that a work-group computes, one below another; a tile is ``group`` times ``pixels``. What
            borders on them, and their weights, are fewer bytes for more tiles. With more than 1 a work-group computes
            all shares of the channels, too.
        weights: "local" copies a stage's weights to local memory, part after part, for a work-group to share; "global"
            reads them where they lie.
        outputs: Groups of four channels that a work-item computes, where channels are shared out; 0: all of them.
        load: Vectors of weights that are read at a time.
        winograd: Whether convolutions of three columns, of float32, are computed by F(2, 3) where pixels are even.
        sums: What products are added in where memory holds float16: "float32", or "float16" at twice the rate.
    """

    pixels: Pixels = 2
    group: tuple[int, int] = (64, 4)
    tiles: Tiles = 1
    weights: Annotated[str, one_of((LOCAL, GLOBAL))] = LOCAL
    outputs: Annotated[int, Meta(ge=0, le=1024)] = 0
    load: Loads = 1
    winograd: bool = False
    sums: Annotated[str, one_of((FLOAT32, FLOAT16))] = FLOAT32

    def __post_init__(self) -> None:
        if self.group not in GROUPS:
            known = ", ".join(f"{across}x{down}" for across, down in GROUPS)
            raise RecordError(f"group is {'x'.join(map(str, self.group))}; {known} is needed")


class OpenClDecisions(Record, frozen=True, forbid_unknown_fields=False):
    """Choices for a whole region.

    Attributes:
        narrow: Channels that a work-item keeps in registers from a convolution to the 1x1 convolutions after it; more
            of them go through memory, by a kernel of their own.
        storage: "buffer" or "image", for what lies between kernels.
        packed: Whether the first kernel copies sources that later ones look around in to the form between kernels.
        remade: Whether convolutions of the picture are made again by each kernel that adds their pixels, rather than
            written to memory and read.
        stages: Of each kernel, in order.
    """

    narrow: Narrow
    storage: Annotated[str, one_of((BUFFER, IMAGE))]
    packed: bool
    remade: bool
    stages: tuple[StageDecisions, ...]

    @property
    def way(self) -> Way:
        """How the region is cut into stages: ``narrow``, ``packed`` and ``remade``."""
        return self.narrow, self.packed, self.remade

    def to_json(self) -> dict[str, Any]:
        """Write the decisions as a JSON object.

        Returns:
            The fields, with the schema's name and version; :meth:`from_json` reads it.
        """
        return {"schema": SCHEMA, "version": VERSION, **plain(self)}

    @classmethod
    def from_json(cls, data: Any, where: str) -> OpenClDecisions:
        """Read the JSON of decisions, of version 1 too.

        Args:
            data: Parsed JSON, of any source.
            where: What it was read from, in words: messages begin with it.

        Returns:
            The decisions.

        Raises:
            SrTvmError: It is of another schema or version, a field is missing or of another type, or a choice is none
                of the known ones.
        """
        version = data.get("version") if isinstance(data, dict) and data.get("schema") == SCHEMA else None
        if type(version) is not int or version not in (1, VERSION):
            raise SrTvmError(f"{where}: not version {VERSION} of {SCHEMA}, nor 1; tune again, into another folder")
        if version == 1:
            data = SINCE_2 | data
            if isinstance(rows := data.get("stages"), list):
                data["stages"] = [STAGE_SINCE_2 | row if isinstance(row, dict) else row for row in rows]
        return read_whole(cls, without(data, "schema", "version"), where)
