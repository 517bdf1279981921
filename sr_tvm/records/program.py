"""The `Program` record: kernels in the order of their calls, their constants, and a plan of the memory between them.

What an artifact's library does through TVM's virtual machine, as plain data: with it and the kernels' object file a C
library, a DSP's runner or a benchmark program can do the same with nothing of TVM beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta

from sr_tvm.errors import SrTvmError
from sr_tvm.records.artifact import Tensors
from sr_tvm.records.size import Size, SizeText, total
from sr_tvm.records.tensor import Tensor
from sr_tvm.system import files
from sr_tvm.system.files import sha256
from sr_tvm.system.validation import Count, Positive, Record, Symbol, plain, read_file

SCHEMA, VERSION = "sr-tvm/program", 1
FOLDER, FILE = "program", "program.json"  # in an artifact
OBJECT, WEIGHTS, REFERENCE = "kernels.o", "weights.bin", "reference.npz"
ALIGNMENT = 64  # bytes, of every constant and buffer: a cache line, and more than any vector


@dataclass(frozen=True)
class Stored:
    """A tensor and where it lies: at byte ``place`` of the weights, or at the start of the buffer of that number."""

    tensor: Tensor
    place: int


class StoredRow(Tensor, frozen=True, kw_only=True):
    """A :class:`Stored` as it is written."""

    place: Count

    @classmethod
    def of(cls, stored: Stored) -> StoredRow:
        """Make the row of a tensor and its place.

        Args:
            stored: The tensor and its place.

        Returns:
            The row, as it is written.
        """
        t = stored.tensor
        return cls(t.name, t.shape, t.dtype, place=stored.place)

    @property
    def stored(self) -> Stored:
        """The tensor and its place."""
        return Stored(Tensor(self.name, self.shape, self.dtype), self.place)


@dataclass(frozen=True)
class Code:
    """A kernel's entry in the object file, called with TVM's packed convention.

    Attributes:
        symbol: Its name there.
        once: Bytes that it takes of the scratch memory by itself, at most.
        per_task: Bytes that each of its tasks, which may run side by side, takes.
    """

    symbol: str
    once: Size = Size()
    per_task: Size = Size()


class Call(Record, frozen=True):
    """One call: the kernel's name and its arguments' names."""

    kernel: str
    arguments: Annotated[tuple[str, ...], Meta(min_length=1)]


class CodeRow(Record, frozen=True):
    """A :class:`Code` as it is written."""

    symbol: Symbol
    once: SizeText
    per_task: SizeText


class ProgramFile(Record, frozen=True):
    """A :class:`Program` as it is written; ``peak`` is for people."""

    device: str
    inputs: Tensors
    outputs: Tensors
    constants: tuple[StoredRow, ...]
    scratch: tuple[StoredRow, ...]
    buffers: tuple[SizeText, ...]
    kernels: dict[str, CodeRow]
    calls: tuple[Call, ...]
    step: Positive
    features: tuple[str, ...]
    peak: str
    digests: dict[str, str]


@dataclass(frozen=True)
class Program:
    """See the module. Names of tensors are unique over inputs, outputs, constants and ``scratch``.

    Attributes:
        device: TVM's name of what the kernels run on.
        buffers: Sizes of what lies between kernels; tensors whose lives don't overlap share one.
        step: A band of rows that begins at a multiple of it is computed as in the whole picture, bit for bit.
        features: Instruction sets that the kernels may use and a processor of its kind may lack, by LLVM's names.
        digests: Hex SHA-256 by file name, of the files beside the record.
    """

    device: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    constants: tuple[Stored, ...]
    scratch: tuple[Stored, ...]
    buffers: tuple[Size, ...]
    kernels: Mapping[str, Code]
    calls: tuple[Call, ...]
    step: int = 1
    features: tuple[str, ...] = ()
    digests: Mapping[str, str] | None = None

    @property
    def between(self) -> Size:
        """The bytes that all buffers take."""
        return total(self.buffers)

    @property
    def once(self) -> Size:
        """What the kernels take at most, beside the buffers and the tasks."""
        return _most(code.once for code in self.kernels.values())

    @property
    def per_task(self) -> Size:
        """What a task takes at most."""
        return _most(code.per_task for code in self.kernels.values())

    def peak(self, threads: int = 1) -> Size:
        """Compute the memory that the network takes at most, but for its inputs, outputs and constants.

        Args:
            threads: Tasks that run side by side at most.

        Returns:
            Bytes, by the sizes of the picture.
        """
        return total([self.between, self.once, *[self.per_task] * threads])

    def tensor(self, name: str) -> Tensor:
        """Find a tensor.

        Args:
            name: Of an input, an output, a constant or one of ``scratch``.

        Returns:
            The tensor.
        """
        return self._tensors()[name]

    def _tensors(self) -> dict[str, Tensor]:
        stored = (s.tensor for s in (*self.constants, *self.scratch))
        return {t.name: t for t in (*self.inputs, *self.outputs, *stored)}

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
        kernels = {n: CodeRow(c.symbol, str(c.once), str(c.per_task)) for n, c in self.kernels.items()}
        written = ProgramFile(
            device=self.device,
            inputs=self.inputs,
            outputs=self.outputs,
            constants=tuple(map(StoredRow.of, self.constants)),
            scratch=tuple(map(StoredRow.of, self.scratch)),
            buffers=tuple(map(str, self.buffers)),
            kernels=kernels,
            calls=self.calls,
            step=self.step,
            features=self.features,
            peak=str(self.peak()),
            digests=dict(self.digests or {}),
        )
        return {"schema": SCHEMA, "version": VERSION, **plain(written)}

    @classmethod
    def load(cls, folder: str | Path) -> Program:
        """Read a record, and check the files beside it against their digests.

        Args:
            folder: Where they lie.

        Returns:
            The program.

        Raises:
            SrTvmError: No such record, a field is wrong, or a file is missing or changed.
        """
        folder = Path(folder)
        where = str(folder / FILE)
        program = cls.from_json(files.read_json(folder / FILE, SCHEMA, VERSION), where)
        for name in (OBJECT, WEIGHTS):
            if name not in (program.digests or {}):
                raise SrTvmError(f"{where}: field digests names no {name}; compile the model again")
        for name, digest in (program.digests or {}).items():
            path = folder / name
            if Path(name).name != name or not path.is_file() or sha256(path) != digest:
                raise SrTvmError(f"{path}: is missing or not the file that was built; compile the model again")
        return program

    @classmethod
    def from_json(cls, value: Any, where: str) -> Program:
        """Read a program, and check that its calls, tensors and buffers fit together.

        Args:
            value: A JSON object, not yet checked.
            where: Where it comes from, such as a file's name: the beginning of an error's message.

        Returns:
            The program.

        Raises:
            SrTvmError: A field is wrong, or names a kernel, tensor or buffer that there is not.
        """
        told = read_file(ProgramFile, value, where)
        made = cls(
            device=told.device,
            inputs=told.inputs,
            outputs=told.outputs,
            constants=tuple(row.stored for row in told.constants),
            scratch=tuple(row.stored for row in told.scratch),
            buffers=tuple(map(Size.parse, told.buffers)),
            kernels={n: Code(c.symbol, Size.parse(c.once), Size.parse(c.per_task)) for n, c in told.kernels.items()},
            calls=told.calls,
            step=told.step,
            features=told.features,
            digests=told.digests,
        )
        made._check(where)
        return made

    def _check(self, where: str) -> None:
        tensors = self._tensors()
        count = len(self.inputs) + len(self.outputs) + len(self.constants) + len(self.scratch)
        if len(tensors) != count:
            raise SrTvmError(f"{where}: two tensors have one name")
        for call in self.calls:
            for name in (n for n in call.arguments if n not in tensors):
                raise SrTvmError(f"{where}: a call of {call.kernel!r} takes {name!r}, which is no tensor")
            if call.kernel not in self.kernels:
                raise SrTvmError(f"{where}: calls {call.kernel!r}, which is no kernel")
        for stored in self.scratch:
            if stored.place >= len(self.buffers):
                raise SrTvmError(f"{where}: {stored.tensor.name!r} lies in buffer {stored.place}, which there is not")
            size = self.buffers[stored.place]
            if size.cover(Size.of(stored.tensor)) != size:
                raise SrTvmError(f"{where}: {stored.tensor.name!r} does not fit into buffer {stored.place}")


def _most(sizes: Any) -> Size:
    result = Size()
    for size in sizes:
        result = result.cover(size)
    return result


def plan_memory(tensors: Mapping[str, Tensor], calls: Sequence[Call]) -> tuple[tuple[Stored, ...], tuple[Size, ...]]:
    """Give each tensor that lies between calls a buffer: one that nothing still needed lies in.

    Of the free buffers it takes the one that grows least; ends are known before, so that the plan is as small as its
    order of calls allows for tensors of one size.

    Args:
        tensors: Those between the calls, by name.
        calls: In the order in which they run; other names among their arguments are not looked at.

    Returns:
        The tensors that a call takes, each with the number of its buffer; and the sizes of the buffers.
    """
    last = {name: i for i, call in enumerate(calls) for name in call.arguments if name in tensors}
    buffers: list[Size] = []
    free: list[int] = []
    places: dict[str, int] = {}
    for i, call in enumerate(calls):
        for name in (n for n in call.arguments if n in tensors and n not in places):
            wanted = Size.of(tensors[name])
            grown = {b: buffers[b].cover(wanted) for b in free}
            if grown:
                best = min(grown, key=lambda b: (grown[b].usual - buffers[b].usual, buffers[b].usual))
                free.remove(best)
                buffers[best] = grown[best]
            else:
                best = len(buffers)
                buffers.append(wanted)
            places[name] = best
        free += [places[name] for name in dict.fromkeys(call.arguments) if last.get(name) == i]
    return tuple(Stored(tensors[name], place) for name, place in places.items()), tuple(buffers)
