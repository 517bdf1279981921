"""Which stages of a program a candidate is measured by: a file beside the program."""

from __future__ import annotations

from pathlib import Path

from sr_tvm.system import files
from sr_tvm.system.validation import Count, Record, read_file

NAME, SCHEMA, VERSION = "measured.json", "sr-tvm/measured-stages", 1


class Measured(Record, frozen=True, forbid_unknown_fields=False):
    """The content of the file.

    Attributes:
        stages: Numbers of the stages that are measured, in the program's order from 0.
        weight: How many kernels of the kind the network has.
    """

    stages: list[Count]
    weight: Count


def write(folder: Path, stages: list[int], weight: int) -> None:
    """Write beside a program which of its stages a candidate is measured by.

    Args:
        folder: The program's.
        stages: Numbers of the stages that count, from 0.
        weight: How many kernels of the kind the network has.

    Raises:
        SrTvmError: The file cannot be written.
    """
    files.write_json(folder / NAME, {"schema": SCHEMA, "version": VERSION, **Measured(stages, weight).to_json()})


def read(folder: Path) -> tuple[list[int], int]:
    """Read which stages of a program a candidate is measured by, as :func:`write` wrote it.

    Args:
        folder: The program's.

    Returns:
        The numbers of the stages that count, and how many kernels of the kind the network has.

    Raises:
        SrTvmError: The file is not there, or damaged.
    """
    told = read_file(Measured, files.read_json(folder / NAME, SCHEMA, VERSION), str(folder / NAME))
    return told.stages, told.weight
