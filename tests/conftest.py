"""Shared by all tests: threads are kept down, and under CI a skipped test fails the run."""

import os

import pytest

for name in ("OMP_NUM_THREADS", "TVM_NUM_THREADS"):
    os.environ.setdefault(name, "2")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Turn a skip into a failure where everything that tests need is meant to be installed."""
    report = yield
    if os.environ.get("CI") and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped under CI: {report.longrepr}"
    return report
