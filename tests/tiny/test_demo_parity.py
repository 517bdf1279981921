"""The demo tells the bound that a comparison was held to, not a relative one."""

from pathlib import Path

import numpy as np

from sr_tvm.demo.state import DemoRun
from sr_tvm.frontend.parity import compare


def test_the_bound_that_is_told_is_the_one_that_counts(tmp_path: Path) -> None:
    said: list[str] = []

    class Teller:
        say = staticmethod(said.append)

    loop = DemoRun(tmp_path, 1, 0, tmp_path, Teller())  # type: ignore[arg-type]
    reference = np.array([4.0, 0.5])
    loop.parity(compare("here", reference, reference + np.array([0.0, 3e-5]), 1e-5))
    assert said == ["here: largest difference 3.0e-05, 4.0e-05 is allowed"]
    (row,) = loop.summary.parity
    assert row.ok and row.max_abs_err <= row.tolerance == 4e-5
