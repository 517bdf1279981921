"""Artifacts of the GPU targets run on this machine's OpenCL device: here, in a child process, and over RPC."""

from __future__ import annotations

import dataclasses
import platform
import re

import numpy as np
import onnxruntime
import pytest
from click.testing import CliRunner
from msgspec import structs

from sr_tvm.build.compiler import compile_model
from sr_tvm.errors import SrTvmError
from sr_tvm.records.architecture import Architecture
from sr_tvm.records.artifact import Artifact
from sr_tvm.runners.local import LocalRunner
from sr_tvm.targets import registry

HOST = {"x86_64": "x86", "aarch64": "arm"}.get(platform.machine(), "none")
SHAPE = (1, 3, 12, 16)


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """A WDSR of 2 blocks of 4 channels with seeded weights."""
    import torch

    from sr_tvm.frontend.export import export_onnx
    from sr_tvm.nets.wdsr import WDSR

    path = tmp_path_factory.mktemp("model") / "tiny.onnx"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = WDSR(Architecture.uniform(2, 2, 4), normed=False).eval()
    export_onnx(net, path, SHAPE, exporter="torchscript")
    return path


@pytest.fixture(scope="session")
def artifacts(opencl, model, tmp_path_factory):
    from sr_tvm.cli.compile import command

    made = {}
    for target, host in (("adreno", HOST), ("mali", HOST), ("mali", "android")):
        out = str(tmp_path_factory.mktemp("artifacts") / f"{target}-{host}")
        done = CliRunner().invoke(command, [str(model), "--target", target, "-o", out, "--host", host])
        assert done.exit_code == 0, done.output
        assert ("next: sr-tvm bench" in done.output) == (host == HOST)
        made[target, host] = Artifact.load(out)
    # With the decisions of a phone: images between kernels.
    phone = registry.get("adreno").stand_in()
    made["images"] = compile_model(model, phone, tmp_path_factory.mktemp("artifacts") / "images")
    return made


@pytest.fixture(scope="session")
def expected(model):
    picture = np.random.default_rng(1).random(SHAPE, dtype=np.float32)
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    return picture, session.run(None, {session.get_inputs()[0].name: picture})[0]


@pytest.mark.parametrize("target", ["adreno", "mali"])
def test_in_this_process(opencl, artifacts, expected, target):
    picture, truth = expected
    runner, artifact = LocalRunner(), artifacts[target, HOST]
    np.testing.assert_allclose(runner.run(artifact, [picture])[0], truth, atol=1e-5)
    found = runner.measure(artifact, repeats=3)
    assert found.median > 0 and found.conditions["clock"] == "device"
    assert found.device == opencl.device_name and found.target == target
    rows = runner.per_operator(artifact, repeats=2)
    assert {row["kernel"] for row in artifact.kernels} <= {row["kernel"] for row in rows}


def test_in_a_child_process(opencl, artifacts, expected):
    from sr_tvm.runners.child_session import ChildRunner

    picture, truth = expected
    with ChildRunner() as runner:
        np.testing.assert_allclose(runner.run(artifacts["mali", HOST], [picture])[0], truth, atol=1e-5)
        assert runner.measure(artifacts["mali", HOST], repeats=2).device == opencl.device_name


@pytest.fixture(scope="module")
def tracker():
    from sr_tvm.runners.tracker import start_tracker

    with start_tracker() as address:
        yield address


def test_over_rpc(opencl, artifacts, expected, tracker):
    from sr_tvm.runners.rpc import RpcRunner
    from sr_tvm.runners.tracker import start_server

    picture, truth = expected
    with start_server(tracker, "box"), RpcRunner(tracker, "box") as runner:
        np.testing.assert_allclose(runner.run(artifacts["adreno", HOST], [picture])[0], truth, atol=1e-5)
        found = runner.measure(artifacts["adreno", HOST], repeats=2)
        assert found.device == "box" and found.conditions["opencl"] == opencl.device_name
        assert found.conditions["clock"] == "device"
        assert runner.per_operator(artifacts["adreno", HOST], repeats=2)


def test_a_server_without_opencl_says_why(opencl, artifacts, expected, tracker, monkeypatch):
    from sr_tvm.runners.rpc import RpcRunner
    from sr_tvm.runners.tracker import start_server

    monkeypatch.setenv("SR_TVM_OPENCL", "/no/such/libOpenCL.so")
    with start_server(tracker, "none"), RpcRunner(tracker, "none") as runner:
        said = r"the server 'none' at .* can't run target mali: no OpenCL device: .*/no/such/libOpenCL\.so"
        with pytest.raises(SrTvmError, match=said):
            runner.run(artifacts["mali", HOST], [expected[0]])


