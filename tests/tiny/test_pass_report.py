"""The pass report's JSON form."""

import json

import pytest

from sr_tvm.errors import SrTvmError
from sr_tvm.passes.report import PassReport

REPORT = PassReport(
    kernels_before=3,
    kernels_after=1,
    intermediate_bytes_before=800,
    intermediate_bytes_after=0,
    fusions=({"kernel": "k", "operators": ["conv2d", "add"], "rule": "r", "output_bytes": 400},),
    rewrites=({"pass": "FoldBatchNorm", "where": "lv", "rule": "r"},),
    refusals=({"where": "a | b", "reason": "X"},),
    phases=({"number": 1, "name": "n", "what": "w", "ms": 0.5},),
)


def test_round_trip(tmp_path):
    value = json.loads(json.dumps(REPORT.to_json()))
    assert value["schema"] == "sr-tvm/pass-report" and value["version"] == 1
    assert PassReport.from_json(value) == REPORT
    REPORT.save(tmp_path / "r.json")
    assert PassReport.load(tmp_path / "r.json") == REPORT


@pytest.mark.parametrize(
    "field, wrong",
    [
        ("kernels_before", None), ("kernels_after", -1), ("intermediate_bytes_after", True),
        ("intermediate_bytes_before", "1"), ("fusions", {}), ("fusions", [1]), ("refusals", [{"where": "a"}]),
        ("phases", None), ("per_pixel", 1), ("schema", "other"), ("version", 2),
    ],
)  # fmt: skip
def test_damaged_reports_are_named(field, wrong):
    with pytest.raises(SrTvmError, match=field if field not in ("schema", "version") else "pass-report"):
        PassReport.from_json({**REPORT.to_json(), field: wrong})


def test_reports_without_the_mark_of_symbolic_sizes():
    """Those of artifacts made before there were any."""
    value = REPORT.to_json()
    del value["per_pixel"]
    assert PassReport.from_json(value) == REPORT


def test_missing_file(tmp_path):
    with pytest.raises(SrTvmError, match="no such file"):
        PassReport.load(tmp_path / "none.json")
