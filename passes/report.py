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

    ``kernels_before`` is one kernel for each operator that depends on the network's input, with constants folded and no
    fusion. A plain reshape is counted nowhere: TVM's build turns it into a view. ``intermediate_bytes_*`` is the sum of
    the sizes of those kernels' outputs, less the network's own outputs.

    ``fusions``: every kernel that is left, ``{kernel, operators, rule, output_bytes}``. ``rewrites``: operators folded
    away, ``{pass, where, rule}``. ``refusals``: ``{where, reason}``. ``phases``: ``{number, name, what, ms}``.

    ``per_pixel``: the input's size is known only at run time, and all bytes are for one pixel of it.
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
        value = asdict(self)
        for name in _LISTS:
            value[name] = [dict(row) for row in value[name]]
        for row in value["fusions"]:
            row["operators"] = list(row["operators"])
        return {"schema": SCHEMA, "version": VERSION, **value}

    @classmethod
    def from_json(cls, value: dict[str, Any], source: str = "pass report") -> PassReport:
        """Read what :meth:`to_json` gave.

        Raises:
            SrTvmError: another schema or version, or a field is missing or of the wrong kind; the message names it.
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
        files.write_json(path, self.to_json())

    @classmethod
    def load(cls, path: str | Path) -> PassReport:
        """Read a report file. Raises SrTvmError where it is missing, foreign or damaged."""
        return cls.from_json(files.read_json(path, SCHEMA, VERSION), str(path))
