"""The `DeviceProgram` record: a network as kernels of OpenCL C, the memories they work on, and how each is launched.

What an artifact's library does through TVM's virtual machine, as plain data for one size of picture; all arguments of a
launch are memories that can be bound once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from sr_tvm.errors import SrTvmError
from sr_tvm.records.program import FILE, WEIGHTS, Stored
from sr_tvm.records.tensor import Tensor
from sr_tvm.system import files
from sr_tvm.system.fields import expect, expect_keys
from sr_tvm.system.files import sha256

SCHEMA, VERSION = "sr-tvm/device-program", 1
INPUT, OUTPUT, WEIGHT, MEMORY = KINDS = ("input", "output", "weights", "memory")
_SYMBOL = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,200}")
_BITS = (16, 32)


@dataclass(frozen=True)
class Memory:
    """Memory between kernels: ``bytes``, or where ``image`` tells width, height and layers, an array of 2D images.

    Pixels have four numbers of ``bits`` each.
    """

    bytes: int
    image: tuple[int, int, int] | None = None
    bits: int = 32


@dataclass(frozen=True)
class KernelLaunch:
    """A kernel as it is launched: its name in the OpenCL C, its arguments' names, and sizes along x, y, z."""

    kernel: str
    arguments: tuple[str, ...]
    groups: tuple[int, int, int]
    items: tuple[int, int, int]


@dataclass(frozen=True)
class DeviceProgram:
    """See the module. Names of tensors are unique over inputs, outputs, constants and ``scratch``.

    Attributes:
        scratch: what lies between kernels, each in the memory of its number; those whose lives don't overlap share one.
        launches: in the order of a run.
        half: whether kernels need float16 (cl_khr_fp16).
        source_sha256: of the artifact's OpenCL C.
        digests: hex SHA-256 by file name, of the files beside the record.
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
        """Write the record into ``folder``, with the digests of the files that lie there."""
        digests = {path.name: sha256(path) for path in sorted(folder.iterdir())}
        files.write_json(folder / FILE, replace(self, digests=digests).to_json())

    def to_json(self) -> dict[str, Any]:
        def tensor(t: Tensor) -> dict[str, Any]:
            return {"name": t.name, "shape": list(t.shape), "dtype": t.dtype}

        return {
            "schema": SCHEMA,
            "version": VERSION,
            "inputs": [tensor(t) for t in self.inputs],
            "outputs": [tensor(t) for t in self.outputs],
            "constants": [{**tensor(s.tensor), "place": s.place} for s in self.constants],
            "scratch": [{**tensor(s.tensor), "place": s.place} for s in self.scratch],
            "memories": [asdict(memory) for memory in self.memories],
            "launches": [asdict(launch) for launch in self.launches],
            "half": self.half,
            "source_sha256": self.source_sha256,
            "digests": dict(self.digests or {}),
        }

    @classmethod
    def load(cls, folder: str | Path, source: Path) -> DeviceProgram:
        """Read the record in ``folder``; check the files beside it, and the OpenCL C ``source``, by their digests.

        Raises:
            SrTvmError: no such record, a field is wrong, or a file is missing or changed.
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
        """Read one, and check that its launches, tensors and memories fit together."""
        lists = ("inputs", "outputs", "constants", "scratch", "memories", "launches")
        kinds: dict[str, Any] = {**dict.fromkeys(lists, list), "half": bool, "source_sha256": str, "digests": dict}
        expect_keys(value, set(kinds), kinds.keys() | {"schema", "version"}, where)
        for key, kind in kinds.items():
            least = 1 if key in ("inputs", "outputs", "launches") else None
            if kind is bool:
                if not isinstance(value[key], bool):
                    raise SrTvmError(f"{where}: field {key} is no boolean")
            else:
                expect(value[key], kind, f"{where}: field {key}", least)
        made = cls(
            inputs=tuple(Tensor.from_json(t, f"{where}: field inputs[{i}]") for i, t in enumerate(value["inputs"])),
            outputs=tuple(Tensor.from_json(t, f"{where}: field outputs[{i}]") for i, t in enumerate(value["outputs"])),
            constants=_stored(value["constants"], f"{where}: field constants"),
            scratch=_stored(value["scratch"], f"{where}: field scratch"),
            memories=tuple(_memory(m, f"{where}: field memories[{i}]") for i, m in enumerate(value["memories"])),
            launches=tuple(_launch(m, f"{where}: field launches[{i}]") for i, m in enumerate(value["launches"])),
            half=value["half"],
            source_sha256=value["source_sha256"],
            digests=value["digests"],
        )
        made._check(where)
        return made

    def numbers(self) -> dict[str, tuple[str, int]]:
        """Where each tensor lies, by name: one of :data:`KINDS`, and its number there."""
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


def _stored(rows: list[Any], where: str) -> tuple[Stored, ...]:
    found = []
    for i, row in enumerate(rows):
        here, keys = f"{where}[{i}]", {"name", "shape", "dtype", "place"}
        row = dict(expect_keys(row, keys, keys, here))
        place = expect(row.pop("place"), int, f"{here}: field place", 0)
        found.append(Stored(Tensor.from_json(row, here), place))
    return tuple(found)


def _axes(value: Any, where: str) -> tuple[int, int, int]:
    if len(expect(value, list, where)) != 3:
        raise SrTvmError(f"{where}: three sizes are needed")
    x, y, z = (expect(n, int, where, 1) for n in value)
    return x, y, z


def _memory(value: Any, where: str) -> Memory:
    keys = {"bytes", "image", "bits"}
    expect_keys(value, keys, keys, where)
    image = None if value["image"] is None else _axes(value["image"], f"{where}: field image")
    bits = expect(value["bits"], int, f"{where}: field bits")
    if bits not in _BITS:
        raise SrTvmError(f"{where}: field bits is {bits}; {_BITS} are known")
    return Memory(expect(value["bytes"], int, f"{where}: field bytes", 1), image, bits)


def _launch(value: Any, where: str) -> KernelLaunch:
    keys = {"kernel", "arguments", "groups", "items"}
    expect_keys(value, keys, keys, where)
    kernel = expect(value["kernel"], str, f"{where}: field kernel")
    if not _SYMBOL.fullmatch(kernel):
        raise SrTvmError(f"{where}: field kernel is {kernel[:80]!r}; a name as C has it is needed")
    names = expect(value["arguments"], list, f"{where}: field arguments", 1)
    arguments = tuple(expect(n, str, f"{where}: field arguments") for n in names)
    return KernelLaunch(
        kernel,
        arguments,
        _axes(value["groups"], f"{where}: field groups"),
        _axes(value["items"], f"{where}: field items"),
    )
