"""Tuning records as a build finds them: the named folder's first, then those that are shipped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sr_tvm.codegen.kernel import ESTIMATED, Kernel, Shape
from sr_tvm.records import schedules
from sr_tvm.records.region_decisions import RegionRecord, RegionRecords, file_in
from sr_tvm.records.timer import ESTIMATE
from sr_tvm.regions.region import Region
from sr_tvm.targets.lowering import Lowering


@dataclass(frozen=True, eq=False)
class RecordFolder:
    """A folder of records; ``title`` is what people read of it, ``group`` tells folders of equal names apart."""

    folder: Path
    title: str
    group: str = ""

    @property
    def label(self) -> str:
        """What the names of its records begin with: no path of this machine, for it goes into artifacts."""
        return f"{self.group}{self.folder.name}/"

    @cached_property
    def schedules(self) -> Any:
        """Its MetaSchedule database; None where it has none."""
        return schedules.open_database(self.folder, create=False) if schedules.has_schedules(self.folder) else None

    @cached_property
    def regions(self) -> RegionRecords:
        """Its decisions of streaming regions."""
        return RegionRecords.open([self.folder])


def open_sources(target: str, folder: str | Path | None, use_shipped: bool) -> tuple[RecordFolder, ...]:
    """Find the records for a target.

    Raises:
        SrTvmError: ``folder`` is named and holds none.
    """
    found = []
    if folder is not None:
        own = RecordFolder(Path(folder), f"the tuning records {Path(folder).name}")
        if file_in(folder) is None:
            own.schedules or schedules.open_database(folder, create=False)  # which says what is missing
        found.append(own)
    if use_shipped:
        shipped = schedules.shipped_folders(target)
        found += [RecordFolder(path, f"the shipped tuning log {path.name}", "shipped/") for path in shipped]
    return tuple(found)


class Recorded:
    """A lowering that decides as the first record says that is for the region, else by itself."""

    def __init__(self, lowering: Lowering[Any], sources: Sequence[RecordFolder]) -> None:
        self.lowering, self.sources, self.name = lowering, sources, lowering.name
        self.used: dict[Any, RegionRecord] = {}

    def lower(self, region: Region, shape: Shape, name: str) -> list[Kernel]:
        found = self._find(region, shape)
        if found is None:
            return self.lowering.lower(region, shape, name)
        decisions, record, told = found
        self.used[record.key] = record
        return [kernel.tuned(told) for kernel in self.lowering.lower(region, shape, name, decisions)]

    def decide(self, region: Region, shape: Shape) -> Any:
        """Find the decisions that :meth:`lower` carries out."""
        found = self._find(region, shape)
        return self.lowering.decide(region, shape) if found is None else found[0]

    def recorded(self, region: Region, shape: Shape) -> tuple[Any, str] | None:
        """Find a record's decisions and what kernels tell of it, which counts as used then; None: there is none."""
        found = self._find(region, shape)
        if found is None:
            return None
        decisions, record, told = found
        self.used[record.key] = record
        return decisions, told

    def _find(self, region: Region, shape: Shape) -> tuple[Any, RegionRecord, str] | None:
        """Decisions, the record that has them, and what kernels tell of it."""
        for source in self.sources:
            found = source.regions.find(region, shape, self.lowering)
            if found is not None:
                told = f"{source.label}{Path(found[1].where).name}: region {found[1].region}"
                return *found, told + (ESTIMATED if found[1].clock == ESTIMATE else "")
        return None

    def save_used(self, folder: Path) -> None:
        """Keep the records that were used in ``folder``; without any, no folder is made."""
        if self.used:
            RegionRecords().save(folder, self.used.values())
