"""Qualcomm's Hexagon DSP, as far as it goes today: scalar code that links."""

from __future__ import annotations

from dataclasses import dataclass

import tvm

from sr_tvm.targets.target import Capabilities, Target

TRIPLE, MCPU = "hexagon-unknown-linux-musl", "hexagonv68"


@dataclass(frozen=True)
class Hexagon(Target):
    """Scalar code by LLVM. TVM's own kind "hexagon" fails to split host from device in 0.27; HVX comes by hand later.

    The library carries the Relax VM's bytecode and the weights like every other target's, and the kernels under their
    names, so that an ahead-of-time runner can call them where there is no VM.
    """

    name = "hexagon"
    description = "Qualcomm Hexagon DSP (v68)"
    notes = ("scalar, not yet optimised", "compile only: no runtime for it here")

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities("hexagon", needs="a Hexagon DSP or its simulator, neither of which is supported yet")

    def tvm_target(self) -> tvm.target.Target:
        return tvm.target.Target({"kind": "llvm", "mtriple": TRIPLE, "mcpu": MCPU, "num-cores": 1})
