"""The checkout that seams compares with: cloned from this repository, with a virtual environment of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.engines.process import ROOT
from sr_tvm.errors import SrTvmError, one_line

COMMIT = "1abac7127e5c756652c84bdb34b77b276f0f8250"  # of before the code was moved into rooms
PACKAGE = "sr_tvm"


def python(folder: Path) -> Path:
    """The interpreter of a checkout's virtual environment."""
    return folder / ".venv" / "bin" / "python"


def make(folder: Path, repository: Path = ROOT) -> None:
    """Clone :data:`COMMIT` into ``folder`` and install what compiles, with that commit's constraints: a minute or two.

    Raises:
        SrTvmError: the repository lacks the commit, or a command failed, with its last words.
    """
    try:
        _run(["git", "cat-file", "-e", f"{COMMIT}^{{commit}}"], repository)
    except SrTvmError as error:
        raise SrTvmError(
            f"{repository} has no commit {COMMIT[:7]} to compare with ({error}); of a shallow clone fetch the rest: "
            "git fetch --unshallow"
        ) from None
    pip = [str(python(folder).absolute()), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    try:
        _run(["git", "clone", "-q", "--no-checkout", str(repository), str(folder.absolute())], repository)
        _run(["git", "checkout", "-q", COMMIT], folder)
        _run([sys.executable, "-m", "venv", ".venv"], folder)
        _run([*pip, "-c", "constraints.txt", "-e", ".[compile]"], folder)
    except BaseException:  # the next run would take what is there for whole
        shutil.rmtree(folder, ignore_errors=True)
        raise


def check(folder: Path) -> None:
    """Refuse a checkout of another commit, one with changes, or one without a virtual environment.

    Raises:
        SrTvmError: it is one of these, or no checkout at all.
    """
    head = _run(["git", "rev-parse", "HEAD"], folder)
    if head != COMMIT:
        raise SrTvmError(f"{folder} is at commit {head[:7]}, not at {COMMIT[:7]}; name another folder")
    if changed := _run(["git", "status", "--porcelain", "--untracked-files=no"], folder):
        raise SrTvmError(f"{folder} has changes, such as {changed.split()[1]}; name another folder")
    if not python(folder).exists():
        raise SrTvmError(f"{folder} has no .venv/bin/python; name a folder that is not there, and it is made")


def _run(command: list[str], folder: Path) -> str:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except OSError as error:
        raise SrTvmError(f"{command[0]} cannot be run in {folder}: {error.strerror or error}") from None
    if done.returncode:
        raise SrTvmError(f"{' '.join(command[:3])} in {folder}: {one_line(done.stderr) or done.returncode}")
    return done.stdout.strip()
