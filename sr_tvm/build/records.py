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
        """The beginning of its records' names: no path of this machine, for it goes into artifacts."""
        return f"{self.group}{self.folder.name}/"

    @cached_property
    def schedules(self) -> Any:
        """The MetaSchedule database in the folder; None where there is none."""
        return schedules.open_database(self.folder, create=False) if schedules.has_schedules(self.folder) else None

    @cached_property
    def regions(self) -> RegionRecords:
        """The decisions of streaming regions in the folder."""
        return RegionRecords.open([self.folder])


def open_sources(target: str, folder: str | Path | None, use_shipped: bool) -> tuple[RecordFolder, ...]:
    """Find the tuning records for a target, the named folder's first.

    Args:
        target: Its name.
        folder: The folder that was named; None if none was.
        use_shipped: Whether the shipped records count.

    Returns:
        The folders, in the order in which they decide.

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
        """Lower a region by the first record that is for it, else as the lowering decides.

        Args:
            region: The region.
            shape: (N, H, W) of its tensors; None for what is known only when it runs.
            name: That the kernels' names begin with.

        Returns:
            The kernels, which tell of the record; empty where the lowering leaves the region alone.
        """
        found = self._find(region, shape)
        if found is None:
            return self.lowering.lower(region, shape, name)
        decisions, record, told = found
        self.used[record.key] = record
        return [kernel.tuned(told) for kernel in self.lowering.lower(region, shape, name, decisions)]

    def decide(self, region: Region, shape: Shape) -> Any:
        """Find the decisions that :meth:`lower` carries out.

        Args:
            region: The region.
            shape: (N, H, W) of its tensors; None for what is known only when it runs.

        Returns:
            The lowering's decisions.
        """
        found = self._find(region, shape)
        return self.lowering.decide(region, shape) if found is None else found[0]

    def recorded(self, region: Region, shape: Shape) -> tuple[Any, str] | None:
        """Find what a record says of a region; it counts as used then.

        Args:
            region: The region.
            shape: (N, H, W) of its tensors; None for what is known only when it runs.

        Returns:
            The decisions, and what kernels tell of the record; None if there is none.
        """
        found = self._find(region, shape)
        if found is None:
            return None
        decisions, record, told = found
        self.used[record.key] = record
        return decisions, told

    def _find(self, region: Region, shape: Shape) -> tuple[Any, RegionRecord, str] | None:
        """Return decisions, the record that has them, and what kernels tell of it; None if there is none."""
        for source in self.sources:
            found = source.regions.find(region, shape, self.lowering)
            if found is not None:
                told = f"{source.label}{Path(found[1].where).name}: region {found[1].region}"
                return *found, told + (ESTIMATED if found[1].clock == ESTIMATE else "")
        return None

    def save_used(self, folder: Path) -> None:
        """Keep the records that were used; without any, no folder is made.

        Args:
            folder: Where they go.
        """
        if self.used:
            RegionRecords().save(folder, self.used.values())
