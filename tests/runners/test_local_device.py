"""The CPU in this process: right outputs, honest conditions, refusals."""

import shutil

import numpy as np
import pytest
from msgspec import structs

from sr_tvm.errors import SrTvmError
from sr_tvm.runners import threads
from sr_tvm.runners.local import LocalRunner
from sr_tvm.system.files import sha256
from sr_tvm.system.machine import cores

pytest.importorskip("tvm")


def reference(architecture, x, seed=0):
    """The network of conftest in plain numpy."""
    rng = np.random.default_rng(seed)
    # conftest draws each layer's numbers when the layer is built: head, blocks, tail, skip.
    weights = {}
    for name, cin, cout, k in architecture.convolutions:
        weight = (rng.standard_normal((cout, cin, k, k)) / np.sqrt(cin * k * k)).astype("float32")
        weights[name] = weight, (rng.standard_normal((1, cout, 1, 1)) / 10).astype("float32")

    def conv(value, name):
        weight, bias = weights[name]
        k = weight.shape[-1]
        padded = np.pad(value, ((0, 0), (0, 0), (k // 2, k // 2), (k // 2, k // 2)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (k, k), (2, 3))
        return np.einsum("nchwij,ocij->nohw", windows, weight, optimize=True) + bias

    deep = conv(x, "head")
    for i in range(len(architecture.blocks)):
        wide = np.maximum(conv(deep, f"blocks.{i}.expand"), 0)
        deep = deep + conv(conv(wide, f"blocks.{i}.linear"), f"blocks.{i}.project")
    y = conv(deep, "tail") + conv(x, "skip")
    n, c, h, w = y.shape
    s = architecture.scale
    return y.reshape(n, 3, s, s, h, w).transpose(0, 1, 4, 2, 5, 3).reshape(n, 3, h * s, w * s)


def test_run_equals_numpy(artifact, picture):
    from sr_tvm.records.architecture import Architecture

    (y,) = LocalRunner().run(artifact, [picture])
    expected = reference(Architecture.from_json(artifact.architecture), picture)
    np.testing.assert_allclose(y, expected, atol=1e-5)
    (again,) = LocalRunner().run(artifact, [picture[..., ::-1].copy()])
    assert np.abs(again - y).max() > 1e-3


def test_measurement_says_how(artifact):
    record = LocalRunner(threads=1).measure(artifact, repeats=3)
    assert len(record.samples) == 3 and record.median > 0
    assert record.conditions["clock"] == "thread-cpu" and record.conditions["threads"] == 1
    assert record.conditions["schedule"] == "default" and record.input_shape == (1, 3, 12, 16)
    assert record.architecture == artifact.architecture
    # The network takes microseconds: many runs make one sample.
    assert record.conditions["runs_per_sample"] > 1


@pytest.mark.skipif(cores() < 2, reason="needs two cores")
def test_two_threads(artifact):
    import tvm

    record = LocalRunner(threads=2).measure(artifact, repeats=2)
    assert record.conditions["clock"] == "wall" and record.conditions["threads"] == 2
    for count in (2, 1, 2):
        assert threads.run_with_threads(count, lambda: int(tvm.runtime.num_threads())) == count


def test_the_caller_is_not_pinned_to_a_core(artifact, picture):
    import os

    before = os.sched_getaffinity(0)
    LocalRunner().run(artifact, [picture])
    assert os.sched_getaffinity(0) == before
    assert threads.run_with_threads(1, lambda: os.sched_getaffinity(0)) == before


def test_per_operator(artifact):
    rows = LocalRunner().per_operator(artifact, repeats=3)
    names = {row["kernel"] for row in rows}
    assert any("conv2d" in name for name in names)
    assert sum(row["calls"] for row in rows if "conv2d" in row["kernel"]) == 6
    assert [row["ms"] for row in rows] == sorted((row["ms"] for row in rows), reverse=True)


def test_wrong_inputs(artifact, picture):
    with pytest.raises(SrTvmError, match="takes 1 inputs, 2"):
        LocalRunner().run(artifact, [picture, picture])
    with pytest.raises(SrTvmError, match="input 'x' is float32 of shape 1x3x12x16; float32 of shape 1x3x4x16"):
        LocalRunner().run(artifact, [picture[:, :, :4]])
    with pytest.raises(SrTvmError, match="float64"):
        LocalRunner().run(artifact, [picture.astype("float64")])


def test_refusals(artifact, picture, tmp_path):
    with pytest.raises(SrTvmError, match="threads is 0"):
        LocalRunner(threads=0)
    with pytest.raises(SrTvmError, match="repeats is 0"):
        LocalRunner().measure(artifact, repeats=0)
    with pytest.raises(SrTvmError, match="made for the OpenCL of an Android phone"):
        LocalRunner().run(structs.replace(artifact, tvm_target={"kind": "opencl"}, target="mali"), [picture])
    # The one x86 CPU with every extension that LLVM knows.
    newest = structs.replace(artifact, tvm_target={"kind": "llvm", "mcpu": "diamondrapids"})
    with pytest.raises(SrTvmError, match="compiled for the CPU diamondrapids; this one .* lacks a"):
        LocalRunner().run(newest, [picture])
    shutil.copytree(artifact.folder, tmp_path / "other")
    library = tmp_path / "other" / "model.so"
    data = bytearray(library.read_bytes())
    data[18:20] = (183).to_bytes(2, "little")  # e_machine: EM_AARCH64
    library.write_bytes(data)
    other = structs.replace(artifact, folder=tmp_path / "other", library_sha256=sha256(library))
    with pytest.raises(SrTvmError, match="made for aarch64"):
        LocalRunner().run(other, [picture])
    library.write_bytes(b"not a library")
    with pytest.raises(SrTvmError, match="not an ELF"):
        LocalRunner().run(structs.replace(other, library_sha256=sha256(library)), [picture])
