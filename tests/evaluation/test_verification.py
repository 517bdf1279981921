"""compile --verify: an artifact's kernels run here first, and one that errs is not written."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper

from sr_tvm.build.compiler import compile_model
from sr_tvm.cli.compile import command
from sr_tvm.errors import SrTvmError
from sr_tvm.evaluation import verification
from sr_tvm.records.artifact import MANIFEST, Artifact
from sr_tvm.runtimes.opencl import backend
from sr_tvm.targets import registry
from sr_tvm.targets.opencl import weights

SHAPE = (1, 3, 12, 20)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Head, expand, ReLU, project and a 3x3 with a residual: what the GPU lowering makes two kernels of."""
    rng = np.random.default_rng(0)
    sides = {"head": (8, 3, 3), "expand": (24, 8, 1), "project": (6, 24, 1), "back": (8, 6, 3)}
    numbers = {f"{name}.w": rng.normal(0, 0.2, (o, i, k, k)) for name, (o, i, k) in sides.items()}
    nodes = [
        helper.make_node("Conv", ["x", "head.w"], ["h"], pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["h", "expand.w"], ["e"]),
        helper.make_node("Relu", ["e"], ["r"]),
        helper.make_node("Conv", ["r", "project.w"], ["p"]),
        helper.make_node("Conv", ["p", "back.w"], ["b"], pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["b", "h"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 8, *SHAPE[2:]))],
        [numpy_helper.from_array(value.astype("float32"), name) for name, value in numbers.items()],
    )
    path = tmp_path_factory.mktemp("model") / "block.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def run(model, target, out, *options):
    return CliRunner().invoke(command, [str(model), "--target", target, "-o", str(out), "--verify", *options])


@pytest.mark.parametrize("target", ["adreno", "mali"])
def test_what_is_right_is_told_in_the_manifest(opencl, model, target, tmp_path):
    done = run(model, target, tmp_path / "out")
    assert done.exit_code == 0, done.exception
    told = Artifact.load(tmp_path / "out").verification
    assert told is not None and told["device"] == str(backend.find().devices[0])
    assert told["reference"] == "cpu" and told["input_shape"] == list(SHAPE)
    assert 0 < told["deviation"] < 1e-5 < told["allowed"]
    assert f"note: verified at 1x3x12x20 on {backend.find().devices[0]}: outputs differ" in done.output


def test_the_kernels_that_ran_are_those_of_the_phone(opencl, model, tmp_path):
    """The very text, with the decisions of a phone and not of a PC."""
    target = registry.get("adreno")
    phone = compile_model(model, target, tmp_path / "phone").folder
    twin = compile_model(model, target.stand_in(), tmp_path / "twin").folder
    pc = compile_model(model, target.hosted_by("x86"), tmp_path / "pc").folder
    text, of_twin, of_pc = ((folder / "kernels.cl").read_text() for folder in (phone, twin, pc))
    assert text == of_twin != of_pc
    compile_model(model, target.hosted_by("x86").stand_in(), tmp_path / "pc2")
    assert (tmp_path / "pc2" / "kernels.cl").read_text() == of_pc


def test_what_is_wrong_is_not_written(opencl, model, tmp_path, monkeypatch):
    """The projecting weights of one output are off by a little."""
    right = weights.by_hidden

    def wrong(*arguments):
        packed = right(*arguments)
        packed[:, -8:, 0] *= 1.01
        return packed

    monkeypatch.setattr(weights, "by_hidden", wrong)
    done = run(model, "mali", tmp_path / "out")
    assert isinstance(done.exception, SrTvmError) and done.exit_code == 1
    said = str(done.exception)
    assert said.startswith("block.onnx for mali computes something else on opencl:0") and "\n" not in said
    assert "of the peak, 1e-04 is allowed; nothing was written" in said
    assert not (tmp_path / "out").exists()


def test_an_earlier_artifact_stays_as_it_was(opencl, model, tmp_path, monkeypatch):
    assert run(model, "mali", tmp_path / "out").exit_code == 0
    before = (tmp_path / "out" / MANIFEST).read_bytes()
    right = weights.by_rows
    monkeypatch.setattr(weights, "by_rows", lambda weight: right(weight) * np.nan)
    assert "nothing was written" in str(run(model, "mali", tmp_path / "out").exception)
    assert (tmp_path / "out" / MANIFEST).read_bytes() == before


def test_not_a_number_on_the_second_picture_alone(model, tmp_path, monkeypatch):
    """Python's max would keep the first picture's deviation."""
    right = verification._deviation
    answers = []

    def second_is_nan(*arguments):
        answers.append(right(*arguments))
        return answers[0] if len(answers) == 1 else float("nan")

    monkeypatch.setattr(verification, "_deviation", second_is_nan)
    done = run(model, "cpu", tmp_path / "out")
    assert len(answers) == 2 and answers[0] < 1e-5
    assert isinstance(done.exception, SrTvmError) and "outputs are off by nan of the peak" in str(done.exception)
    assert not (tmp_path / "out").exists()


def test_the_cpu_against_plain_loops(model, tmp_path):
    done = run(model, "cpu", tmp_path / "out", "--json")
    assert done.exit_code == 0, done.exception
    told = json.loads(done.output)["verification"]
    assert told["reference"] == "plain" and told["deviation"] < 1e-5


def test_without_it_the_manifest_is_as_before(model, tmp_path):
    done = CliRunner().invoke(command, [str(model), "--target", "cpu", "-o", str(tmp_path / "out")])
    assert done.exit_code == 0
    assert "verification" not in json.loads((tmp_path / "out" / MANIFEST).read_text())


def test_a_target_whose_code_does_not_run_here(model, tmp_path):
    done = run(model, "hexagon", tmp_path / "out")
    assert "target hexagon can't be verified on this machine, which does not run its code" in str(done.exception)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("target", ["adreno", "mali"])
def test_no_driver_is_one_line_with_the_remedy(model, tmp_path, monkeypatch, target):
    monkeypatch.setattr(backend, "find", lambda: backend.Found("", "libOpenCL.so.1 finds no driver", ()))
    done = run(model, target, tmp_path / "out")
    assert str(done.exception) == (
        f"target {target} can't be verified on this machine: no OpenCL device: libOpenCL.so.1 finds no driver; "
        f"{backend.REMEDY}"
    )


def test_a_driver_without_float16(opencl, tmp_path):
    if backend.find().devices[0].float16:
        pytest.xfail("this one has it")
    with pytest.raises(SrTvmError, match="target mali can't be verified on this machine: opencl:0 .* has no float16"):
        registry.get("mali").computing_in("float16").stand_in()
