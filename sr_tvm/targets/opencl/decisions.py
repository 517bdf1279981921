"""What can be chosen when a region becomes kernels for a phone's GPU."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from sr_tvm.errors import SrTvmError
from sr_tvm.regions.value import FLOAT16, FLOAT32

SCHEMA, VERSION = "sr-tvm opencl decisions", 2
# What version 1 had not, as its kernels were: such records are still read.
SINCE_2, STAGE_SINCE_2 = {"remade": False}, {"tiles": 1, "winograd": False}
LOCAL, GLOBAL = "local", "global"  # where weights are read from
BUFFER, IMAGE = "buffer", "image"  # what values between kernels lie in
PIXELS = (1, 2, 4, 8)
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
TILES = (1, 2, 3, 4, 5, 6, 8, 9, 12)
LOADS = (1, 2, 4)
NARROW = (8, 16, 24, 32, 48, 64)


Way = tuple[int, bool, bool]  # of cutting a region, see Decisions: narrow, packed and remade


@dataclass(frozen=True)
class StageDecisions:
    """Choices for one kernel.

    Attributes:
        pixels: neighbours in a row that a work-item computes: each weight that it reads serves them all.
        group: work-items of a work-group, along a row and down.
        tiles: tiles of pixels that a work-group computes, one below another; a tile is ``group`` times ``pixels``. What
            borders on them, and their weights, are fewer bytes for more tiles. With more than 1 a work-group computes
            all shares of the channels, too.
        weights: "local" copies a stage's weights to local memory, part after part, for a work-group to share; "global"
            reads them where they lie.
        outputs: groups of four channels that a work-item computes, where channels are shared out; 0: all of them.
        load: vectors of weights that are read at a time.
        winograd: whether convolutions of three columns, of float32, are computed by F(2, 3) where pixels are even.
        sums: what products are added in where memory holds float16: "float32", or "float16" at twice the rate.
    """

    pixels: int = 2
    group: tuple[int, int] = (64, 4)
    tiles: int = 1
    weights: str = LOCAL
    outputs: int = 0
    load: int = 1
    winograd: bool = False
    sums: str = FLOAT32

    def __post_init__(self) -> None:
        for ok, what in (
            (_is_one_of(self.pixels, PIXELS), f"pixels are one of {PIXELS}"),
            (self.group in GROUPS and all(type(n) is int for n in self.group), f"the group is one of {GROUPS}"),
            (_is_one_of(self.tiles, TILES), f"tiles are one of {TILES}"),
            (self.weights in (LOCAL, GLOBAL), f"weights are in {LOCAL} or {GLOBAL} memory"),
            (type(self.outputs) is int and 0 <= self.outputs <= 1024, "outputs are 0 (all) to 1024"),
            (_is_one_of(self.load, LOADS), f"vectors of a load are one of {LOADS}"),
            (isinstance(self.winograd, bool), "winograd is true or false"),
            (self.sums in (FLOAT32, FLOAT16), f"sums are {FLOAT32} or {FLOAT16}"),
        ):
            if not ok:
                raise ValueError(what)


@dataclass(frozen=True)
class OpenClDecisions:
    """Choices for a whole region.

    Attributes:
        narrow: channels that a work-item keeps in registers from a convolution to the 1x1 convolutions after it; more
            of them go through memory, by a kernel of their own.
        storage: "buffer" or "image", for what lies between kernels.
        packed: whether the first kernel copies sources that later ones look around in to the form between kernels.
        remade: whether convolutions of the picture are made again by each kernel that adds their pixels, rather than
            written to memory and read.
        stages: of each kernel, in order.
    """

    narrow: int
    storage: str
    packed: bool
    remade: bool
    stages: tuple[StageDecisions, ...]

    def __post_init__(self) -> None:
        if not _is_one_of(self.narrow, NARROW):
            raise ValueError(f"narrow is one of {NARROW}")
        if self.storage not in (BUFFER, IMAGE):
            raise ValueError(f"storage is {BUFFER} or {IMAGE}")
        for name in ("packed", "remade"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} is true or false")

    @property
    def way(self) -> Way:
        """How the region is cut into stages: ``narrow``, ``packed`` and ``remade``."""
        return self.narrow, self.packed, self.remade

    def to_json(self) -> dict[str, Any]:
        """Write the decisions as a JSON object.

        Returns:
            The fields, with the schema's name and version; :meth:`from_json` reads it.
        """
        return {"schema": SCHEMA, "version": VERSION, **asdict(self)}

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
            ValueError: Never leaves this method: it is raised inside, and told as SrTvmError.
        """
        version = data.get("version") if isinstance(data, dict) and data.get("schema") == SCHEMA else None
        if not _is_one_of(version, (1, VERSION)):
            raise SrTvmError(f"{where}: not version {VERSION} of {SCHEMA}, nor 1; tune again, into another folder")
        try:
            rows = data["stages"]
            if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
                raise ValueError("stages are a list of objects")
            if version == 1:
                data, rows = SINCE_2 | data, [STAGE_SINCE_2 | row for row in rows]
            stages = tuple(_stage(row) for row in rows)
            return cls(data["narrow"], data["storage"], data["packed"], data["remade"], stages)
        except KeyError as error:
            raise SrTvmError(f"{where}: has no field {error}") from None
        except (TypeError, ValueError) as error:
            raise SrTvmError(f"{where}: {error}") from None


def _is_one_of(value: Any, known: tuple[int, ...]) -> bool:
    """Return whether a number is a known one: JSON's 2.0 and true equal ints, and no kernel can be made with them."""
    return type(value) is int and value in known


def _stage(row: Any) -> StageDecisions:
    values = {field.name: row[field.name] for field in fields(StageDecisions)}
    group = values["group"]
    return StageDecisions(**values | {"group": tuple(group) if isinstance(group, list) else group})
