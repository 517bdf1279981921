"""Tuned decisions of streaming regions on disk, and how a build finds them."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sr_tvm import files
from sr_tvm.errors import SrTvmError
from sr_tvm.regions.cut import Cutter
from sr_tvm.regions.data import region_hash
from sr_tvm.regions.region import Region
from sr_tvm.targets.cpu.rows.choices import narrowest
from sr_tvm.targets.cpu.rows.decisions import Decisions
from sr_tvm.targets.cpu.rows.layout import Layout
from sr_tvm.targets.cpu.rows.lowering import Lookup
from sr_tvm.targets.cpu.rows.machine import Processor
from sr_tvm.targets.cpu.rows.plan import plan_stages
from sr_tvm.targets.cpu.rows.stages import build_stages
from sr_tvm.targets.lowering import Shape

SCHEMA, VERSION, NAME = "sr-tvm/row-decisions", 1, "row_decisions.json"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RowRecord:
    """The best decisions found for the regions of one structure (:func:`region_hash`) at one shape.

    They hold for processors with vectors of ``lanes`` floats and as many ``registers``. ``ms`` and ``default_ms`` are
    the times where they were found, tuned and by the cost model.
    """

    region: str
    shape: Shape
    lanes: int
    registers: int
    ms: float
    default_ms: float
    decisions: Decisions

    @property
    def key(self) -> tuple[str, Shape, int, int]:
        return self.region, self.shape, self.lanes, self.registers

    def to_json(self) -> dict[str, Any]:
        plain = {name: getattr(self, name) for name in ("region", "lanes", "registers", "ms", "default_ms")}
        return {**plain, "shape": list(self.shape), "decisions": self.decisions.to_json()}

    @classmethod
    def from_json(cls, value: Any, where: str) -> RowRecord:
        try:
            shape = tuple(None if n is None else int(n) for n in value["shape"])
            if len(shape) != 3:
                raise ValueError("a shape is N, H and W")
            numbers = (int(value["lanes"]), int(value["registers"]), float(value["ms"]), float(value["default_ms"]))
            return cls(str(value["region"]), shape, *numbers, Decisions.from_json(value["decisions"], where))
        except (KeyError, TypeError, ValueError) as error:
            raise SrTvmError(f"{where}: missing or wrong field: {error}") from None


@dataclass
class RowRecords:
    """Records by region, shape and processor. ``used`` are those that a build has asked for and got."""

    records: dict[tuple[str, Shape, int, int], RowRecord] = field(default_factory=dict)
    used: list[RowRecord] = field(default_factory=list)

    @classmethod
    def open(cls, folders: Iterable[str | Path]) -> RowRecords:
        """All records in ``folders``; of several for the same, the first folder's. A folder may hold none.

        Raises:
            SrTvmError: a file there is not one of ours.
        """
        found = cls()
        for path in (Path(folder) / NAME for folder in folders):
            if path.is_file():
                for row in _list(path):
                    record = RowRecord.from_json(row, str(path))
                    found.records.setdefault(record.key, record)
        return found

    def put(self, record: RowRecord) -> None:
        self.records[record.key] = record

    def save(self, folder: str | Path, only: Iterable[RowRecord] | None = None) -> None:
        """Write the file whole or not at all; without records there is none."""
        path, rows = Path(folder) / NAME, list(self.records.values() if only is None else only)
        if rows:
            records = [row.to_json() for row in sorted(rows, key=lambda r: str(r.key))]
            files.write_json(path, {"schema": SCHEMA, "version": VERSION, "records": records})
        else:
            path.unlink(missing_ok=True)

    def lookup(self, processor: Processor) -> Lookup:
        """What the lowering asks for decisions of a region.

        It gets None where no record is for the region, or one that does not fit it any more, with a warning.
        """

        def find(region: Region, shape: Shape) -> Decisions | None:
            record = self.records.get((region_hash(region), shape, processor.lanes, processor.registers))
            if record is None:
                return None
            if not fits(record.decisions, region, processor.lanes):
                log.warning("the tuning record of region %s does not fit it any more; tune again", record.region)
                return None
            if record not in self.used:
                self.used.append(record)
            return record.decisions

        return find


def fits(decisions: Decisions, region: Region, lanes: int) -> bool:
    """Whether the lowering can do so: a piece for each cut, strips of whole column blocks, wider than the halo."""
    block = 2 * lanes
    pieces = Cutter(region).pieces(decisions.cuts)
    if len(pieces) != len(decisions.pieces) or any(cut >= len(region.nodes) for cut in decisions.cuts):
        return False
    for piece, decided in zip(pieces, decisions.pieces, strict=True):
        layout = Layout(lanes, decided.phases, decided.phases, block)
        halo = plan_stages(build_stages(piece.region), layout).halo
        if decided.width % block or decided.width < narrowest(halo, block):
            return False
    return True


def _list(path: Path) -> list[Any]:
    value = files.read_json(path, SCHEMA, VERSION).get("records")
    if not isinstance(value, list):
        raise SrTvmError(f"{path}: field records is missing or not a list")
    return value
