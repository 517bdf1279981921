"""The records: what is accepted, what is refused and with which words, and what survives a round trip."""

import json

import pytest

from sr_tvm.errors import SrTvmError
from sr_tvm.records.architecture import Architecture, Block
from sr_tvm.records.artifact import Artifact, Tensor
from sr_tvm.records.measurement import Measurement
from sr_tvm.system.files import sha256


@pytest.mark.parametrize(
    ("depth", "channels", "params"),
    [(3, 24, 36_720), (8, 24, 90_940)],  # published: WDSR-B x2 of 8 blocks has 90,940
)
def test_parameter_counts(depth, channels, params):
    assert Architecture.uniform(2, depth, channels).params == params


def test_macs_count_every_convolution():
    tiny = Architecture(2, 4, (Block(8, 3),))
    assert tiny.macs(10, 7) == 70 * (3 * 4 * 9 + 4 * 8 + 8 * 3 + 3 * 4 * 9 + 4 * 12 * 9 + 3 * 12 * 25)


def test_architecture_round_trip(tmp_path):
    irregular = Architecture(3, 13, (Block(40, 7), Block(1, 1)))
    irregular.save(tmp_path / "a.json")
    assert Architecture.load(tmp_path / "a.json") == irregular


@pytest.mark.parametrize("width", [0, -1, 1e9, 10**9, float("nan"), True, "8", None, "__import__('os')", [8]])
@pytest.mark.parametrize("field", ["channels", "blocks[1].expand", "blocks[0].linear"])
def test_bad_widths_name_the_field(tmp_path, width, field):
    value = Architecture.uniform(2, 2, 8).to_json()
    if field == "channels":
        value["channels"] = width
    else:
        value["blocks"][int(field[7])][field.split(".")[1]] = width
    (tmp_path / "a.json").write_text(json.dumps(value))
    with pytest.raises(SrTvmError, match="whole number from 1 to 4096") as error:
        Architecture.load(tmp_path / "a.json")
    assert field in str(error.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"scale": 5}, "field scale is 5; a whole number from 2 to 4"),
        ({"scale": True}, "scale is True"),
        ({"scale": 2.0}, r"scale is 2\.0"),
        ({"scale": [2]}, r"scale is \[2\]"),
        ({"blocks": {"expand": 1}}, "field blocks is .*; a list of at most 256 is"),
        ({"blocks": [{"expand": 8}]}, r"field blocks\[0\].linear is missing"),
        ({"blocks": [{"expand": 8, "linear": 4}] * 300}, "a list of at most 256"),
        ({"family": "edsr"}, "field family is 'edsr'; 'wdsr-b' is needed"),
        ({"wdth": 3}, "unknown field 'wdth'"),
        ({"schema": "other"}, "not a sr-tvm/architecture file"),
        ({"version": 2}, "version 2; this sr-tvm reads version 1"),
    ],
)
def test_bad_architecture_files(tmp_path, change, words):
    value = {**Architecture.uniform(2, 1, 8).to_json(), **change}
    (tmp_path / "a.json").write_text(json.dumps(value))
    with pytest.raises(SrTvmError, match=words):
        Architecture.load(tmp_path / "a.json")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[1]", b"[" * 100_000])
def test_files_that_are_not_json(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(SrTvmError, match=r"a\.json"):
        Architecture.load(tmp_path / "a.json")


def test_measurement_round_trip_and_quantiles():
    m = Measurement("here", "cpu", "m", "0" * 64, (1, 3, 8, 8), (4.0, 1.0, 2.0, 3.0), conditions={"threads": 1})
    assert m.median == 2.5
    assert m.interval == (1.75, 3.25)
    assert Measurement.from_json(json.loads(json.dumps(m.to_json()))) == m


@pytest.mark.parametrize("samples", [(), (float("nan"),), (-1.0,)])
def test_measurement_refuses_bad_samples(samples):
    with pytest.raises(SrTvmError, match="samples"):
        Measurement("here", "cpu", "m", "", (1,), samples)


def _artifact(folder):
    (folder / "model.so").write_bytes(b"library")
    tensor = Tensor("x", (1, 3, 8, 8))
    artifact = Artifact(
        "m", "0" * 64, "cpu", {"kind": "llvm"}, "model.so", sha256(folder / "model.so"), (tensor,), (tensor,),
        folder=folder,
    )  # fmt: skip
    artifact.save()
    return artifact


def test_artifact_round_trip(tmp_path):
    written = _artifact(tmp_path)
    assert Artifact.load(tmp_path) == written


def test_artifact_with_a_changed_library_is_refused(tmp_path):
    _artifact(tmp_path)
    (tmp_path / "model.so").write_bytes(b"another")
    with pytest.raises(SrTvmError, match="not the library that was built"):
        Artifact.load(tmp_path)


def test_artifact_cannot_name_a_library_elsewhere(tmp_path):
    _artifact(tmp_path)
    manifest = json.loads((tmp_path / "artifact.json").read_text())
    (tmp_path / "artifact.json").write_text(json.dumps({**manifest, "library": "../evil.so"}))
    with pytest.raises(SrTvmError, match="plain file name"):
        Artifact.load(tmp_path)


@pytest.mark.parametrize("value", [None, 3, "x", [1], True])
def test_an_architecture_that_is_no_object(value):
    with pytest.raises(SrTvmError, match="here is .*; an object is needed"):
        Architecture.from_json(value, "here")


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("conditions", [1], "field conditions is .*an object"),
        ("architecture", [1], "field architecture is .*an object or null"),
        ("device", 5, "field device is 5; text"),
        ("samples", 3, "field samples is 3; a list"),
        ("samples", ["1"], r"field samples\[0\] is '1'; a finite number"),
        ("samples", [10**400], r"field samples\[0\] is 1000.*; a finite number"),
        ("input_shape", [1.5], r"field input_shape\[0\] is 1.5; a whole number"),
        ("input_shape", "13", "field input_shape is '13'; a list"),
        ("unit", [1], r"unit is \[1\]; 'ms', 'packets' or"),
        ("extra", 1, "unknown field 'extra'"),
        ("model", ..., "field model is missing"),
    ],
)
def test_damaged_measurements_name_the_field(field, value, words):
    record = json.loads(json.dumps(Measurement("here", "cpu", "m", "", (1,), (1.0, 2)).to_json()))
    record[field] = value
    if value is ...:
        del record[field]
    with pytest.raises(SrTvmError, match=words) as error:
        Measurement.from_json(record)
    assert len(str(error.value)) < 300


