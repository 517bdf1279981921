"""Tuned decisions of streaming regions on disk, and how a build finds them."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import structs
from typing_extensions import override

from sr_tvm.regions.region import Region
from sr_tvm.system import files
from sr_tvm.system.validation import Amount, Record, read, read_file, without

if TYPE_CHECKING:
    from sr_tvm.codegen.kernel import Shape
    from sr_tvm.targets.lowering import Lowering

SCHEMA, VERSION, NAME = "sr-tvm/region-decisions", 1, "region_decisions.json"
# What was written when the lowering of rows was the only one. It is read still, where there is no newer file beside it.
ROWS_SCHEMA, ROWS_VERSION, ROWS_NAME = "sr-tvm/row-decisions", 1, "row_decisions.json"
D = TypeVar("D")
Key = tuple[str, "Shape", str, tuple[tuple[str, int], ...]]
log = logging.getLogger(__name__)


class RegionRecord(Record, frozen=True, forbid_unknown_fields=False):
    """The best decisions found for the regions of one structure, by the lowering's name of it, at one shape.

    Attributes:
        lowering: The lowering whose decisions they are.
        hardware: What they hold for, as the lowering has it.
        ms: The time where they were found; ``default_ms`` that of the lowering's own choice.
        decisions: As JSON, in the lowering's form.
        clock: What ms were measured by; "estimate" where nothing ran; "" in older records.
        where: The file it was read from; "" for a new one.
    """

    region: str
    shape: tuple[int | None, int | None, int | None]
    lowering: str
    hardware: dict[str, int]
    ms: Amount
    default_ms: Amount
    decisions: dict[str, Any]
    clock: str = ""
    where: str = ""

    @property
    def key(self) -> Key:
        """What the record is found by: region, shape, lowering and hardware."""
        return self.region, self.shape, self.lowering, tuple(sorted(self.hardware.items()))

    def __str__(self) -> str:
        return f"region {self.region} of {self.where}" if self.where else f"region {self.region}"

    @override
    def to_json(self) -> dict[str, Any]:
        return without(super().to_json(), "where")

    @classmethod
    def from_json(cls, value: Any, where: str, place: str) -> RegionRecord:
        """Read a record of a file; an old one of rows has its hardware among its own fields.

        Args:
            value: A JSON value, not yet checked.
            where: The file: the beginning of an error's message, and kept in the record.
            place: Where it stands in the file, such as "records[0]".

        Returns:
            The record.

        Raises:
            SrTvmError: A field is missing or wrong; the message begins with ``where``.
        """
        value = without(value, "where")
        if isinstance(value, dict) and "hardware" not in value:
            hardware = {name: value[name] for name in ("lanes", "registers") if name in value}
            value = {"lowering": "rows", **value, "hardware": hardware}
        return structs.replace(read(cls, value, where, place), where=where)


class RecordsFile(Record, frozen=True, forbid_unknown_fields=False):
    """A file of records; :meth:`RegionRecord.from_json` reads each.

    Attributes:
        records: JSON values, not yet checked.
    """

    records: list[Any]


def key_of(region: Region, shape: Shape, lowering: Lowering[Any]) -> Key:
    """Make what the record of a region is found by.

    Args:
        region: The region.
        shape: N, H and W of the region; None for what is known only at run time.
        lowering: The lowering that makes its kernels.

    Returns:
        The region by the lowering's name of it, the shape, the lowering's name, and its hardware, sorted.
    """
    return lowering.identity(region), shape, lowering.name, tuple(sorted(lowering.hardware.items()))


@dataclass
class RegionRecords:
    """Records by region, shape, lowering and hardware. ``used`` are those that a build has asked for and got."""

    records: dict[Key, RegionRecord] = field(default_factory=dict)
    used: list[RegionRecord] = field(default_factory=list)

    @classmethod
    def open(cls, folders: Iterable[str | Path]) -> RegionRecords:
        """Read all records of some folders; of several for the same, the first folder's holds.

        Args:
            folders: In order; one may hold no records.

        Returns:
            The records, of which none is used yet.

        Raises:
            SrTvmError: A file there is not one of ours.
        """
        found = cls()
        for path in filter(None, map(file_in, folders)):
            schema, version = (SCHEMA, VERSION) if path.name == NAME else (ROWS_SCHEMA, ROWS_VERSION)
            told = read_file(RecordsFile, files.read_json(path, schema, version), str(path))
            for i, row in enumerate(told.records):
                record = RegionRecord.from_json(row, str(path), f"records[{i}]")
                found.records.setdefault(record.key, record)
        return found

    def put(self, record: RegionRecord) -> None:
        """Add a record, in place of one for the same.

        Args:
            record: The record.
        """
        self.records[record.key] = record

    def save(self, folder: str | Path, only: Iterable[RegionRecord] | None = None) -> None:
        """Write records into a folder, whole or not at all; without records there is no file.

        A file of rows, as older versions wrote it, is removed there.

        Args:
            folder: Where the file goes; it is there.
            only: The records that are written; None for all.
        """
        path, rows = Path(folder) / NAME, list(self.records.values() if only is None else only)
        if rows:
            records = [row.to_json() for row in sorted(rows, key=lambda r: str(r.key))]
            files.write_json(path, {"schema": SCHEMA, "version": VERSION, "records": records})
        else:
            path.unlink(missing_ok=True)
        (Path(folder) / ROWS_NAME).unlink(missing_ok=True)

    def find(self, region: Region, shape: Shape, lowering: Lowering[D]) -> tuple[D, RegionRecord] | None:
        """Look up the decisions for a region, and note that their record is used.

        A record that does not fit the region any more is told in a warning.

        Args:
            region: The region.
            shape: N, H and W of the region; None for what is known only at run time.
            lowering: The lowering that makes its kernels.

        Returns:
            The decisions and the record that has them; None where no record is for the region or fits it.

        Raises:
            SrTvmError: The record's decisions are none of the lowering's.
        """
        record = self.records.get(key_of(region, shape, lowering))
        if record is None:
            return None
        decisions = lowering.from_json(record.decisions, record.where or "a tuning record")
        if not lowering.fits(decisions, region, shape):
            log.warning("the tuning record of region %s does not fit it any more; tune again", record.region)
            return None
        if record not in self.used:
            self.used.append(record)
        return decisions, record


def file_in(folder: str | Path) -> Path | None:
    """Find the file of records in a folder, an older one of rows where there is no other.

    Args:
        folder: The folder, which need not be there.

    Returns:
        The file; None where there is none.
    """
    paths = (Path(folder) / name for name in (NAME, ROWS_NAME))
    return next((path for path in paths if path.is_file()), None)
