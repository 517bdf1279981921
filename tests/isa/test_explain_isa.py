"""``sr-tvm explain OUT --isa GPU``: an artifact keeps its device code, and its kernels are counted."""

import json
import re

import numpy as np
import pytest
from click.testing import CliRunner

from sr_tvm.cli.explain import command
from sr_tvm.errors import SrTvmError
from sr_tvm.isa import system
from sr_tvm.isa.device_code import FACTS, TEXT, DeviceCode

pytest.importorskip("tvm", reason="pip install 'sr-tvm[compile]'")


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    """A convolution, a ReLU and another convolution for adreno, at 16 x 12 pixels."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    from sr_tvm.build.compiler import compile_model

    folder = tmp_path_factory.mktemp("isa")
    weights = {"first": np.ones((8, 3, 3, 3), np.float32), "second": np.ones((3, 8, 1, 1), np.float32)}
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "first"], ["a"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["a"], ["b"]),
            helper.make_node("Conv", ["b", "second"], ["y"]),
        ],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3, 16, 12))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 3, 16, 12))],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, folder / "net.onnx")
    return compile_model(folder / "net.onnx", "adreno", folder / "out")


def test_an_artifact_keeps_the_code_that_is_in_its_library(artifact):
    code = DeviceCode.load(artifact.folder)
    library = artifact.library_path.read_bytes()
    names = [launch.name for launch in code.launches]
    assert sorted(set(code.calls)) == sorted(names)
    assert len(names) >= len(artifact.kernels)
    for name in names:
        # Of the definition, not of a prototype.
        found = re.search(rf"__kernel [^;{{}}]*\b{name}\([^;{{}}]*\) \{{.*?\n\}}", code.text, re.DOTALL)
        assert found and found[0].encode() in library
    # Outputs are padded to vectors and work-groups; less than the network's own products there can't be.
    by_name = {launch.name: launch for launch in code.launches}
    products = sum(by_name[name].body.total("macs") * by_name[name].items for name in code.calls)
    assert products >= 16 * 12 * (8 * 27 + 3 * 8)


def test_device_code_that_was_changed_is_refused(artifact, tmp_path):
    code = DeviceCode.load(artifact.folder)
    code.save(tmp_path)
    assert DeviceCode.load(tmp_path) == code
    facts = json.loads((tmp_path / FACTS).read_text())
    (tmp_path / FACTS).write_text(json.dumps({**facts, "calls": ["nothing"]}))
    with pytest.raises(SrTvmError, match="'nothing', which is no kernel of it"):
        DeviceCode.load(tmp_path)
    facts["launches"][0]["groups"] = ["many"]
    (tmp_path / FACTS).write_text(json.dumps(facts))
    with pytest.raises(SrTvmError, match=r"field launches\[0\]\.groups is \['many'\]; a list of 3"):
        DeviceCode.load(tmp_path)
    (tmp_path / FACTS).unlink()
    with pytest.raises(SrTvmError, match="compile the model again"):
        DeviceCode.load(tmp_path)
    assert (tmp_path / TEXT).is_file()


def test_explain_needs_an_artifact():
    result = CliRunner().invoke(command, ["model.onnx", "--isa", "adreno-660"])
    assert result.exit_code == 2 and "needs the folder" in result.output


def test_explain_counts_each_kernel_and_the_network(artifact):
    if why := system.missing():
        pytest.skip(why)
    arguments = [str(artifact.folder), "--isa", "adreno-660"]
    told = CliRunner().invoke(command, [*arguments, "--json"], catch_exceptions=False)
    value = json.loads(told.output)
    assert "not the vendor's" in value["compiler"] and value["problems"] == {}
    assert value["slots"] == sum(k["total_slots"] * k["calls"] for k in value["kernels"])
    assert value["useful_macs"] == sum(k["macs"] * k["items"] * k["calls"] for k in value["kernels"])
    assert value["estimated_ms"] == pytest.approx(sum(k["estimated_ms"] for k in value["kernels"]))
    text = CliRunner().invoke(command, arguments, catch_exceptions=False).output
    assert "an estimate" in text and "no phone was asked" in text.replace("\n", " ")
    for kernel in value["kernels"]:
        assert kernel["name"] in text
