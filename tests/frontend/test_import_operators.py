"""Every supported operator, in every form, against ONNX Runtime: one build compares two dozen."""

from pathlib import Path

import pytest
from onnx_cases import Case, by_opset, run_both
from operator_cases import ALL

from sr_tvm.frontend.parity import compare

GROUPS = by_opset(ALL)


def test_names_are_unique() -> None:
    assert len({(c.name, c.opset) for c in ALL}) == len(ALL)


@pytest.mark.parametrize("cases", GROUPS, ids=lambda g: f"opset {g[0].opset}: {g[0].name} ...")
def test_imported_numbers_are_those_of_onnxruntime(cases: list[Case], tmp_path: Path) -> None:
    wanted, got = run_both(cases, tmp_path)
    checks = [compare(c.name, a, b) for c, a, b in zip(cases, wanted, got, strict=True)]
    assert [c for c in checks if not c.ok] == []
