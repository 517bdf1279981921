"""Kernels of the OpenCL lowering on this machine's device, and random decisions for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tvm
from harness import Compiled, compare
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from sr_tvm.regions.region import Region
from sr_tvm.runtimes.opencl import backend
from sr_tvm.targets.opencl.decisions import (
    BUFFER,
    GLOBAL,
    GROUPS,
    IMAGE,
    LOADS,
    LOCAL,
    NARROW,
    TILES,
    OpenClDecisions,
    StageDecisions,
)
from sr_tvm.targets.opencl.limits import Limits
from sr_tvm.targets.opencl.lowering import OpenClLowering
from sr_tvm.targets.opencl.mali import Mali
from sr_tvm.targets.opencl.shares import outputs_of
from sr_tvm.targets.opencl.source import Mended
from sr_tvm.targets.opencl.stages import cut_stages

TARGET = {"kind": "opencl", **Mali.gpu, "host": {"kind": "llvm"}}
# Small ones: PoCL compiles for every work-item of a group what it can't loop over.
# Of a phone's; and so little that weights take turns in it, or do not fit.
LOCAL_BYTES = (32768, 4096, 512)
SIDES = (1, 2, 3, 5, 8, 16, 19, 33, 66)


def examples(n: int) -> settings:
    return settings(max_examples=n, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


class OnGpu(Compiled):
    """Kernels as OpenCL C, mended as those of a network are."""

    @property
    def device(self) -> Any:
        return backend.device()

    def compile(self, mod: tvm.IRModule, target: tvm.target.Target) -> Any:
        with Mended(mod):
            return tvm.compile(mod, target=target)


def code_of(
    region: Region, size: tuple[int, int, int], decisions: OpenClDecisions | None = None, limits: Limits | None = None
) -> OnGpu:
    return OnGpu(OpenClLowering(limits).lower(region, size, "region", decisions), TARGET)


def check(
    region: Region, size: tuple[int, int, int], inputs: Mapping[str, Any], decisions: OpenClDecisions | None = None,
    limits: Limits | None = None,
) -> None:  # fmt: skip
    """Fail unless the lowering's kernels compute on the OpenCL device what PyTorch does."""
    compare(region, inputs, code_of(region, size, decisions, limits).run(inputs))


@st.composite
def decided(draw: st.DrawFn, region: Region) -> OpenClDecisions:
    """Any decisions that the region can be lowered by, also such as no search would try."""
    narrow, packed, remade = draw(st.sampled_from(NARROW)), draw(st.booleans()), draw(st.booleans())
    weights, load = draw(st.sampled_from((LOCAL, GLOBAL))), draw(st.sampled_from(LOADS))
    stages = tuple(
        StageDecisions(
            draw(st.sampled_from((1, 2, 4, 8))),
            draw(st.sampled_from(GROUPS)),
            draw(st.sampled_from(TILES)),
            weights,
            draw(st.sampled_from(outputs_of(piece.region, narrow))),
            load,
            draw(st.booleans()),
        )
        for piece in cut_stages(region, narrow, packed, remade)
    )
    return OpenClDecisions(narrow, draw(st.sampled_from((IMAGE, BUFFER))), packed, remade, stages)
