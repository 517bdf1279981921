"""Linking with the LLD inside ziglang: one linker for every machine, and none of the system's."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from sr_tvm.errors import SrTvmError
from sr_tvm.system import program as programs
from sr_tvm.system.death import how_ended

PROGRAM_SECONDS = 900.0


def shared(output: Path, objects: Sequence[Path], *options: str) -> None:
    """Link ELF objects of any machine to a shared library.

    No C library is named: what the kernels need of it (memcpy, expf) is found in the process that loads them.

    Args:
        output: The library that is written.
        objects: Object files of one machine.
        *options: Further options of ld.lld.

    Raises:
        SrTvmError: ziglang is not installed, or the linker refuses; the message holds its first line.
    """
    if importlib.util.find_spec("ziglang") is None:
        raise SrTvmError("the linker is missing: install the Python package 'ziglang' (pip install 'sr-tvm[compile]')")
    command = [sys.executable, "-m", "ziglang", "ld.lld", "-shared", "--hash-style=both", "--build-id=none"]
    command += [*options, "-o", str(output), *map(str, objects)]
    done = programs.run(command, f"ziglang, which links {output.name},", PROGRAM_SECONDS)
    if done.returncode != 0 or not output.is_file():
        lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        raise SrTvmError(f"cannot link {output.name}: {lines[0] if lines else how_ended(done.returncode)}")


def aliases(names: Mapping[str, str]) -> list[str]:
    """Give the linker's options for further names of symbols.

    Args:
        names: New name to the one that there is.

    Returns:
        An option of ld.lld for each.
    """
    return [f"--defsym={new}={old}" for new, old in names.items()]


def program(output: Path, sources: Sequence[Path], triple: str, *options: str) -> None:
    """Compile C and link it with objects to a static program for another machine, by the clang and musl in ziglang.

    The first program for a machine takes minutes, for its C library is compiled; the others a second.

    Args:
        output: The program that is written.
        sources: C sources and object files.
        triple: The machine, as Zig names it: "hexagon-linux-musl".
        *options: Further options of clang.

    Raises:
        SrTvmError: ziglang is not installed, it takes longer than PROGRAM_SECONDS, or the compiler refuses; the message
            holds its first line.
    """
    _zig_cc("link", output, triple, "-static", "-O2", *options, *map(str, sources))


def assemble(output: Path, source: Path, triple: str, *options: str) -> None:
    """Make an object file of assembly text for another machine, by the clang in ziglang.

    Args:
        output: The object file that is written.
        source: The assembly text.
        triple: The machine, as Zig names it: "hexagon-linux-musl".
        *options: Further options of clang.

    Raises:
        SrTvmError: ziglang is not installed, it takes longer than PROGRAM_SECONDS, or the assembler refuses; the
            message holds its first line.
    """
    _zig_cc("assemble", output, triple, "-c", *options, str(source))


def _zig_cc(what: str, output: Path, triple: str, *options: str) -> None:
    if importlib.util.find_spec("ziglang") is None:
        raise SrTvmError(
            "the compiler is missing: install the Python package 'ziglang' (pip install 'sr-tvm[compile]')"
        )
    command = [sys.executable, "-m", "ziglang", "cc", "-target", triple, *options, "-o", str(output)]
    done = programs.run(command, f"ziglang, which makes {output.name},", PROGRAM_SECONDS)
    if done.returncode != 0 or not output.is_file():
        lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        raise SrTvmError(f"cannot {what} {output.name}: {lines[0] if lines else how_ended(done.returncode)}")
