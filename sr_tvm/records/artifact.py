"""The `Artifact` record: a folder with a compiled library and everything needed to know what it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, structs

from sr_tvm.errors import SrTvmError
from sr_tvm.records.tensor import Tensor, shape_text
from sr_tvm.system import files
from sr_tvm.system.files import sha256
from sr_tvm.system.validation import Count, PlainName, Record, RecordError, plain, read, read_file

__all__ = ["Artifact", "Tensor"]

# Version 2 allows names among the dimensions; version 1 is else the same and still read.
SCHEMA, VERSION, VERSIONS = "sr-tvm/artifact", 2, (1, 2)
MANIFEST = "artifact.json"


Tensors = Annotated[tuple[Tensor, ...], Meta(min_length=1)]


class Manifest(Record, frozen=True):
    """What artifact.json tells of a compiled model.

    ``target`` is our preset's name, ``tvm_target`` TVM's own description of it. ``schedule`` is "default" or "tuned".
    ``kernels`` says which kernel runs on which device. ``notes`` are for people: "not yet optimised", "compile only".
    ``halo`` is how many input pixels to each side an output pixel depends on; None where the network can't be tiled.
    ``fp16``: where kernels keep numbers in float16, how many do; else None.
    ``verification``: where its kernels ran before it was written, and how far they were off; None if they did not.
    """

    model: str
    model_sha256: str
    target: str
    tvm_target: dict[str, Any]
    library: PlainName
    library_sha256: str
    inputs: Tensors
    outputs: Tensors
    layout: str = "NCHW"
    schedule: str = "default"
    kernels: tuple[dict[str, Any], ...] = ()
    notes: tuple[str, ...] = ()
    versions: dict[str, str] = {}
    architecture: dict[str, Any] | None = None
    halo: Count | None = None
    fp16: dict[str, Any] | None = None
    verification: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        for tensor in self.inputs:
            if any("*" in d for d in tensor.shape if isinstance(d, str)):
                raise RecordError(f"field inputs: {tensor.name!r} is {shape_text(tensor.shape)}; use plain names")
        unknown = {n for t in self.outputs for n in t.names} - {n for t in self.inputs for n in t.names}
        if unknown:
            raise RecordError(f"field outputs: {sorted(unknown)[0]!r} is no dimension of an input")


class Artifact(Manifest, frozen=True, kw_only=True):
    """A compiled model on disk. ``folder`` holds artifact.json, the library, pass_report.json and any tuning record.

    ``any_size``: the library takes inputs of any size, also where :meth:`at` has fixed one. Not in the manifest.
    """

    folder: Path
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
            tuple(structs.replace(t, shape=t.at(sizes)) for t in some) for some in (self.inputs, self.outputs)
        )
        return structs.replace(self, inputs=fixed_inputs, outputs=fixed_outputs)

    @property
    def library_path(self) -> Path:
        return self.folder / self.library

    def save(self) -> None:
        """Write the manifest into ``folder``. Build inside :func:`sr_tvm.system.files.atomic_folder`."""
        value = plain(structs.replace(self, folder=None))
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
        manifest = read_file(Manifest, value, str(folder / MANIFEST))
        read(str, manifest.tvm_target.get("kind", ""), str(folder / MANIFEST), "tvm_target.kind")
        any_size = any(tensor.names for tensor in manifest.inputs)
        artifact = cls(folder=folder, any_size=any_size, **structs.asdict(manifest))
        if not artifact.library_path.is_file():
            raise SrTvmError(f"{artifact.library_path}: no such file; compile the model again")
        if sha256(artifact.library_path) != artifact.library_sha256:
            raise SrTvmError(f"{artifact.library_path}: not the library that was built; compile the model again")
        return artifact


