"""What `compare` calls equal."""

import numpy as np
import pytest

from sr_tvm.errors import SrTvmError
from sr_tvm.frontend.parity import compare


def test_tolerance_is_relative_to_the_peak_but_never_below_one() -> None:
    small, large = np.full((3,), 0.1), np.full((3,), 100.0)
    assert compare("a", small, small + 0.9e-5).ok
    assert not compare("a", small, small + 1.2e-5).ok
    assert compare("a", large, large + 0.9e-3).ok
    assert not compare("a", large, large + 1.2e-3).ok


def test_nan_and_infinity_pass_only_where_both_have_them() -> None:
    odd = np.array([1.0, np.nan, np.inf])
    assert compare("a", odd, odd).ok
    assert not compare("a", np.ones(3), odd).ok
    assert not compare("a", odd, np.ones(3)).ok
    assert not compare("a", odd, np.array([1.0, np.nan, -np.inf])).ok


def test_shapes_must_agree_and_require_raises() -> None:
    with pytest.raises(SrTvmError, match="shape"):
        compare("a", np.ones((2, 3)), np.ones((3, 2)))
    with pytest.raises(SrTvmError, match="differ by 1"):
        compare("a", np.zeros(3), np.ones(3)).require()
    assert compare("a", np.ones(3), np.ones(3)).require().max_abs_err == 0
