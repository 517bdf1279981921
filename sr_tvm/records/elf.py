"""Which architecture a library was made for. No TVM here."""

from __future__ import annotations

from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from sr_tvm.errors import SrTvmError
from sr_tvm.records.artifact import Artifact

# ELF e_machine -> what uname -m says of such a machine.
ELF_MACHINES = {
    "EM_X86_64": "x86_64",
    "EM_AARCH64": "aarch64",
    "EM_QDSP6": "hexagon",
    "EM_ARM": "arm",
    "EM_RISCV": "riscv64",
}


def library_machine(path: str | Path) -> str:
    """Find the architecture that a library was made for.

    Args:
        path: The library, an ELF file.

    Returns:
        What ``uname -m`` says of such a machine; the code as the ELF file has it where it is none of ELF_MACHINES.

    Raises:
        SrTvmError: The file is not an ELF library.
    """
    try:
        with open(path, "rb") as handle:
            code = ELFFile(handle)["e_machine"]
    except (ELFError, OSError, ValueError) as error:
        raise SrTvmError(f"{path}: not an ELF library ({error}); compile the model again") from None
    return ELF_MACHINES.get(code, str(code))


def check_machine(artifact: Artifact, there: str, where: str) -> None:
    """Refuse a library of another architecture, which would only say 'cannot open shared object file' over there.

    Args:
        artifact: The library's.
        there: Architecture of the machine that is to load it, as ``uname -m`` says it.
        where: That machine in words, for the message.

    Raises:
        SrTvmError: The artifact was not made for a machine of that architecture.
    """
    made_for = library_machine(artifact.library_path)
    if made_for != there:
        raise SrTvmError(
            f"{artifact.library_path}: made for {made_for} (target {artifact.target}), but {where} is {there}; "
            "compile for a target that fits it"
        )
