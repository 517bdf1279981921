"""The device code of a compiled network beside its library: OpenCL C, and what is known of the kernels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sr_tvm.errors import SrTvmError
from sr_tvm.isa.launch import Launch
from sr_tvm.system import files
from sr_tvm.system.validation import Record, plain, read_file

TEXT, FACTS = "kernels.cl", "kernels.json"
SCHEMA, PROGRAMS, VERSION = "sr-tvm/device-kernels", "sr-tvm/device-programs", 1


class KernelsFile(Record, frozen=True, forbid_unknown_fields=False):
    """What ``kernels.json`` tells."""

    launches: tuple[Launch, ...]
    calls: tuple[str, ...]


@dataclass(frozen=True)
class DeviceCode:
    """A network's kernels.

    Attributes:
        text: OpenCL C of all of them.
        launches: What is known of each, in the text's order.
        calls: Names of the kernels that a run of the network launches, in that order.
    """

    text: str
    launches: tuple[Launch, ...]
    calls: tuple[str, ...]

    def save(self, folder: str | Path) -> None:
        """Write ``kernels.cl`` and ``kernels.json``, each of them whole or not at all.

        Args:
            folder: Of the artifact; it is there.

        Raises:
            SrTvmError: The place cannot be written, or its disk is full.
        """
        with files.atomic_file(Path(folder) / TEXT) as partial:
            partial.write_text(self.text, encoding="utf-8")
        facts = KernelsFile(self.launches, self.calls).to_json()
        files.write_json(Path(folder) / FACTS, {"schema": SCHEMA, "version": VERSION, **facts})

    @classmethod
    def load(cls, folder: str | Path) -> DeviceCode:
        """Read what :meth:`save` wrote.

        Args:
            folder: Of the artifact.

        Returns:
            The kernels of the network.

        Raises:
            SrTvmError: The files are not there, or a field is missing or of another type.
        """
        path = Path(folder) / FACTS
        if not path.is_file():
            raise SrTvmError(f"{folder} has no {FACTS}: no OpenCL artifact, or an older one; compile the model again")
        value = files.read_json(path, SCHEMA, VERSION)
        told = read_file(KernelsFile, value, str(path))
        unknown = sorted(set(told.calls) - {launch.name for launch in told.launches})
        if unknown:
            raise SrTvmError(f"{path}: field calls has {unknown[0]!r}, which is no kernel of it")
        try:
            text = (Path(folder) / TEXT).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SrTvmError(f"{Path(folder) / TEXT}: cannot be read ({error})") from None
        return cls(text, told.launches, told.calls)


class KernelSource(Record, frozen=True, forbid_unknown_fields=False):
    """One kernel as a program of its own: OpenCL C, and what is known of it."""

    text: str
    launch: Launch


class ProgramsFile(Record, frozen=True, forbid_unknown_fields=False):
    """The programs of a candidate."""

    programs: list[KernelSource]


def programs_of(library: str | Path) -> Path:
    """Name the file of the programs of a candidate.

    Args:
        library: The candidate's library.

    Returns:
        The path of a JSON file beside it, which need not be there.
    """
    return Path(library).with_suffix(".kernels.json")


def save_programs(programs: Sequence[KernelSource], path: Path) -> None:
    """Write the kernels of a candidate of the tuner, whole or not at all.

    Args:
        programs: In the order of their calls.
        path: Of the JSON file.

    Raises:
        SrTvmError: The place cannot be written, or its disk is full.
    """
    files.write_json(path, {"schema": PROGRAMS, "version": VERSION, "programs": plain(list(programs))})


def load_programs(path: Path) -> list[KernelSource]:
    """Read what :func:`save_programs` wrote.

    Args:
        path: Of the JSON file.

    Returns:
        The kernels in the order of their calls.

    Raises:
        SrTvmError: The file is not there, or a field is missing or of another type.
    """
    return read_file(ProgramsFile, files.read_json(path, PROGRAMS, VERSION), str(path)).programs
