"""Programs for a device as records: JSON, and what does not fit together."""

import copy
import json

import pytest

from sr_tvm.errors import SrTvmError
from sr_tvm.records.device_program import DeviceProgram, KernelLaunch, Memory
from sr_tvm.records.program import FILE, WEIGHTS, Stored
from sr_tvm.records.tensor import Tensor


def _program(digest="0"):
    return DeviceProgram(
        inputs=(Tensor("x", (1, 3, 8, 8)),),
        outputs=(Tensor("y", (1, 3, 16, 16)),),
        constants=(Stored(Tensor("w", (10,), "float16"), 64),),
        scratch=(Stored(Tensor("a", (1, 2, 8, 8, 4)), 1), Stored(Tensor("b", (5,)), 0)),
        memories=(Memory(20), Memory(2048, (8, 8, 2), 32)),
        launches=(
            KernelLaunch("k0", ("a", "w", "x"), (1, 2, 1), (8, 4, 1)),
            KernelLaunch("k1", ("y", "b", "a"), (1, 2, 1), (8, 4, 1)),
        ),
        half=True,
        source_sha256=digest,
    )


def test_json_there_and_back(tmp_path):
    from sr_tvm.system.files import sha256

    source, folder = tmp_path / "kernels.cl", tmp_path / "program"
    folder.mkdir()
    source.write_text("__kernel void k0() {}")
    (folder / WEIGHTS).write_bytes(b"weights")
    program = _program(sha256(source))
    program.save(folder)
    assert DeviceProgram.load(folder, source) == DeviceProgram(
        **{**program.__dict__, "digests": {WEIGHTS: sha256(folder / WEIGHTS)}}
    )
    assert program.numbers()["a"] == ("memory", 1) and program.numbers()["w"] == ("weights", 0)
    for path in (source, folder / WEIGHTS):
        before = path.read_bytes()
        path.write_bytes(before + b" ")
        with pytest.raises(SrTvmError, match=f"{path.name}: is missing or not the file"):
            DeviceProgram.load(folder, source)
        path.write_bytes(before)
    value = json.loads((folder / FILE).read_text())
    del value["digests"][WEIGHTS]
    (folder / FILE).write_text(json.dumps(value))
    with pytest.raises(SrTvmError, match=r"weights.bin: is missing"):
        DeviceProgram.load(folder, source)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("half",), 1, "half is 1; true or false"),
        (("launches",), [], "launches"),
        (("launches", 0, "kernel"), "k()", "a name as C has it"),
        (("launches", 0, "groups"), [1, 2], "groups is [1, 2]; a list of 3"),
        (("launches", 0, "items"), [1, 0, 2], "items"),
        (("launches", 0, "arguments"), ["x", "z"], "'z', which is no tensor"),
        (("memories", 1, "bits"), 8, "bits is 8"),
        (("memories", 1, "image"), [8, 8, -1], "image"),
        (("memories", 0, "bytes"), 0, "bytes"),
        (("scratch", 0, "place"), 2, "memory 2, which there is not"),
        (("scratch", 0, "name"), "x", "two tensors have one name"),
        (("constants", 0, "place"), -1, "place"),
        (("more",), 1, "unknown field"),
        (("outputs",), None, "outputs"),
    ],
)
def test_what_does_not_fit_is_refused(path, value, words):
    data = copy.deepcopy(_program().to_json())
    data = json.loads(json.dumps(data))
    at = data
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    with pytest.raises(SrTvmError, match="^it: ") as error:
        DeviceProgram.from_json(data, "it")
    assert words in str(error.value)
