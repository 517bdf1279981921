"""What spills is priced: the scratch memory of all work-items at the GPU's bandwidth."""

from dataclasses import replace

import pytest

from sr_tvm.isa import gpus
from sr_tvm.isa.count import Count
from sr_tvm.isa.machine import Statistics


def test_spilled_registers_take_the_time_of_their_bytes():
    plain = Count(
        "k", "adreno-660", "26.1", 100.0, 0.0, 80.0, {}, {"global": {"count": 4.0, "bytes": 64.0}}, {}, 1000, 1024,
        Statistics(40), footprint=4096,
    )  # fmt: skip
    assert plain.scratch_ms == 0
    private = {"count": 2.0, "bytes": 32.0}
    spilling = replace(plain, loads=plain.loads | {"private": private}, stores={"private": private})
    bandwidth = gpus.get("adreno-660").rate("bytes_per_second")
    assert spilling.scratch_ms == pytest.approx(1e3 * 1000 * 64 / bandwidth)
    assert spilling.estimated_ms == plain.estimated_ms
