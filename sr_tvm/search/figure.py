"""Figure A1 of a search: the network that it found, as an SVG and a PNG that stand for themselves."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from sr_tvm.records.architecture import Architecture
from sr_tvm.system import files

NAMES = ("architecture.svg", "architecture.png")


def write_figure(architecture: Architecture, folder: Path) -> list[Path]:
    """Write the drawing of every layer's width, as architecture.svg and architecture.png.

    Args:
        architecture: The network that a search has found.
        folder: Where the files go; files that are there are replaced, atomically.

    Returns:
        The paths of both files; an empty list where matplotlib is not installed.

    Raises:
        SrTvmError: The folder cannot be written.
    """
    if find_spec("matplotlib") is None:
        return []
    from sr_tvm.report.standalone import write_architecture

    paths = [folder / name for name in NAMES]
    for path in paths:
        with files.atomic_file(path) as partial:
            write_architecture(architecture, partial, path.suffix[1:])
    return paths
