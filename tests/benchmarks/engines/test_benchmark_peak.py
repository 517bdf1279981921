"""The kernel that measures the peak does what it counts."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from benchmarks.engines.peak import Peak, kernel


def test_the_kernel_multiplies_and_adds_as_often_as_it_says() -> None:
    import tvm

    built = tvm.compile(tvm.IRModule({"main": kernel(3, 4, 5)}), target=tvm.target.Target("llvm"))
    out = tvm.runtime.tensor(np.zeros(12, np.float32))
    built["main"](tvm.runtime.tensor(np.array([2.0, 1.0], np.float32)), out)
    # acc -> 2 acc + 1, five times, from 0, 1 and 2.
    assert np.array_equal(out.numpy().reshape(3, 4), np.repeat([[31.0], [63.0], [95.0]], 4, axis=1))


def test_a_burst_and_what_it_comes_to() -> None:
    peak = Peak(1.0)
    assert peak.time() > 0 and np.allclose(peak.result(), 1.0, atol=1e-5)
    assert peak.result().shape == (peak.accumulators, peak.lanes)
    assert peak.flops % (2 * peak.accumulators * peak.lanes) == 0
    assert peak.gflops(1e3) == pytest.approx(peak.flops / 1e9)  # in a second
