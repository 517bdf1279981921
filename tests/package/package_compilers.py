"""Compilers that call a package from C, and what tests give them."""

import subprocess
import sys
from pathlib import Path

from sr_tvm.package.record import Package

HERE = Path(__file__).parent
SECONDS = 300
STRICT = ("-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wsign-conversion", "-Werror")
ZIG = (sys.executable, "-m", "ziglang", "cc")


def run(*command, **more) -> str:
    """What a command prints; it must succeed."""
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=SECONDS, **more)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def defines(name: str) -> tuple[str, ...]:
    """The options by which a test's C calls the network of a name."""
    return (f"-DNAME={name}", f"-DNAMES={name.upper()}", f'-DHEADER="{name}.h"')


def static(package: Package) -> Path:
    """The static library of a package."""
    return package.folder / "lib" / f"lib{package.name}.a"
