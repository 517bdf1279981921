"""The plain lowering as a phone's CPU runs it."""

from __future__ import annotations

import numpy as np
import tvm
from harness import module_of
from qemu import PHONE, check_emulated, needs_qemu
from region_nets import Builder

from sr_tvm.regions.region import Region, Result
from sr_tvm.targets.plain.lowering import PlainLowering


def net() -> Region:
    """Every kind of node, with 13 channels and a shuffle x3."""
    build = Builder(np.random.default_rng(5))
    first, second = build.source(3), build.source(4)
    value = build.conv((build.pointwise(first, "shift"), second), 13, (3, 3))
    wide = build.pointwise(build.conv((value,), 39, (1, 1)), "prelu")
    value = build.add(build.conv((build.pointwise(wide, "clip"),), 13, (5, 1)), value)
    value = build.conv((build.concat((value, second)),), 34, (3, 3), groups=17)
    value = build.pointwise(build.conv((value,), 27, (3, 3), sparse=True), "relu")
    return build.region((Result(build.pointwise(value, "scale"), 3), Result(wide)))


def test_it_compiles_for_a_phone() -> None:
    code = tvm.compile(module_of(PlainLowering().lower(net(), (None, None, None), "region")), target=PHONE)
    assert "aarch64" in code.mod.inspect_source("ll")


@needs_qemu
def test_it_is_right_on_a_phone() -> None:
    check_emulated(PlainLowering(), net(), [(1, 9, 21), (2, 1, 2)])


@needs_qemu
def test_it_is_right_on_a_phone_at_a_known_size() -> None:
    check_emulated(PlainLowering(), net(), [(1, 7, 33)], (1, 7, 33))
