"""The build of the OpenCL runtime, once for each version of TVM and of our source, into the user's cache folder.

Imports nothing heavy: the place of what is built is asked on every import of TVM.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import importlib.util
import os
import shutil
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from sr_tvm.errors import SrTvmError
from sr_tvm.system import files, machine
from sr_tvm.system import program as programs
from sr_tvm.system.death import how_ended

NATIVE = Path(__file__).with_name("native")
SOURCE = "runtime.cc"
# It takes 7 s on a machine with nothing else to do.
DEADLINE_SECONDS = 300.0
OPTIONS = ("-std=c++17", "-O1", "-shared", "-fPIC", "-fvisibility=hidden")
COMPILERS = ("g++", "clang++", "c++")


def folder() -> Path:
    """Name the folder where built runtimes are kept. It can be deleted at any time.

    Returns:
        A folder in the user's cache, which need not be there yet.
    """
    import platformdirs

    return Path(platformdirs.user_cache_dir("sr-tvm")) / "runtimes"


def library() -> Path:
    """Name the file where the runtime for the installed TVM lies once it is built.

    Returns:
        Its path, which tells the versions and the hash of our source.

    Raises:
        SrTvmError: TVM is not installed.
    """
    try:
        versions = [version("apache-tvm"), version("apache-tvm-ffi")]
    except PackageNotFoundError as error:
        raise SrTvmError(f"{error.name} is not installed: pip install 'sr-tvm[compile]'") from None
    name = "-".join(["opencl", *versions, machine.machine(), _digest()[:16]])
    return folder() / f"{name}.so"


def _digest() -> str:
    digest = hashlib.sha256(" ".join(OPTIONS).encode())
    for path in sorted(p for p in NATIVE.rglob("*") if p.suffix in (".cc", ".h")):
        digest.update(f"{path.relative_to(NATIVE)}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def build() -> Path:
    """Build the runtime unless it is there. Of several processes one builds and the others wait.

    Returns:
        The library.

    Raises:
        SrTvmError: There is no C++ compiler, it refuses, it takes too long, or the cache folder cannot be written.
    """
    path = library()
    if path.is_file():
        return path
    compiler = _compiler()
    files.check_writable(path)
    with _locked(path.with_suffix(".lock")):
        if not path.is_file():
            with files.atomic_file(path) as partial:
                _compile(compiler, partial)
    return path


def _compiler() -> str:
    named = os.environ.get("CXX")
    for candidate in [named] if named else COMPILERS:
        found = shutil.which(candidate)
        if found is not None:
            return found
    raise SrTvmError(
        f"the OpenCL runtime must be built once, and there is no C++ compiler ({named or ', '.join(COMPILERS)}): "
        "apt install g++, or make system-deps"
    )


def _root(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SrTvmError(f"the package {package} is not installed: pip install 'sr-tvm[compile]'")
    return Path(next(iter(spec.submodule_search_locations)))


def _compile(compiler: str, output: Path) -> None:
    tvm, ffi = _root("tvm"), _root("tvm_ffi")
    # Theirs as headers of the system: what the compiler thinks of them is not ours to mend.
    headers = [f"-I{NATIVE / 'shim'}"]
    headers += [f"-isystem{place}" for place in (tvm / "include", tvm / "src" / "runtime", ffi / "include")]
    libraries = [f"-L{tvm / 'lib'}", f"-L{ffi / 'lib'}", "-ltvm_runtime", "-ltvm_ffi", "-ldl"]
    _run([compiler, *OPTIONS, *headers, "-o", str(output), str(NATIVE / SOURCE), *libraries])


def _run(command: Sequence[str]) -> None:
    done = programs.run(command, f"{command[0]}, which builds the OpenCL runtime,", DEADLINE_SECONDS)
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines()
        reason = said[0] if said else how_ended(done.returncode)
        raise SrTvmError(f"building the OpenCL runtime with {command[0]} fails: {reason}")


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock between processes; one that waits longer than a build may take is told.

    Raises:
        SrTvmError: the lock's file cannot be made, or another process holds it for too long.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path, timeout=DEADLINE_SECONDS)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise SrTvmError(f"{path}: another process has been building for {DEADLINE_SECONDS:g} s") from None
    except OSError as error:
        # A file system without locks: both build, and each takes its name whole.
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP):
            raise SrTvmError(f"cannot write {path}: {error.strerror or error}") from error
    try:
        yield
    finally:
        lock.release()
