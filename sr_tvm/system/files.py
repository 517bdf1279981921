"""Atomic writes and versioned JSON: nothing half-written is ever left under its final name.

A file is on the disk before it takes its name, so that this holds for the power, too. Of a folder it does not: what is
in one can be gigabytes, and what is read back has checksums.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sr_tvm.errors import SrTvmError

# What a full or failing disk says, whichever file it says it of.
_STORAGE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS}


def check_writable(path: str | Path) -> None:
    """Refuse, before the work, a file or folder that :func:`atomic_file` or :func:`atomic_folder` could not make.

    Creates nothing, so it can be wrong about a disk that is full or a file system that lies.

    Args:
        path: Of the file or folder that is to be made.

    Raises:
        SrTvmError: A part of the path is a file, or the folder it would be made in cannot be written.
    """
    place = _final(path) if os.path.isdir(path) else Path(path).absolute()
    while not os.path.lexists(place := place.parent) and place != place.parent:
        pass
    if not os.path.isdir(place):
        raise SrTvmError(f"cannot write {path}: {place} is not a folder; name a place that can be written")
    if not os.access(place, os.W_OK | os.X_OK):
        raise SrTvmError(f"cannot write {path}: {place} is write-protected; name a place that can be written")


def _final(path: str | Path) -> Path:
    """Return where a folder really lies: renaming a link to it would replace the link."""
    return Path(os.path.realpath(path))


def _temporary(path: Path, make: Any) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return Path(make(dir=path.parent, prefix=f".{path.name}.", suffix=".partial"))
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
def _told(path: str | Path, partial: Path) -> Iterator[None]:
    """Make one line of an OSError about what is being written; one about anything else is not ours to explain.

    Raises:
        SrTvmError: The file could not be written.
        OSError: It is about something else.
    """
    try:
        yield
    except OSError as error:
        named = [os.fsdecode(n) for n in (error.filename, error.filename2) if isinstance(n, (str, bytes))]
        ours = any(Path(n) == partial or partial in Path(n).parents for n in named)
        if not ours and error.errno not in _STORAGE:
            raise
        place = path if ours or not named else named[0]
        reason = error.strerror or error
        raise SrTvmError(f"cannot write {place}: {reason}; what was there before is unchanged") from error


def _sync(path: Path) -> None:
    """Have the disk hold what is in a file, or which names are in a folder, as far as the file system can.

    Raises:
        OSError: The disk is full, broken or read-only.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno in _STORAGE:
            raise
    finally:
        os.close(handle)


@contextlib.contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside a file's; on success it takes the final name, on any exception it is removed.

    Args:
        path: The final name; its folder is made if it is not there.

    Yields:
        The temporary path, to be written within the block.

    Raises:
        SrTvmError: The place cannot be written, or its disk is full, here or in the body.
    """
    path = Path(path)
    partial = _temporary(path, _file)
    try:
        with _told(path, partial):
            yield partial
            _sync(partial)
            os.chmod(partial, _umask_mode(0o666))
            if os.path.isdir(path):
                raise SrTvmError(f"cannot write {path}: it is a folder; name a file")
            os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    with contextlib.suppress(OSError):  # the file is there; a folder can be one that may not be read
        _sync(path.parent)


@contextlib.contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yield a temporary folder that takes the final name on success, and is removed on any exception.

    An older folder of that name stays until the new one is whole. A link to a folder stays; the folder that it leads to
    is replaced.

    Args:
        path: The final name; the folder above it is made if it is not there.

    Yields:
        The temporary folder, to be filled within the block.

    Raises:
        SrTvmError: A file has the name, or the place cannot be written, or its disk is full.
    """
    final = _final(path)
    if os.path.lexists(final) and not os.path.isdir(final):
        raise SrTvmError(f"cannot write {path}: a file of that name is there; name a folder")
    partial = _temporary(final, tempfile.mkdtemp)
    old = partial.with_suffix(".old.partial")
    try:
        with _told(path, partial):
            yield partial
            os.chmod(partial, _umask_mode(0o777))
            if final.exists():
                os.replace(final, old)
            os.replace(partial, final)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        if old.exists() and not final.exists():
            os.replace(old, final)
        shutil.rmtree(old, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)


def write_json(path: str | Path, value: Any) -> None:
    """Write a value as indented JSON, atomically.

    Args:
        path: The file.
        value: Anything that JSON can hold; NaN and infinities are refused with ValueError, as they are not JSON.

    Raises:
        SrTvmError: The place cannot be written.
    """
    with atomic_file(path) as partial:
        partial.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: str | Path, schema: str, *versions: int) -> dict[str, Any]:
    """Read a JSON object of a known schema.

    Args:
        path: The file.
        schema: What its field "schema" must be.
        *versions: Those that its field "version" may have.

    Returns:
        The object.

    Raises:
        SrTvmError: The file is missing, is not JSON, or is of another schema or version.
    """
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SrTvmError(f"{path}: no such file") from None
    except OSError as error:
        raise SrTvmError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, or a number of thousands of digits
        raise SrTvmError(f"{path}: not JSON ({str(error)[:120]})") from None
    if not isinstance(value, dict) or value.get("schema") != schema:
        raise SrTvmError(f'{path}: not a {schema} file (its "schema" field must be "{schema}")')
    if value.get("version") not in versions:
        read = " and ".join(map(str, versions))
        raise SrTvmError(f"{path}: {schema} version {value.get('version')!r}; this sr-tvm reads version {read}")
    return value


def sha256(path: str | Path) -> str:
    """Hash a file.

    Args:
        path: The file.

    Returns:
        The SHA-256 of its bytes in hex.
    """
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
