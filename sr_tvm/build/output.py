"""The output folder of a build: what may be replaced."""

from __future__ import annotations

import os
from pathlib import Path

from sr_tvm.errors import SrTvmError
from sr_tvm.records.artifact import MANIFEST
from sr_tvm.system import files


def check_output(out: str | Path, database_dir: str | Path | None = None) -> None:
    """Refuse, before minutes of work, an output folder whose replacement would destroy what is not an artifact.

    Args:
        out: The folder that a build will write or replace.
        database_dir: The folder of tuning records that it will read; None if none was named.

    Raises:
        SrTvmError: ``out`` cannot be written or replaced, holds other things, or holds the tuning records that the
            build is to read.
    """
    out = Path(out)
    files.check_writable(out)
    whole, here = Path(os.path.realpath(out)), Path.cwd()
    if whole in (here, *here.parents):
        raise SrTvmError(f"cannot write {out}: the current folder is it or lies in it; name another")
    if whole.is_mount():
        raise SrTvmError(f"cannot write {out}: it is a mount point, which cannot be replaced; name a folder in it")
    if out.is_dir() and any(out.iterdir()) and not (out / MANIFEST).is_file():
        raise SrTvmError(f"cannot write {out}: the folder holds other files; name a new folder, or an artifact's")
    if out.exists() and not out.is_dir():
        raise SrTvmError(f"cannot write {out}: a file of that name is there; name a folder")
    if database_dir is not None:
        records = Path(database_dir).resolve()
        if whole in (records, *records.parents):
            raise SrTvmError(f"the tuning records {database_dir} lie in the output folder {out}, which is replaced")