@pytest.mark.parametrize("value", [None, [1], "x"])
def test_a_measurement_that_is_no_object(value):
    with pytest.raises(SrTvmError, match="an object is needed"):
        Measurement.from_json(value)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("library", 5, "field library is 5; a plain file name"),
        ("halo", "x", "field halo is 'x'; a whole number of 0 or more, or null"),
        ("halo", -1, "field halo is -1"),
        ("tvm_target", "x", "field tvm_target is 'x'; an object"),
        ("tvm_target", {"kind": 1}, "field tvm_target.kind is 1"),
        ("inputs", [], "field inputs is .*a list of at least 1"),
        ("inputs", [3], r"field inputs\[0\] is 3; an object"),
        ("inputs", [{"name": "x", "dtype": "float32"}], r"field inputs\[0\].shape is missing"),
        ("outputs", [{"name": "x", "dtype": "float32", "shape": [1, True]}], r"field outputs\[0\].shape\[1\] is True"),
        ("kernels", [1], r"field kernels\[0\] is 1; an object"),
        ("notes", "abc", "field notes is 'abc'; a list"),
        ("versions", {"tvm": 1}, "field versions.tvm is 1; text"),
        ("architecture", [], "field architecture is"),
        ("extra", 1, "unknown field 'extra'"),
        ("target", ..., "field target is missing"),
    ],
)
def test_damaged_manifests_name_the_field(tmp_path, field, value, words):
    _artifact(tmp_path)
    path = tmp_path / "artifact.json"
    manifest = json.loads(path.read_text())
    manifest[field] = value
    if value is ...:
        del manifest[field]
    path.write_text(json.dumps(manifest))
    with pytest.raises(SrTvmError, match=f"artifact.json: .*{words}"):
        Artifact.load(tmp_path)
