"""Atomic writes and versioned JSON: nothing half-written is ever left under its final name."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sr_tvm.errors import SrTvmError


def _temporary(path: Path, make: Any) -> str:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return make(dir=path.parent, prefix=f".{path.name}.", suffix=".partial")
    except OSError as error:
        reason = error.strerror or error
        raise SrTvmError(f"cannot write {path}: {reason}; name a place that can be written") from error


def _file(**place: Any) -> str:
    handle, name = tempfile.mkstemp(**place)
    os.close(handle)
    return name


def _umask_mode(base: int) -> int:
    mask = os.umask(0)
    os.umask(mask)
    return base & ~mask


@contextlib.contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it takes the final name, on any exception it is removed."""
    path = Path(path)
    partial = Path(_temporary(path, _file))
    try:
        yield partial
        os.chmod(partial, _umask_mode(0o666))
        if path.is_dir():
            raise SrTvmError(f"cannot write {path}: it is a folder; name a file")
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Like :func:`atomic_file` for a folder. An older folder of that name stays until the new one is whole."""
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise SrTvmError(f"cannot write {path}: a file of that name is there; name a folder")
    partial = Path(_temporary(path, tempfile.mkdtemp))
    old = partial.with_suffix(".old.partial")
    try:
        yield partial
        os.chmod(partial, _umask_mode(0o777))
        if path.exists():
            os.replace(path, old)
        os.replace(partial, path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        if old.exists() and not path.exists():
            os.replace(old, path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def write_json(path: str | Path, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically. NaN and infinities are refused: they are not JSON."""
    with atomic_file(path) as partial:
        partial.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: str | Path, schema: str, version: int) -> dict[str, Any]:
    """Read a JSON object whose ``schema`` and ``version`` fields must be the ones given.

    Raises:
        SrTvmError: the file is missing, is not JSON, or is of another schema or version.
    """
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SrTvmError(f"{path}: no such file") from None
    except OSError as error:
        raise SrTvmError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise SrTvmError(f"{path}: not JSON ({str(error)[:120]})") from None
    if not isinstance(value, dict) or value.get("schema") != schema:
        raise SrTvmError(f'{path}: not a {schema} file (its "schema" field must be "{schema}")')
    if value.get("version") != version:
        raise SrTvmError(f"{path}: {schema} version {value.get('version')!r}; this sr-tvm reads version {version}")
    return value
