"""One artifact at many sizes: here, over RPC, and what its manifest may say."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from device_nets import tiny_artifact
from test_local_device import reference

from sr_tvm.cli.bench import command
from sr_tvm.errors import SrTvmError
from sr_tvm.records.architecture import Architecture, Block
from sr_tvm.records.artifact import Artifact
from sr_tvm.runners.local import LocalRunner

pytest.importorskip("tvm")
ARCHITECTURE = Architecture(2, 4, (Block(8, 3),))


@pytest.fixture(scope="module")
def any_size(tmp_path_factory):
    return tiny_artifact(tmp_path_factory.mktemp("any"), ARCHITECTURE, "height", "width")


def picture(*size):
    return np.random.default_rng(1).random((1, 3, *size), dtype=np.float32)


@pytest.mark.parametrize("size", [(1, 1), (12, 16), (7, 31)])
def test_run_equals_numpy_at_every_size(any_size, size):
    (y,) = LocalRunner().run(any_size, [picture(*size)])
    np.testing.assert_allclose(y, reference(ARCHITECTURE, picture(*size)), atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 4, 5, 5), (2, 3, 5, 5), (3, 5, 5), (1, 3, 0, 5)])
def test_what_is_not_any_size_is_refused(any_size, shape):
    with pytest.raises(SrTvmError, match="'x' is float32 of shape 1x3xheightxwidth; .*" + "x".join(map(str, shape))):
        LocalRunner().run(any_size, [np.zeros(shape, np.float32)])


def test_at_one_size(any_size):
    fixed = any_size.at({"": (1, 3, 5, 6)})
    assert fixed.inputs[0].shape == (1, 3, 5, 6) and fixed.outputs[0].shape == (1, 3, 10, 12)
    with pytest.raises(SrTvmError, match="of shape 1x3x5x6; "):
        LocalRunner().run(fixed, [picture(5, 7)])
    for shapes, message in (
        ({}, "1x3xheightxwidth, of any size; name one, for example --input-shape 1x3x360x640"),
        ({"x": (1, 4, 5, 5)}, "1x3xheightxwidth; 1x4x5x5 does not fit"),
        ({"x": (1, 3, 5)}, "1x3x5 does not fit"),
        ({"x": (1, 3, 5, 5), "z": (1,)}, "has no input 'z'; it has 'x'"),
    ):
        with pytest.raises(SrTvmError, match=message.replace("*", r"\*")):
            any_size.at(shapes)


def test_a_measurement_says_at_which_size_and_that_any_was_possible(any_size):
    with pytest.raises(SrTvmError, match="of any size; name one"):
        LocalRunner().measure(any_size, repeats=2)
    record = LocalRunner().measure(any_size.at({"x": (1, 3, 5, 6)}), repeats=2)
    assert record.input_shape == (1, 3, 5, 6) and record.conditions["compiled_for"] == "any size"


def test_over_rpc(any_size, device):
    for size in ((5, 6), (9, 4)):
        (y,) = device.run(any_size, [picture(*size)])
        np.testing.assert_allclose(y, reference(ARCHITECTURE, picture(*size)), atol=1e-5)
    fixed = any_size.at({"x": (1, 3, 5, 6)})
    assert device.measure(fixed, repeats=2).input_shape == (1, 3, 5, 6)
    assert sum(row["calls"] for row in device.per_operator(fixed, repeats=1) if "conv2d" in row["kernel"]) == 6


def test_bench_takes_a_size(any_size):
    args = [str(any_size.folder), "--repeats", "2", "--json", "--input-shape", "1x3x9x4"]
    result = CliRunner().invoke(command, args, catch_exceptions=False)
    assert json.loads(result.output)["measurement"]["input_shape"] == [1, 3, 9, 4]


def test_an_artifact_of_fixed_size_takes_no_other(artifact):
    assert not artifact.any_size and artifact.at({}) == artifact
    with pytest.raises(SrTvmError, match="'x' is 1x3x12x16; 1x3x9x4 does not fit"):
        artifact.at({"x": (1, 3, 9, 4)})


@pytest.mark.parametrize(
    ("field", "shape", "message"),
    [
        ("inputs", [1, 3, "2*height", "width"], "field inputs: 'x' is 1x3x2\\*heightxwidth; use plain names"),
        ("inputs", [1, 3, "", "width"], r"field \w+\[0\].shape\[2\] is ''"),
        ("inputs", [1, 3, "a b", "width"], r"field \w+\[0\].shape\[2\] is 'a b'"),
        ("inputs", [1, 3, "depth", "width"], "field outputs: 'height' is no dimension of an input"),
        ("outputs", [1, 3, "0*height", "width"], r"field \w+\[0\].shape\[2\] is '0\*height'"),
        ("outputs", [1, 3, "2*depth", "width"], "field outputs: 'depth' is no dimension of an input"),
    ],
)
def test_names_in_a_manifest(any_size, tmp_path, field, shape, message):
    value = json.loads((any_size.folder / "artifact.json").read_text())
    value[field][0]["shape"] = shape
    (tmp_path / "artifact.json").write_text(json.dumps(value))
    with pytest.raises(SrTvmError, match=message):
        Artifact.load(tmp_path)


def test_manifests_of_version_1_are_read(artifact):
    path = artifact.folder / "artifact.json"
    text = path.read_text()
    try:
        for version in (1, 3):
            path.write_text(json.dumps({**json.loads(text), "version": version}))
            if version == 1:
                assert Artifact.load(artifact.folder) == artifact
            else:
                with pytest.raises(SrTvmError, match="version 3; this sr-tvm reads version 1 and 2"):
                    Artifact.load(artifact.folder)
    finally:
        path.write_text(text)
