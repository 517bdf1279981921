"""Qualcomm's Hexagon DSP: integer networks on its vectors (HVX), float ones as scalar code, which is the oracle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tvm

from sr_tvm.quantize.network import IntegerNetwork
from sr_tvm.targets.target import Capabilities, IntegerBuild, Target

TRIPLE, MCPU = "hexagon-unknown-linux-musl", "hexagonv68"


@dataclass(frozen=True)
class Hexagon(Target):
    """Quantised models become a program of HVX kernels that the simulator runs; see :mod:`integer` beside this file.

    A float model becomes scalar code by LLVM: TVM's own kind "hexagon" fails to split host from device in 0.27. Its
    library carries the Relax VM's bytecode and the weights like every other target's, and the kernels under their
    names, so that an ahead-of-time runner can call them where there is no VM.
    """

    name = "hexagon"
    description = "Qualcomm Hexagon DSP (v68)"
    notes = (
        "scalar, not yet optimised: 'sr-tvm quantize' makes a model for its vectors",
        "compile only: no runtime for it here",
    )

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities("hexagon", needs="a Hexagon DSP, or the simulator for a quantised model")

    def tvm_target(self) -> tvm.target.Target:
        return tvm.target.Target({"kind": "llvm", "mtriple": TRIPLE, "mcpu": MCPU, "num-cores": 1})

    def build_integer(self, network: IntegerNetwork, folder: Path) -> IntegerBuild:
        from sr_tvm.targets.hexagon import integer

        return integer.build(network, folder, MCPU)