def test_a_phones_artifact_is_refused_here(artifacts, expected):
    artifact = artifacts["mali", "android"]
    assert artifact.tvm_target["host"]["mtriple"] == "aarch64-linux-android"
    with pytest.raises(SrTvmError, match="made for aarch64|compile it with --host"):
        LocalRunner().run(artifact, [expected[0]])
    # On an Arm machine its library would load.
    claimed = structs.replace(artifacts["mali", HOST], tvm_target=artifact.tvm_target)
    with pytest.raises(SrTvmError, match=f"made for the OpenCL of an Android phone .* compile it with --host {HOST}"):
        LocalRunner().run(claimed, [expected[0]])


@pytest.mark.parametrize(
    ("target", "host", "message"),
    [
        ("mali", "z80", "target mali has no --host z80; it has android, x86, arm"),
        ("cpu", "x86", "target cpu has no --host: all of its code runs on the CPU that it is made for"),
    ],
)
def test_hosts_that_there_are_not(model, tmp_path, target, host, message):
    from sr_tvm.cli.compile import command

    done = CliRunner().invoke(command, [str(model), "--target", target, "-o", str(tmp_path / "o"), "--host", host])
    assert isinstance(done.exception, SrTvmError) and str(done.exception) == message
    assert not (tmp_path / "o").exists()


def test_a_device_lost_in_a_run_is_one_line(python, driver, artifacts):
    """Here, and then the child process is of no use, and says so."""
    lost = """
    extern "C" int clEnqueueNDRangeKernel(void*, void*, unsigned, const size_t*, const size_t*, const size_t*, unsigned,
                                          const void*, void*) { return -5; }
    """
    code = (
        "import numpy as np\n"
        "from sr_tvm.errors import SrTvmError\n"
        "from sr_tvm.records.artifact import Artifact\n"
        "from sr_tvm.runners.child_session import ChildRunner\n"
        "from sr_tvm.runners.local import LocalRunner\n"
        f"artifact = Artifact.load({str(artifacts['mali', HOST].folder)!r})\n"
        f"for runner in (LocalRunner(), ChildRunner()):\n"
        "    try:\n"
        f"        runner.run(artifact, [np.zeros({SHAPE}, 'float32')])\n"
        "    except SrTvmError as error:\n"
        "        print(error)\n"
    )
    done = python(code, SR_TVM_OPENCL=driver(lost))
    lines = done.stdout.splitlines()
    assert len(lines) == 2 and done.returncode == 0, done.stdout + done.stderr
    assert all(" CL_OUT_OF_RESOURCES (-5); the device was lost" in line for line in lines)


def test_a_picture_that_no_buffer_holds_is_refused_before_it_runs(opencl, artifacts, expected, monkeypatch):
    from sr_tvm.runtimes.opencl import backend

    found = backend.find()
    small = dataclasses.replace(found.devices[0], max_buffer_bytes=8000)
    monkeypatch.setattr(backend, "find", lambda: dataclasses.replace(found, devices=(small,)))
    with pytest.raises(SrTvmError, match="output 'y' of 1x3x24x32 takes 0 MB, and a buffer of opencl:0 .* in tiles"):
        LocalRunner().run(artifacts["mali", HOST], [expected[0]])


def test_images_that_the_device_does_not_hold(python, driver, artifacts, expected):
    """Of a phone's artifact, when they are allocated; the message says what to do."""
    narrow = """
    extern "C" int clGetDeviceInfo(void* device, unsigned what, size_t size, void* value, size_t* needed) {
      int code = real(clGetDeviceInfo, "clGetDeviceInfo")(device, what, size, value, needed);
      if (what == 0x1011 && value) *static_cast<size_t*>(value) = 8;
      return code;
    }
    """
    code = (
        "import numpy as np\n"
        "from sr_tvm.records.artifact import Artifact\n"
        "from sr_tvm.runners.local import LocalRunner\n"
        "try:\n"
        f"    LocalRunner().run(Artifact.load({str(artifacts['images'].folder)!r}), [np.zeros({SHAPE}, 'float32')])\n"
        "except Exception as error:\n"
        "    print(type(error).__name__, error)\n"
    )
    done = python(code, SR_TVM_OPENCL=driver(narrow))
    assert re.match(r"SrTvmError .*an image of 16x12 pixels .* has at most 8x.* in tiles", done.stdout), done
