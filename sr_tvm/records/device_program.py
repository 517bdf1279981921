"""The `DeviceProgram` record: a network as kernels of OpenCL C, the memories they work on, and how each is launched.

What an artifact's library does through TVM's virtual machine, as plain data for one size of picture; all arguments of a
launch are memories that can be bound once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta

from sr_tvm.errors import SrTvmError
from sr_tvm.records.artifact import Tensors
from sr_tvm.records.program import FILE, WEIGHTS, Stored, StoredRow
from sr_tvm.records.tensor import Tensor
from sr_tvm.system import files
from sr_tvm.system.files import sha256
from sr_tvm.system.validation import Positive, Record, Symbol, plain, read_file

SCHEMA, VERSION = "sr-tvm/device-program", 1
INPUT, OUTPUT, WEIGHT, MEMORY = KINDS = ("input", "output", "weights", "memory")
Axes = tuple[Positive, Positive, Positive]


class Memory(Record, frozen=True):
    """Memory between kernels: ``bytes``, or where ``image`` tells width, height and layers, an array of 2D images.

    Pixels have four numbers of ``bits`` each.
    """

    bytes: Positive
    image: Axes | None = None
    bits: Literal[16, 32] = 32


class KernelLaunch(Record, frozen=True):
    """A kernel as it is launched: its name in the OpenCL C, its arguments' names, and sizes along x, y, z."""

    kernel: Symbol
    arguments: Annotated[tuple[str, ...], Meta(min_length=1)]
    groups: Axes
    items: Axes


class DeviceProgramFile(Record, frozen=True):
    """A :class:`DeviceProgram` as it is written."""

    inputs: Tensors
    outputs: Tensors
    constants: tuple[StoredRow, ...]
    scratch: tuple[StoredRow, ...]
    memories: tuple[Memory, ...]
    launches: Annotated[tuple[KernelLaunch, ...], Meta(min_length=1)]
    half: bool
    source_sha256: str
    digests: dict[str, str]


@dataclass(frozen=True)
class DeviceProgram:
    """See the module. Names of tensors are unique over inputs, outputs, constants and ``scratch``.

    Attributes:
        scratch: What lies between kernels, each in the memory of its number; those whose lives don't overlap share one.
        launches: In the order of a run.
        half: Whether kernels need float16 (cl_khr_fp16).
        source_sha256: of the artifact's OpenCL C.
        digests: Hex SHA-256 by file name, of the files beside the record.
    """

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    constants: tuple[Stored, ...]
    scratch: tuple[Stored, ...]
    memories: tuple[Memory, ...]
    launches: tuple[KernelLaunch, ...]
    half: bool
    source_sha256: str
    digests: Mapping[str, str] | None = None

    def save(self, folder: Path) -> None:
        """Write the record, with the digests of the files that lie beside it.

        Args:
            folder: Where those files lie already.
        """
        digests = {path.name: sha256(path) for path in sorted(folder.iterdir())}
        files.write_json(folder / FILE, replace(self, digests=digests).to_json())

    def to_json(self) -> dict[str, Any]:
        """Describe the program as JSON, from which :meth:`from_json` reads it.

        Returns:
            A JSON object with schema and version.
        """
        written = DeviceProgramFile(
            inputs=self.inputs,
            outputs=self.outputs,
            constants=tuple(map(StoredRow.of, self.constants)),
            scratch=tuple(map(StoredRow.of, self.scratch)),
            memories=self.memories,
            launches=self.launches,
            half=self.half,
            source_sha256=self.source_sha256,
            digests=dict(self.digests or {}),
        )
        return {"schema": SCHEMA, "version": VERSION, **plain(written)}

    @classmethod
    def load(cls, folder: str | Path, source: Path) -> DeviceProgram:
        """Read a record, and check the weights beside it and the OpenCL C by their digests.

        Args:
            folder: Where the record and the weights lie.
            source: The file with the artifact's OpenCL C.

        Returns:
            The program.

        Raises:
            SrTvmError: No such record, a field is wrong, or a file is missing or changed.
        """
        folder = Path(folder)
        program = cls.from_json(files.read_json(folder / FILE, SCHEMA, VERSION), str(folder / FILE))
        wanted = {folder / WEIGHTS: (program.digests or {}).get(WEIGHTS), source: program.source_sha256}
        for path, digest in wanted.items():
            if digest is None or not path.is_file() or sha256(path) != digest:
                raise SrTvmError(f"{path}: is missing or not the file that was built; compile the model again")
        return program

    @classmethod
    def from_json(cls, value: Any, where: str) -> DeviceProgram:
        """Read a program, and check that its launches, tensors and memories fit together.

        Args:
            value: A JSON object, not yet checked.
            where: Where it comes from, such as a file's name: the beginning of an error's message.

        Returns:
            The program.

        Raises:
            SrTvmError: A field is wrong, or names a tensor or memory that there is not.
        """
        told = read_file(DeviceProgramFile, value, where)
        made = cls(
            inputs=told.inputs,
            outputs=told.outputs,
            constants=tuple(row.stored for row in told.constants),
            scratch=tuple(row.stored for row in told.scratch),
            memories=told.memories,
            launches=told.launches,
            half=told.half,
            source_sha256=told.source_sha256,
            digests=told.digests,
        )
        made._check(where)
        return made

    def numbers(self) -> dict[str, tuple[str, int]]:
        """Find where each tensor lies.

        Returns:
            By name, one of :data:`KINDS`, and its number there; memories are shared.
        """
        found = {t.name: (INPUT, i) for i, t in enumerate(self.inputs)}
        found |= {t.name: (OUTPUT, i) for i, t in enumerate(self.outputs)}
        found |= {s.tensor.name: (WEIGHT, i) for i, s in enumerate(self.constants)}
        return found | {s.tensor.name: (MEMORY, s.place) for s in self.scratch}

    def _check(self, where: str) -> None:
        known = self.numbers()
        if len(known) != len(self.inputs) + len(self.outputs) + len(self.constants) + len(self.scratch):
            raise SrTvmError(f"{where}: two tensors have one name")
        for stored in self.scratch:
            if stored.place >= len(self.memories):
                raise SrTvmError(f"{where}: {stored.tensor.name!r} lies in memory {stored.place}, which there is not")
        for launch in self.launches:
            for name in (n for n in launch.arguments if n not in known):
                raise SrTvmError(f"{where}: a launch of {launch.kernel!r} takes {name!r}, which is no tensor")
