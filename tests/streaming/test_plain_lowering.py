"""The plain lowering computes what PyTorch does, for any region at any size."""

from __future__ import annotations

import pytest
from harness import check
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from region_nets import regions, shapes, sizes

from sr_tvm.streaming.plain import PlainLowering

PLAIN = PlainLowering()
FEW = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


@FEW
@given(st.data())
def test_random_regions(data: st.DataObject) -> None:
    region, size = data.draw(regions()), data.draw(sizes())
    check(PLAIN, region, size, data.draw(shapes(size)))
