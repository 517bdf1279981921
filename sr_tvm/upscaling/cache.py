"""Compiled networks kept between runs, in the user's cache folder."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import platformdirs
from filelock import FileLock

from sr_tvm import __version__, shipped
from sr_tvm.errors import SrTvmError
from sr_tvm.records.artifact import Artifact
from sr_tvm.upscaling.model import ANY_SIZE, Model

TARGET = "cpu"
# What decides the code that is generated, beside the model: a change in any of these makes a new entry.
COMPILER = ("frontend", "passes", "regions", "codegen", "targets", "records", "build")
# Entries are removed, the one that was unused for longest first, until no more than this is left...
LIMIT_BYTES = 500_000_000
# ...but none that was used or built so recently: another process may be about to load it. A loaded one may go.
RECENT_SECONDS = 3600.0
# Held to use an entry and to remove one, each for milliseconds, so that one kind of lock will do.
LOCK, LOCK_SECONDS = ".lock", 10.0


def cache_folder() -> Path:
    """Find the folder where compiled networks are kept. It can be deleted at any time.

    Returns:
        A path in the user's cache, which need not exist.
    """
    return Path(platformdirs.user_cache_dir("sr-tvm")) / "artifacts"


def compiled(model: Model, tile: tuple[int, int] | None, folder: Path | None = None) -> tuple[Artifact, bool]:
    """Take a model's artifact from the cache, or compile it into the cache.

    Two processes may build the same entry at once: each builds beside it, and the first to finish names it. An entry
    that is damaged is built again. Whoever builds one removes others that make the cache too large.

    Args:
        model: The model; of one that is an artifact already, that is returned.
        tile: (height, width) of the input tiles to compile for; None for any size.
        folder: Of the cache; the user's if None.

    Returns:
        The artifact, and whether it was there before.

    Raises:
        SrTvmError: The model cannot be compiled, or the cache folder cannot be written.
    """
    if model.artifact is not None:
        return model.artifact, True
    folder = cache_folder() if folder is None else folder
    shape = (1, model.channels, *(tile or ANY_SIZE))
    entry = folder / _key(model, shape)
    artifact = _use(entry)
    if artifact is not None:
        return artifact, True
    from sr_tvm.build.compiler import compile_model

    own = folder / f"{entry.name}.{uuid.uuid4().hex[:8]}"
    try:
        compile_model(model.onnx or model.path, TARGET, own, {model.input_name: shape})
        if _load(entry) is None:  # still absent, or damaged
            shutil.rmtree(entry, ignore_errors=True)
            try:
                os.rename(own, entry)
            except OSError as error:
                if _load(entry) is None:
                    raise SrTvmError(f"cannot write {entry}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(own, ignore_errors=True)
    prune(folder, entry)
    return Artifact.load(entry), False


def prune(folder: Path, keep: Path | None = None) -> None:
    """Remove the entries that were unused for longest, until no more than LIMIT_BYTES are left.

    Several processes may prune at once, or use entries meanwhile. What cannot be removed stays, as does what was used
    within the last hour.

    Args:
        folder: Of the cache.
        keep: An entry that stays whatever its age.
    """
    with contextlib.suppress(OSError):
        found = [(_mtime(entry), _bytes(entry), entry) for entry in folder.iterdir() if entry.is_dir()]
        total = sum(size for _, size, _ in found)
        for _, size, entry in sorted(found):
            if total <= LIMIT_BYTES:
                break
            if entry != keep and _remove(entry):
                total -= size


def size(folder: Path | None = None) -> int:
    """Measure how large the cache is.

    Args:
        folder: Of the cache; the user's if None.

    Returns:
        Bytes of all files in it.
    """
    return _bytes(cache_folder() if folder is None else folder)


def _bytes(folder: Path) -> int:
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):  # another process removes it
                total += os.lstat(os.path.join(path, name)).st_size
    return total


def _mtime(entry: Path) -> float:
    try:
        return entry.stat().st_mtime
    except OSError:
        return time.time()


def _remove(entry: Path) -> bool:
    """Remove an entry unless it was used just now. By another name first: nobody may find half of it.

    Returns:
        Whether it is gone.
    """
    doomed = entry.with_name(f".{uuid.uuid4().hex}.old")
    with _locked(entry.parent) as held:
        if not held or time.time() - _mtime(entry) < RECENT_SECONDS:
            return False
        try:
            os.rename(entry, doomed)
        except OSError:
            return False
    shutil.rmtree(doomed, ignore_errors=True)
    return True


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Hold the lock of the entries in ``folder``.

    There is none in a folder that can only be read, nor where another process has it and is stopped.

    Yields:
        Whether it is held.
    """
    lock, held = FileLock(folder / LOCK, timeout=LOCK_SECONDS), False
    with contextlib.suppress(OSError):
        lock.acquire()
        held = True
    try:
        yield held
    finally:
        lock.release()


def _use(entry: Path) -> Artifact | None:
    """Return the artifact of an entry that is there and whole, marked as used now; else None."""
    with _locked(entry.parent):
        artifact = _load(entry)
        if artifact is not None:
            with contextlib.suppress(OSError):  # a cache that can only be read is as good
                os.utime(entry)
    return artifact


def _load(entry: Path) -> Artifact | None:
    try:
        return Artifact.load(entry)
    except SrTvmError:
        return None


def _key(model: Model, shape: tuple[int | str, ...]) -> str:
    from importlib.metadata import version

    from sr_tvm.targets import registry

    facts: dict[str, Any] = {
        "model": model.sha256,
        "shape": shape,
        "input": model.input_name,
        "target": str(registry.get(TARGET).tvm_target()),
        "sr_tvm": __version__,
        "tvm": version("apache-tvm"),
        "compiler": _digest(shipped.HERE, COMPILER),
        "tuning_log": _digest(shipped.tuning_logs(), (TARGET,)),
    }
    text = json.dumps(facts, sort_keys=True)
    name = "x".join(map(str, shape[2:]))
    return f"{model.path.stem[:40]}-{name}-{hashlib.sha256(text.encode()).hexdigest()[:20]}"


def _digest(root: Path, names: tuple[str, ...]) -> str:
    """Return a hash of the source and data files in those folders of ``root``."""
    digest = hashlib.sha256()
    for name in names:
        for file in sorted(p for p in (root / name).rglob("*") if p.suffix in (".py", ".json")):
            digest.update(f"{file.relative_to(root)}\0".encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()
