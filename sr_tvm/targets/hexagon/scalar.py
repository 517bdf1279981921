"""Qualcomm's Hexagon DSP: integer networks on its vectors (HVX), float ones as scalar code, which is the oracle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tvm
from typing_extensions import override

from sr_tvm.quantize.network import IntegerNetwork
from sr_tvm.targets.hexagon import processors
from sr_tvm.targets.target import Capabilities, IntegerBuild, Target

if TYPE_CHECKING:
    from sr_tvm.targets.hexagon.hvx.lowering import KernelLowering

TRIPLE = "hexagon-unknown-linux-musl"


@dataclass(frozen=True)
class Hexagon(Target):
    """Quantised models become a program of HVX kernels that the simulator runs; see :mod:`integer` beside this file.

    A float model becomes scalar code by LLVM: TVM's own kind "hexagon" fails to split host from device in 0.27. Its
    library carries the Relax VM's bytecode and the weights like every other target's, and the kernels under their
    names, so that an ahead-of-time runner can call them where there is no VM.

    Attributes:
        mcpu: The processor, by LLVM's name.
    """

    name = "hexagon"
    description = "Qualcomm Hexagon DSP (v68; v65 to v75 by --mcpu)"
    notes = (
        "scalar, not yet optimised: 'sr-tvm quantize' makes a model for its vectors",
        "compile only: no runtime for it here",
    )

    mcpu: str = processors.DEFAULT

    @property
    @override
    def capabilities(self) -> Capabilities:
        return Capabilities("hexagon", needs="a Hexagon DSP, or the simulator for a quantised model")

    @override
    def for_processor(self, mcpu: str) -> Target:
        processors.check(mcpu, self.name)
        return replace(self, mcpu=mcpu)

    @override
    def tvm_target(self) -> tvm.target.Target:
        return tvm.target.Target({"kind": "llvm", "mtriple": TRIPLE, "mcpu": self.mcpu, "num-cores": 1})

    @override
    def integer_lowering(self) -> KernelLowering:
        from sr_tvm.targets.hexagon.hvx.lowering import KernelLowering

        return KernelLowering(processors.PROCESSORS[self.mcpu].version)

    @override
    def integer_kinds(self, network: IntegerNetwork) -> dict[str, tuple[Any, int]]:
        from sr_tvm.targets.hexagon.hvx.lowering import kinds

        return dict(kinds(network))

    @override
    def build_integer(
        self, network: IntegerNetwork, folder: Path, decided: Mapping[str, tuple[Any, str]] | None = None
    ) -> IntegerBuild:
        from sr_tvm.targets.hexagon import integer

        return integer.build(network, folder, self.mcpu, decided)
