"""The `Package` record: a folder with a network as a C library, and what is known of it."""

from __future__ import annotations

import dataclasses
from dataclasses import asdict, dataclass
from pathlib import Path
from types import NoneType
from typing import Any

from sr_tvm.system import files
from sr_tvm.system.fields import expect, expect_keys

SCHEMA, VERSION = "sr-tvm/package", 1
FILE = "package.json"


@dataclass(frozen=True)
class Package:
    """A package on disk. ``files`` are sizes in bytes by path in the folder, ``machine`` as ``uname -m`` says it."""

    folder: Path
    name: str
    model: str
    model_sha256: str
    target: str
    machine: str
    scale: int
    channels: int
    halo: int
    weight_bytes: int
    schedule: str
    architecture: dict[str, Any] | None
    files: dict[str, int]

    @property
    def bench(self) -> Path:
        """The benchmark program, which there may be."""
        return self.folder / "bin" / f"{self.name}-bench"

    def save(self) -> None:
        """Write the record into its folder."""
        value = asdict(self)
        del value["folder"]
        files.write_json(self.folder / FILE, {"schema": SCHEMA, "version": VERSION, **value})

    @classmethod
    def load(cls, folder: str | Path) -> Package:
        """Read the record of a folder.

        Raises:
            SrTvmError: there is none, or a field is missing or wrong.
        """
        folder = Path(folder)
        where = str(folder / FILE)
        value = files.read_json(folder / FILE, SCHEMA, VERSION)
        kinds: dict[str, Any] = {
            **dict.fromkeys(("name", "model", "model_sha256", "target", "machine", "schedule"), str),
            **dict.fromkeys(("scale", "channels", "halo", "weight_bytes"), int),
            "architecture": (dict, NoneType),
            "files": dict,
        }
        expect_keys(value, set(kinds), kinds.keys() | {"schema", "version"}, where)
        for key, kind in kinds.items():
            expect(value[key], kind, f"{where}: field {key}", 0 if kind is int else None)
        if Path(value["name"]).name != value["name"]:
            expect(None, str, f"{where}: field name")
        return cls(folder, **{f.name: value[f.name] for f in dataclasses.fields(cls) if f.name != "folder"})
