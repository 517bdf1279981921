"""`PassReport`: what the passes did to a network, as one schema-versioned record."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sr_tvm.errors import SrTvmError
from sr_tvm.system import files

SCHEMA, VERSION = "sr-tvm/pass-report", 1
FILE_NAME = "pass_report.json"

_COUNTS = ("kernels_before", "kernels_after", "intermediate_bytes_before", "intermediate_bytes_after")
_LISTS = {
    "fusions": {"kernel", "operators", "rule", "output_bytes"},
    "refusals": {"where", "reason"},
    "rewrites": {"pass", "where", "rule"},
    "phases": {"number", "name", "what", "ms"},
}


@dataclass(frozen=True)
class PassReport:
    """Kernels and memory traffic before and after the passes, and the rule behind each change.

    A plain reshape is counted nowhere: TVM's build turns it into a view.

    Attributes:
        kernels_before: One kernel for each operator that depends on the network's input, constants folded, no fusion.
        kernels_after: Kernels that are left after the passes.
        intermediate_bytes_before: Sum of the sizes of the kernels' outputs before, less the network's own outputs.
        intermediate_bytes_after: The same sum after the passes.
        fusions: Every kernel that is left, ``{kernel, operators, rule, output_bytes}``.
        rewrites: Operators folded away, ``{pass, where, rule}``.
        refusals: What stayed as it was, ``{where, reason}``.
        phases: What ran, ``{number, name, what, ms}``; ms are milliseconds of wall-clock time.
        per_pixel: Whether the input's size is known only at run time; all bytes are then for one pixel of it.
    """

    kernels_before: int
    kernels_after: int
    intermediate_bytes_before: int
    intermediate_bytes_after: int
    fusions: tuple[dict[str, Any], ...] = ()
    rewrites: tuple[dict[str, Any], ...] = ()
    refusals: tuple[dict[str, Any], ...] = ()
    phases: tuple[dict[str, Any], ...] = ()
    per_pixel: bool = False

    def to_json(self) -> dict[str, Any]:
        """Give the report in its schema-versioned JSON form.

        Returns:
            A dictionary of plain JSON values that shares nothing with the report.
        """
        value = asdict(self)
        for name in _LISTS:
            value[name] = [dict(row) for row in value[name]]
        for row in value["fusions"]:
            row["operators"] = list(row["operators"])
        return {"schema": SCHEMA, "version": VERSION, **value}

    @classmethod
    def from_json(cls, value: dict[str, Any], source: str = "pass report") -> PassReport:
        """Read what :meth:`to_json` gave.

        Args:
            value: The JSON object.
            source: What the messages name, such as the file's path.

        Returns:
            The report.

        Raises:
            SrTvmError: Another schema or version, or a field is missing or of the wrong kind; the message names it.
        """
        if value.get("schema") != SCHEMA or value.get("version") != VERSION:
            raise SrTvmError(f"{source}: not a {SCHEMA} of version {VERSION}")
        for name in _COUNTS:
            if isinstance(value.get(name), bool) or not isinstance(value.get(name), int) or value[name] < 0:
                raise SrTvmError(f"{source}: field {name} is {value.get(name)!r}; a whole number is needed")
        for name, keys in _LISTS.items():
            rows = value.get(name)
            if not isinstance(rows, list) or not all(isinstance(row, dict) and keys <= row.keys() for row in rows):
                raise SrTvmError(f"{source}: field {name} must be a list of objects with {', '.join(sorted(keys))}")
        if not isinstance(value.get("per_pixel", False), bool):  # reports of older builds lack it
            raise SrTvmError(f"{source}: field per_pixel is {value['per_pixel']!r}; true or false is needed")
        fields: dict[str, Any] = {name: value[name] for name in _COUNTS}
        fields["per_pixel"] = value.get("per_pixel", False)
        return cls(**fields | {name: tuple(value[name]) for name in _LISTS})

    def save(self, path: str | Path) -> None:
        """Write the report as a JSON file, atomically.

        Args:
            path: The file, which is replaced where it exists.
        """
        files.write_json(path, self.to_json())

    @classmethod
    def load(cls, path: str | Path) -> PassReport:
        """Read a report file.

        Args:
            path: A file that :meth:`save` wrote.

        Returns:
            The report.

        Raises:
            SrTvmError: The file is missing, foreign or damaged.
        """
        return cls.from_json(files.read_json(path, SCHEMA, VERSION), str(path))
