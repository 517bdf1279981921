"""The `Package` record: a folder with a network as a C library, and what is known of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from msgspec import structs

from sr_tvm.system import files
from sr_tvm.system.validation import Count, PlainName, Record, plain, read_file

SCHEMA, VERSION = "sr-tvm/package", 1
FILE = "package.json"


class PackageFile(Record, frozen=True):
    """What package.json tells: ``files`` are sizes in bytes by path in the folder, ``machine`` is uname's."""

    name: PlainName
    model: str
    model_sha256: str
    target: str
    machine: str
    scale: Count
    channels: Count
    halo: Count
    weight_bytes: Count
    schedule: str
    architecture: dict[str, Any] | None
    files: dict[str, int]


class Package(PackageFile, frozen=True, kw_only=True):
    """A package on disk."""

    folder: Path

    @property
    def bench(self) -> Path:
        """The path of the benchmark program, which need not be there."""
        return self.folder / "bin" / f"{self.name}-bench"

    def save(self) -> None:
        """Write the record into its folder, atomically."""
        value = plain(structs.replace(self, folder=None))
        del value["folder"]
        files.write_json(self.folder / FILE, {"schema": SCHEMA, "version": VERSION, **value})

    @classmethod
    def load(cls, folder: str | Path) -> Package:
        """Read the record of a folder.

        Args:
            folder: Of the package.

        Returns:
            The record, with every field checked.

        Raises:
            SrTvmError: There is none, or a field is missing or wrong.
        """
        folder = Path(folder)
        told = read_file(PackageFile, files.read_json(folder / FILE, SCHEMA, VERSION), str(folder / FILE))
        return cls(folder=folder, **structs.asdict(told))
