"""Which stages of a program a candidate is measured by: a file beside the program."""

from __future__ import annotations

from pathlib import Path

from sr_tvm.errors import SrTvmError
from sr_tvm.system import files

NAME, SCHEMA, VERSION = "measured.json", "sr-tvm/measured-stages", 1


def write(folder: Path, stages: list[int], weight: int) -> None:
    """Say which stages count, by number, and how many kernels of the kind the network has."""
    files.write_json(folder / NAME, {"schema": SCHEMA, "version": VERSION, "stages": stages, "weight": weight})


def read(folder: Path) -> tuple[list[int], int]:
    """Read what :func:`write` wrote.

    Raises:
        SrTvmError: the file is not there, or damaged.
    """
    value = files.read_json(folder / NAME, SCHEMA, VERSION)
    try:
        return [int(i) for i in value["stages"]], int(value["weight"])
    except (KeyError, TypeError, ValueError) as error:
        raise SrTvmError(f"{folder / NAME}: missing or wrong field: {error}") from None
