"""The `Artifact` record: a folder with a compiled library and everything needed to know what it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import NoneType
from typing import Any

from sr_tvm.errors import SrTvmError
from sr_tvm.records.tensor import Tensor, shape_text
from sr_tvm.system import files
from sr_tvm.system.fields import expect, expect_keys
from sr_tvm.system.files import sha256

__all__ = ["Artifact", "Tensor"]

# Version 2 allows names among the dimensions; version 1 is else the same and still read.
SCHEMA, VERSION, VERSIONS = "sr-tvm/artifact", 2, (1, 2)
MANIFEST = "artifact.json"


@dataclass(frozen=True)
class Artifact:
    """A compiled model on disk. ``folder`` holds artifact.json, the library, pass_report.json and any tuning record.

    ``target`` is our preset's name, ``tvm_target`` TVM's own description of it. ``schedule`` is "default" or "tuned".
    ``kernels`` says which kernel runs on which device. ``notes`` are for people: "not yet optimised", "compile only".
    ``halo`` is how many input pixels to each side an output pixel depends on; None where the network can't be tiled.
    ``fp16``: where kernels keep numbers in float16, how many do; else None.
    ``verification``: where its kernels ran before it was written, and how far they were off; None if they did not.
    ``any_size``: the library takes inputs of any size, also where :meth:`at` has fixed one. Not in the manifest.
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
    fp16: dict[str, Any] | None = None
    verification: dict[str, Any] | None = None
    any_size: bool = False

    def at(self, shapes: Mapping[str, Sequence[int]]) -> Artifact:
        """This artifact at one size: for each input its shape by name, where "" stands for an only input's.

        Raises:
            SrTvmError: an unknown input, or a shape that it does not take.
        """
        given = dict(shapes)
        if "" in given and len(self.inputs) == 1:
            given[self.inputs[0].name] = given.pop("")
        sizes: dict[str, int] = {}
        for tensor in self.inputs:
            where = f"{self.folder}: input {tensor.name!r} is {shape_text(tensor.shape)}"
            if tensor.names and tensor.name not in given:
                raise SrTvmError(f"{where}, of any size; name one, for example --input-shape {tensor.example()}")
            shape = given.pop(tensor.name) if tensor.name in given else tensor.at({})
            if not tensor.bind(shape, sizes):
                raise SrTvmError(f"{where}; {shape_text(shape)} does not fit")
        for name in given:
            known = ", ".join(repr(t.name) for t in self.inputs)
            raise SrTvmError(f"{self.folder}: has no input {name!r}; it has {known}")
        fixed_inputs, fixed_outputs = (
            tuple(dataclasses.replace(t, shape=t.at(sizes)) for t in some) for some in (self.inputs, self.outputs)
        )
        return dataclasses.replace(self, inputs=fixed_inputs, outputs=fixed_outputs)

    @property
    def library_path(self) -> Path:
        return self.folder / self.library

    def save(self) -> None:
        """Write the manifest into ``folder``. Build inside :func:`sr_tvm.system.files.atomic_folder`."""
        value = asdict(self)
        del value["folder"], value["any_size"]
        for name in ("fp16", "verification"):  # a reader that does not know them can have the others
            if value[name] is None:
                del value[name]
        files.write_json(self.folder / MANIFEST, {"schema": SCHEMA, "version": VERSION, **value})

    @classmethod
    def load(cls, folder: str | Path) -> Artifact:
        """Read an artifact and check that its library is the one that was built.

        Raises:
            SrTvmError: no artifact there, a field is missing, or the library is absent, changed or outside the folder.
        """
        folder = Path(folder)
        value = files.read_json(folder / MANIFEST, SCHEMA, *VERSIONS)
        artifact = cls(folder=folder, **_checked(value, str(folder / MANIFEST)))
        if Path(artifact.library).name != artifact.library:
            raise SrTvmError(f"{folder / MANIFEST}: field library is {artifact.library!r}; give a plain file name")
        if not artifact.library_path.is_file():
            raise SrTvmError(f"{artifact.library_path}: no such file; compile the model again")
        if sha256(artifact.library_path) != artifact.library_sha256:
            raise SrTvmError(f"{artifact.library_path}: not the library that was built; compile the model again")
        return artifact


_KINDS: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("model", "model_sha256", "target", "library", "library_sha256", "layout", "schedule"), str),
    **dict.fromkeys(("inputs", "outputs", "kernels", "notes"), list),
    **dict.fromkeys(("tvm_target", "versions"), dict),
    "architecture": (dict, NoneType),
    "halo": (int, NoneType),
    "fp16": (dict, NoneType),
    "verification": (dict, NoneType),
}
_ROWS: dict[str, type] = {"kernels": dict, "notes": str}


def _checked(value: dict[str, Any], where: str) -> dict[str, Any]:
    """The fields of a manifest as those of an :class:`Artifact`."""
    needed = {f.name for f in dataclasses.fields(Artifact) if _required(f)} - {"folder"}
    expect_keys(value, needed, _KINDS.keys() | {"schema", "version"}, where)
    found = {k: v for k, v in value.items() if k in _KINDS}
    for name, content in found.items():
        least = 1 if name in ("inputs", "outputs") else 0 if name == "halo" else None
        expect(content, _KINDS[name], f"{where}: field {name}", least)
    for name in ("inputs", "outputs"):
        found[name] = tuple(Tensor.from_json(t, f"{where}: field {name}[{i}]") for i, t in enumerate(found[name]))
    _check_names(found["inputs"], found["outputs"], where)
    found["any_size"] = any(t.names for t in found["inputs"])
    for name, kind in _ROWS.items():
        rows = enumerate(found.get(name, ()))
        found[name] = tuple(expect(row, kind, f"{where}: field {name}[{i}]") for i, row in rows)
    for key, version in found.get("versions", {}).items():
        expect(version, str, f"{where}: field versions.{key}")
    expect(found["tvm_target"].get("kind", ""), str, f"{where}: field tvm_target.kind")
    return found


def _check_names(inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...], where: str) -> None:
    for tensor in inputs:
        if any(isinstance(d, str) and "*" in d for d in tensor.shape):
            raise SrTvmError(f"{where}: field inputs: {tensor.name!r} is {shape_text(tensor.shape)}; use plain names")
    unknown = {n for t in outputs for n in t.names} - {n for t in inputs for n in t.names}
    if unknown:
        raise SrTvmError(f"{where}: field outputs: {sorted(unknown)[0]!r} is no dimension of an input")


def _required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
