"""Qualcomm Hexagon, the DSP of Snapdragon phones."""

from __future__ import annotations

from pathlib import Path

import tvm

from sr_tvm.targets import link
from sr_tvm.targets.target import Target

TRIPLE, MCPU = "hexagon-unknown-linux-musl", "hexagonv68"


class Hexagon(Target):
    """Scalar code by LLVM. TVM's own kind "hexagon" fails to split host from device in 0.27; HVX comes by hand later.

    The library carries the Relax VM's bytecode and the weights like every other target's, and the kernels under their
    names, so that an ahead-of-time runner can call them where there is no VM.
    """

    name = "hexagon"
    description = "Qualcomm Hexagon DSP (v68)"
    device = "hexagon"
    notes = ("scalar, not yet optimised", "compile only: no runtime for it here")

    def tvm_target(self) -> tvm.target.Target:
        return tvm.target.Target({"kind": "llvm", "mtriple": TRIPLE, "mcpu": MCPU, "num-cores": 1})

    def link(self, output: Path, objects: list[Path]) -> None:
        link.shared(output, objects)
