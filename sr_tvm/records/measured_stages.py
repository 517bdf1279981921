"""Which stages of a program a candidate is measured by: a file beside the program."""

from __future__ import annotations

from pathlib import Path

from sr_tvm.system import files
from sr_tvm.system.validation import Count, Record, read_file

NAME, SCHEMA, VERSION = "measured.json", "sr-tvm/measured-stages", 1


class Measured(Record, frozen=True, forbid_unknown_fields=False):
    """What the file tells."""

    stages: list[Count]
    weight: Count


def write(folder: Path, stages: list[int], weight: int) -> None:
    """Say which stages count, by number, and how many kernels of the kind the network has."""
    files.write_json(folder / NAME, {"schema": SCHEMA, "version": VERSION, **Measured(stages, weight).to_json()})


def read(folder: Path) -> tuple[list[int], int]:
    """Read what :func:`write` wrote.

    Raises:
        SrTvmError: the file is not there, or damaged.
    """
    told = read_file(Measured, files.read_json(folder / NAME, SCHEMA, VERSION), str(folder / NAME))
    return told.stages, told.weight
