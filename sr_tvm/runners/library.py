"""Libraries by their content: what runs is what the digest says, whatever lies at the path by now."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sr_tvm.errors import SrTvmError


def read(path: str | Path, digest: str) -> bytes:
    """Read a library and check that it is the one that was built.

    Args:
        path: The file.
        digest: Its SHA-256 in hex.

    Returns:
        The file's bytes.

    Raises:
        SrTvmError: The file is gone, or another one.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise SrTvmError(f"{path}: cannot be read: {error.strerror or error}; compile the model again") from None
    if hashlib.sha256(data).hexdigest() != digest:
        raise SrTvmError(f"{path}: not the library that was built; compile the model again")
    return data


@contextmanager
def copied(path: str | Path, digest: str) -> Iterator[Path]:
    """Copy a library, each time to a new path, to be opened within the block.

    The dynamic loader takes two libraries of one path, or one inode, for the same: opened by the artifact's own path,
    the code of an earlier library would run under a later one's name.

    Args:
        path: The file.
        digest: Its SHA-256 in hex.

    Yields:
        The path of the copy, which is deleted after the block; what is mapped stays.

    Raises:
        SrTvmError: The file is gone, or another one.
    """
    data = read(path, digest)
    with tempfile.TemporaryDirectory(prefix="sr-tvm-library-") as folder:
        copy = Path(folder) / f"{digest[:16]}.so"
        copy.write_bytes(data)
        yield copy  # what is mapped stays when its name goes
