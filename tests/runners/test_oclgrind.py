"""Oclgrind finds nothing in our kernels, and finds what is planted in them."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest
from device_nets import tiny_artifact, wdsr_module
from msgspec.structs import replace

from sr_tvm.build.compiler import compile_module
from sr_tvm.build.options import CompileOptions
from sr_tvm.errors import SrTvmError
from sr_tvm.records.architecture import Architecture
from sr_tvm.regions.value import FLOAT32
from sr_tvm.runners.local import LocalRunner
from sr_tvm.runners.oclgrind import OclgrindRunner, kernels_with_images
from sr_tvm.targets import registry
from sr_tvm.targets.opencl import source
from sr_tvm.targets.opencl.limits import Limits
from sr_tvm.targets.opencl.lowering import OpenClLowering
from sr_tvm.targets.opencl.mali import Mali
from sr_tvm.targets.opencl.space import StageSpace

NET, SIDES = Architecture.uniform(2, 1, 4), (5, 9)


@pytest.fixture(scope="module")
def oclgrind():
    if shutil.which("oclgrind") is None:
        pytest.skip("oclgrind is missing: make system-deps")
    with OclgrindRunner() as runner:
        yield runner


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """A picture, and what the cpu target makes of it."""
    picture = np.random.default_rng(0).random((1, 3, *SIDES), dtype="float32")
    artifact = compile_module(wdsr_module(NET, *SIDES), "cpu", tmp_path_factory.mktemp("cpu") / "out")
    return picture, LocalRunner().run(artifact, [picture])[0]


def compiled(folder, storage: str, net: Architecture = NET):
    """An artifact with the decisions of a phone, with images, or of a PC, with buffers."""
    target = registry.get("adreno")
    target = target.stand_in() if storage == "image" else target.hosted_by("x86")
    return compile_module(wdsr_module(net, *SIDES), target, folder / "out", CompileOptions(use_shipped_log=False))


@pytest.mark.parametrize("storage", ["image", "buffer"])
def test_a_network_does_nothing_that_it_must_not(opencl, oclgrind, expected, tmp_path, storage):
    artifact = compiled(tmp_path, storage)
    assert bool(kernels_with_images(artifact.library_path.read_bytes())) == (storage == "image")
    picture, truth = expected
    np.testing.assert_allclose(oclgrind.run(artifact, [picture])[0], truth, atol=1e-5)


def test_local_weights_in_buffers(opencl, oclgrind, expected, tmp_path, monkeypatch):
    """Weights are copied to local memory by all work-items of a group, who wait for each other."""
    monkeypatch.setattr(Mali, "lowering", lambda self: OpenClLowering(storage="buffer", weights="local"))
    artifact = compile_module(wdsr_module(NET, *SIDES), Mali(host="x86"), tmp_path / "right")
    picture, truth = expected
    np.testing.assert_allclose(oclgrind.run(artifact, [picture])[0], truth, atol=1e-5)
    mend = source.mend
    monkeypatch.setattr(source, "mend", lambda code, groups: mend(code, groups).replace("barrier(", "(void)("))
    artifact = compile_module(wdsr_module(NET, *SIDES), Mali(host="x86"), tmp_path / "wrong")
    with pytest.raises(SrTvmError, match="Oclgrind: (Uninitialized value|.*data race).* Kernel: stream"):
        oclgrind.run(artifact, [picture])


def test_tiles_and_shares_in_turn(opencl, oclgrind, expected, tmp_path, monkeypatch):
    """Local memory is filled again for each share of the channels and each tile, and parts of weights take turns."""
    lowering = OpenClLowering(Limits(local_bytes=2048), storage="buffer", weights="local")
    decide = lowering.decide

    def decided(region, shape):
        own = decide(region, shape)
        several = (replace(stage, group=(32, 2), tiles=2, outputs=1, winograd=True) for stage in own.stages)
        return StageSpace(own, region, shape, FLOAT32).repair(replace(own, stages=tuple(several)))

    lowering.decide = decided
    monkeypatch.setattr(Mali, "lowering", lambda self: lowering)
    artifact = compile_module(wdsr_module(NET, *SIDES), Mali(host="x86"), tmp_path / "out")
    assert "share_" in artifact.library_path.read_bytes().decode("latin1")
    picture, truth = expected
    np.testing.assert_allclose(oclgrind.run(artifact, [picture])[0], truth, atol=1e-5)


STORE = r"\*\(__global float4\*\)\((\w+_ptr) \+ [^;]*\) = "
KERNEL = r"(?m)^(__kernel[^;{]*\{\n)"
# What is replaced in the text of all kernels, and what Oclgrind says then.
PLANTED = {
    "a read beyond the end": ([(r"weights_ptr \+ ", "weights_ptr + 1000000 + ")], "Invalid read of size 16"),
    "a race": ([(STORE, r"*(__global float4*)(\1 + 0) = ")], r"\w+-\w+ data race"),
    "a value never written": (
        [(KERNEL, r"\1  float4 unset[1];\n"), (f"({STORE})[^;]*;", r"\1unset[0];")],
        "Uninitialized value",
    ),
}


@pytest.mark.parametrize("what", PLANTED)
def test_what_is_planted_is_found(opencl, oclgrind, expected, tmp_path, monkeypatch, what):
    changes, message = PLANTED[what]
    mend, counts = source.mend, []

    def spoilt(code: str, groups: source.Groups) -> str:
        text = mend(code, groups)
        for pattern, replacement in changes:
            text, count = re.subn(pattern, replacement, text)
            counts.append(count)
        return text

    monkeypatch.setattr(source, "mend", spoilt)
    artifact = compiled(tmp_path, "buffer")
    assert sum(counts) > 0
    with pytest.raises(SrTvmError, match=rf"^Oclgrind: {message}.* Kernel: stream\w+") as caught:
        oclgrind.run(artifact, [expected[0]])
    assert "\n" not in str(caught.value)


def test_it_measures_nothing(opencl, oclgrind, tmp_path):
    with pytest.raises(SrTvmError, match="its times say nothing"):
        oclgrind.measure(compiled(tmp_path, "buffer"), repeats=2)


def test_other_kernels_than_opencl(oclgrind, tmp_path):
    artifact = tiny_artifact(tmp_path / "cpu", NET, *SIDES)
    with pytest.raises(SrTvmError, match="Oclgrind runs OpenCL kernels; target cpu has none"):
        oclgrind.run(artifact, [np.zeros((1, 3, *SIDES), "float32")])


def test_it_is_not_installed(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SrTvmError, match="Oclgrind is not installed: make system-deps"):
        OclgrindRunner()
