"""The device code of a compiled network beside its library: OpenCL C, and what is known of the kernels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sr_tvm.errors import SrTvmError
from sr_tvm.isa.launch import Launch
from sr_tvm.system import files
from sr_tvm.system.fields import expect

TEXT, FACTS = "kernels.cl", "kernels.json"
SCHEMA, PROGRAMS, VERSION = "sr-tvm/device-kernels", "sr-tvm/device-programs", 1


@dataclass(frozen=True)
class DeviceCode:
    """A network's kernels.

    Attributes:
        text: OpenCL C of all of them.
        launches: what is known of each, in the text's order.
        calls: names of the kernels that a run of the network launches, in that order.
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
        facts = {"launches": [launch.to_json() for launch in self.launches], "calls": list(self.calls)}
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
        rows = expect(value.get("launches"), list, f"{path}: field launches")
        launches = tuple(Launch.from_json(row, f"{path}: launches[{i}]") for i, row in enumerate(rows))
        calls = tuple(expect(name, str, f"{path}: field calls") for name in expect(value.get("calls"), list, str(path)))
        unknown = sorted(set(calls) - {launch.name for launch in launches})
        if unknown:
            raise SrTvmError(f"{path}: field calls has {unknown[0]!r}, which is no kernel of it")
        try:
            text = (Path(folder) / TEXT).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SrTvmError(f"{Path(folder) / TEXT}: cannot be read ({error})") from None
        return cls(text, launches, calls)


@dataclass(frozen=True)
class KernelSource:
    """One kernel as a program of its own: OpenCL C, and what is known of it."""

    text: str
    launch: Launch


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
    rows = [{"text": program.text, "launch": program.launch.to_json()} for program in programs]
    files.write_json(path, {"schema": PROGRAMS, "version": VERSION, "programs": rows})


def load_programs(path: Path) -> list[KernelSource]:
    """Read what :func:`save_programs` wrote.

    Args:
        path: Of the JSON file.

    Returns:
        The kernels in the order of their calls.

    Raises:
        SrTvmError: The file is not there, or a field is missing or of another type.
    """
    rows = expect(files.read_json(path, PROGRAMS, VERSION).get("programs"), list, f"{path}: field programs")
    rows = [expect(row, dict, f"{path}: programs[{i}]") for i, row in enumerate(rows)]
    return [
        KernelSource(
            expect(row.get("text"), str, f"{path}: programs[{i}].text"),
            Launch.from_json(row.get("launch"), f"{path}: programs[{i}].launch"),
        )
        for i, row in enumerate(rows)
    ]
