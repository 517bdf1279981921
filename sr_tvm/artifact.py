"""The `Artifact` record: a folder with a compiled library and everything needed to know what it is."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sr_tvm import files
from sr_tvm.errors import SrTvmError

SCHEMA, VERSION = "sr-tvm/artifact", 1
MANIFEST = "artifact.json"


@dataclass(frozen=True)
class Tensor:
    """One input or output: its name, shape and element type (numpy's name)."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Tensor:
        return cls(value["name"], tuple(int(n) for n in value["shape"]), value["dtype"])


@dataclass(frozen=True)
class Artifact:
    """A compiled model on disk. ``folder`` holds artifact.json, the library, pass_report.json and any tuning record.

    ``target`` is our preset's name, ``tvm_target`` TVM's own description of it. ``schedule`` is "default" or "tuned".
    ``kernels`` says which kernel runs on which device. ``notes`` are for people: "not yet optimised", "compile only".
    ``halo`` is how many input pixels to each side an output pixel depends on; None where the network can't be tiled.
    """

    folder: Path
    model: str
    model_sha256: str
    target: str
    tvm_target: dict[str, Any]
    library: str
    library_sha256: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    layout: str = "NCHW"
    schedule: str = "default"
    kernels: tuple[dict[str, Any], ...] = ()
    notes: tuple[str, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    architecture: dict[str, Any] | None = None
    halo: int | None = None

    @property
    def library_path(self) -> Path:
        return self.folder / self.library

    def save(self) -> None:
        """Write the manifest into ``folder``. Build inside :func:`sr_tvm.files.atomic_folder`."""
        value = asdict(self)
        del value["folder"]
        files.write_json(self.folder / MANIFEST, {"schema": SCHEMA, "version": VERSION, **value})

    @classmethod
    def load(cls, folder: str | Path) -> Artifact:
        """Read an artifact and check that its library is the one that was built.

        Raises:
            SrTvmError: no artifact there, a field is missing, or the library is absent, changed or outside the folder.
        """
        folder = Path(folder)
        value = files.read_json(folder / MANIFEST, SCHEMA, VERSION)
        try:
            fields = {k: v for k, v in value.items() if k not in ("schema", "version")}
            fields["inputs"] = tuple(Tensor.from_json(t) for t in fields["inputs"])
            fields["outputs"] = tuple(Tensor.from_json(t) for t in fields["outputs"])
            fields["kernels"] = tuple(fields.get("kernels", ()))
            fields["notes"] = tuple(fields.get("notes", ()))
            artifact = cls(folder=folder, **fields)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise SrTvmError(f"{folder / MANIFEST}: missing or wrong field: {error}") from None
        if Path(artifact.library).name != artifact.library:
            raise SrTvmError(f"{folder / MANIFEST}: field library is {artifact.library!r}; give a plain file name")
        if not artifact.library_path.is_file():
            raise SrTvmError(f"{artifact.library_path}: no such file; compile the model again")
        if sha256(artifact.library_path) != artifact.library_sha256:
            raise SrTvmError(f"{artifact.library_path}: not the library that was built; compile the model again")
        return artifact


def sha256(path: str | Path) -> str:
    """The hex SHA-256 of a file's bytes."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
