"""What this machine is, and whether a library was made for it. No TVM here."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from sr_tvm.artifact import Artifact
from sr_tvm.errors import SrTvmError

# ELF e_machine -> what uname -m says of such a machine.
ELF_MACHINES = {
    "EM_X86_64": "x86_64",
    "EM_AARCH64": "aarch64",
    "EM_QDSP6": "hexagon",
    "EM_ARM": "arm",
    "EM_RISCV": "riscv64",
}
ALIASES = {"amd64": "x86_64", "arm64": "aarch64"}


def machine() -> str:
    """This machine's architecture as uname -m names it."""
    name = platform.machine().lower()
    return ALIASES.get(name, name)


def machine_of_triple(triple: str) -> str:
    """The architecture in an LLVM target triple."""
    name = triple.split("-", 1)[0].lower()
    return ALIASES.get(name, name)


def cpu_name() -> str:
    """The CPU's marketing name, else its architecture."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("model name", "Hardware")):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or machine()


def governor() -> str | None:
    """The frequency governor of CPU 0 where it can be read (on most virtual machines it cannot)."""
    try:
        return Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").read_text().strip()
    except OSError:
        return None


def cores() -> int:
    """CPUs this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def library_machine(path: str | Path) -> str:
    """The architecture an ELF library was made for.

    Raises:
        SrTvmError: the file is not an ELF library.
    """
    try:
        with open(path, "rb") as handle:
            code = ELFFile(handle)["e_machine"]
    except (ELFError, OSError, ValueError) as error:
        raise SrTvmError(f"{path}: not an ELF library ({error}); compile the model again") from None
    return ELF_MACHINES.get(code, str(code))


def check_machine(artifact: Artifact, there: str, where: str) -> None:
    """Refuse a library of another architecture, which would only say 'cannot open shared object file' over there.

    Raises:
        SrTvmError: ``artifact`` was not made for a machine of architecture ``there``.
    """
    made_for = library_machine(artifact.library_path)
    if made_for != there:
        raise SrTvmError(
            f"{artifact.library_path}: made for {made_for} (target {artifact.target}), but {where} is {there}; "
            "compile for a target that fits it"
        )
