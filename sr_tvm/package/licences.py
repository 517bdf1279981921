"""The licence texts that a package must bring."""

from __future__ import annotations

import importlib.util
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import sr_tvm
from sr_tvm.errors import SrTvmError


def copy(folder: Path, musl: bool) -> None:
    """Write the licence texts that a package needs.

    Args:
        folder: Where they go.
        musl: Whether the benchmark program has musl, a C library, inside.

    Raises:
        SrTvmError: The licence text of sr-tvm is not installed with it.
    """
    (folder / "sr-tvm.txt").write_text(_own(), encoding="utf-8")
    if musl:
        spec = importlib.util.find_spec("ziglang")
        places = spec.submodule_search_locations if spec is not None else None
        path = Path(next(iter(places or ["."]))) / "lib" / "libc" / "musl" / "COPYRIGHT"
        if path.is_file():
            (folder / "musl-in-the-benchmark-program.txt").write_bytes(path.read_bytes())


def _own() -> str:
    beside = Path(sr_tvm.__file__).resolve().parent.parent / "LICENSE"
    if beside.is_file():
        return beside.read_text(encoding="utf-8")
    try:
        found = [path for path in files("sr-tvm") or () if path.name == "LICENSE"]
    except PackageNotFoundError:
        found = []
    if not found:
        raise SrTvmError("the licence text of sr-tvm is not installed; install it again")
    return found[0].read_text()
