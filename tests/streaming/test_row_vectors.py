"""The row lowering uses the vectors of the processor it is told of, and is right on a phone."""

from __future__ import annotations

import re
from typing import Any

import pytest
import tvm
from harness import module_of
from qemu import PHONE, check_emulated, needs_qemu
from region_nets import wdsr
from row_cases import Decided, narrowest
from test_plain_phone import net

from sr_tvm.errors import SrTvmError
from sr_tvm.targets import registry
from sr_tvm.targets.cpu.rows.decide import Decider
from sr_tvm.targets.cpu.rows.decisions import PieceDecisions, RowDecisions
from sr_tvm.targets.cpu.rows.lowering import RowLowering
from sr_tvm.targets.cpu.rows.machine import CpuCore, processor_of

ANY = (None, None, None)
NEON = CpuCore(4, 32)
MACHINES = {
    "AVX-512": ({"kind": "llvm", "mcpu": "sapphirerapids"}, CpuCore(16, 32), "vfmadd", "zmm"),
    "AVX2": ({"kind": "llvm", "mcpu": "haswell"}, CpuCore(8, 16), "vfmadd", "ymm"),
    "SSE": ({"kind": "llvm", "mcpu": "x86-64"}, CpuCore(4, 16), "mulps", "xmm"),
    "NEON": (PHONE, NEON, "fmla", ".4s"),
}


@pytest.mark.parametrize("name", MACHINES)
def test_its_vectors_are_the_processors(name: str) -> None:
    """Nearly all of the arithmetic is in vectors of full width."""
    target, processor, operation, register = MACHINES[name]
    assert processor_of(tvm.target.Target(target)) == processor
    assembly = _assembly(target, processor)
    lines = [line for line in assembly.splitlines() if operation in line]
    assert len([line for line in lines if register in line]) > 0.9 * len(lines) > 100


def _assembly(target: dict[str, Any], processor: CpuCore) -> str:
    kernels = RowLowering(processor).lower(wdsr(1, 16, 2), (1, 36, 640), "region")
    return str(tvm.compile(module_of(kernels), target=target).mod.inspect_source("s"))


@pytest.mark.parametrize("mcpu", ["hexagonv68", "hexagonv75"])
def test_floats_on_hexagon_are_in_its_vectors(mcpu: str) -> None:
    """That they are right nobody can tell here: no simulator has these instructions."""
    target = registry.get("hexagon-float").for_processor(mcpu)
    kernels = target.lowering().lower(wdsr(1, 16, 2), (1, 36, 640), "region")
    assembly = str(tvm.compile(module_of(kernels), target=target.tvm_target()).mod.inspect_source("s"))
    vectors = re.findall(r"v\d+\.(?:qf32|sf) = vmpy\(v\d+\.\w+,v\d+\.\w+\)", assembly)
    assert len(vectors) > 100 > 10 * assembly.count("sfmpy(")


def test_floats_on_hexagon_need_a_processor_that_has_them() -> None:
    with pytest.raises(SrTvmError, match="no processor 'hexagonv66'; there are hexagonv68"):
        registry.get("hexagon-float").for_processor("hexagonv66")


@needs_qemu
def test_it_is_right_on_a_phone() -> None:
    """All operators, any size, as many bands as the runtime has threads."""
    check_emulated(RowLowering(NEON), net(), [(1, 50, 21), (2, 1, 2)])


@needs_qemu
def test_it_is_right_on_a_phone_in_strips() -> None:
    region = wdsr(2, 13, 2)
    piece = PieceDecisions(narrowest(region, 4, 2), 2, Decider(NEON).tiles())
    check_emulated(Decided(RowLowering(NEON), RowDecisions((), (piece,))), region, [(1, 9, 61)])


@needs_qemu
def test_it_is_right_on_a_phone_at_a_known_size() -> None:
    check_emulated(RowLowering(NEON, winograd=False), net(), [(1, 7, 33)], (1, 7, 33))
