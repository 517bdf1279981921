"""Shared by all tests: threads are kept down, and under CI a skipped test fails the run."""

import os
import signal

import pytest

for name in ("OMP_NUM_THREADS", "TVM_NUM_THREADS"):
    os.environ.setdefault(name, "2")
# A shell starts what is to run in the background with Ctrl-C ignored; tests that press it need it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Turn a skip into a failure where everything that tests need is meant to be installed."""
    report = yield
    if os.environ.get("CI") and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped under CI: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def opencl():
    """TVM's first OpenCL device."""
    from sr_tvm.runtimes.opencl import backend

    why = backend.why_none()
    if why is not None:
        pytest.skip(f"no OpenCL device: make system-deps ({why})")
    return backend.device()


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """(training folder of 4 pictures of 64x80, validation folder of 2, one of them grey): cut from those that
    scikit-image brings (public domain: astronaut by NASA, coffee CC0)."""
    import numpy as np
    from PIL import Image
    from skimage import data

    root = tmp_path_factory.mktemp("pictures")
    train, validate = root / "train", root / "validate"
    train.mkdir(), validate.mkdir()
    astronaut, coffee = data.astronaut(), data.coffee()
    for i in range(4):
        Image.fromarray(np.ascontiguousarray(astronaut[i * 90 : i * 90 + 64, 100:180])).save(train / f"{i}.png")
    Image.fromarray(np.ascontiguousarray(coffee[100:141, 100:151])).save(validate / "colour.png")
    Image.fromarray(np.ascontiguousarray(data.camera()[100:140, 200:250])).save(validate / "grey.png")
    return train, validate
