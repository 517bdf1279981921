"""The processors there are kernels for, as data."""

from __future__ import annotations

from dataclasses import dataclass

from sr_tvm.errors import SrTvmError

KIB = 1024


@dataclass(frozen=True)
class HexagonVersion:
    """A version of the Hexagon instruction set.

    Attributes:
        version: Its number, such as 68.
        vtcm: Bytes of tightly coupled memory for vectors that a chip with it is said to have.
    """

    version: int
    vtcm: int


# All instructions that kernels use are in each: none is newer than v62, but for vrmpy by a scalar register (v60) and
# vasr with saturation. Qualcomm's manuals call the size of VTCM implementation-defined; these are the usual ones, as
# TVM's helper for targets had them in releases before 0.27 (python/tvm/target/target.py, default_vtcm_sizes). v67 and
# v71 are not among them: small cores for audio and modems.
VTCM_SOURCE = "TVM's default_vtcm_sizes; it is the chip's choice"
CONTEXTS = 4  # threads that an HVX of these has vector registers for, at most
PROCESSORS = {
    "hexagonv65": HexagonVersion(65, 256 * KIB),
    "hexagonv66": HexagonVersion(66, 256 * KIB),
    "hexagonv68": HexagonVersion(68, 4096 * KIB),
    "hexagonv69": HexagonVersion(69, 8192 * KIB),
    "hexagonv73": HexagonVersion(73, 8192 * KIB),
    "hexagonv75": HexagonVersion(75, 8192 * KIB),
}
DEFAULT = "hexagonv68"


def check(mcpu: str, target: str, oldest: int = 0) -> None:
    """Check that a target compiles for a processor.

    Args:
        mcpu: The processor, by LLVM's name.
        target: The target's name, for the message.
        oldest: The first version of the instruction set that the target can use.

    Raises:
        SrTvmError: It does not; the message lists the processors there are.
    """
    known = [name for name, found in PROCESSORS.items() if found.version >= oldest]
    if mcpu not in known:
        raise SrTvmError(f"target {target} has no processor {mcpu!r}; there are {', '.join(known)}")
