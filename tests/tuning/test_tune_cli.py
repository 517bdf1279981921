"""sr-tvm tune, as typed: what it refuses before any work, and what it tunes."""

import json

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper

from sr_tvm.cli.tune import command
from sr_tvm.errors import SrTvmError
from sr_tvm.runners.tracker import start_server, start_tracker


def run(*args):
    return CliRunner().invoke(command, [str(a) for a in args])


@pytest.mark.parametrize("options", [("--tracker", "h:1"), ("--key", "x"), ("--parallel", 2)])
def test_options_that_belong_together(options):
    done = run("none.onnx", "--target", "cpu", *options)
    assert done.exit_code == 2 and "--tracker" in done.output


STOCK = "stock schedules only, so there is nothing to tune yet"


@pytest.mark.parametrize(
    ("target", "needs"),
    [
        ("hexagon", f"{STOCK}; it will need a Hexagon DSP, or the simulator for a quantised model"),
        ("android-cpu", "is measured on a phone with a TVM RPC server: give --tracker HOST:PORT and --key"),
    ],
)
def test_what_tuning_needs_is_said_in_a_line(target, needs):
    error = run("none.onnx", "--target", target).exception
    assert isinstance(error, SrTvmError) and needs in str(error)
    assert f"untuned: sr-tvm compile none.onnx --target {target} -o out/" in str(error)


def test_folder_is_looked_at_before_the_model(tmp_path):
    (tmp_path / "file").write_text("")
    error = run("none.onnx", "--target", "cpu", "-o", tmp_path / "file").exception
    assert isinstance(error, SrTvmError) and "file is not a folder" in str(error)


@pytest.fixture
def open_model(tmp_path):
    """Two convolutions that take any picture."""
    rng = np.random.default_rng(0)
    weights = {f"w{i}": rng.standard_normal((4, c, 3, 3)).astype("float32") / 5 for i, c in enumerate((3, 4))}
    nodes = [helper.make_node("Conv", ["x", "w0"], ["a"], pads=[1] * 4)]
    nodes.append(helper.make_node("Conv", ["a", "w1"], ["y"], pads=[1] * 4))
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, (1, c, "h", "w")) for n, c in (("x", 3), ("y", 4))]
    arrays = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "net", values[:1], values[1:], arrays)
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), tmp_path / "net.onnx"
    )
    return tmp_path / "net.onnx"


def test_kernels_for_any_size_and_for_one(open_model, tmp_path):
    """What is tuned is what 'compile' makes of the same shape, in one folder for both."""
    folder, shapes = tmp_path / "records", []
    for option in ((), ("--input-shape", "1x3x16x24")):
        found = run(open_model, "--target", "cpu", "-o", folder, "--trials", 2, "--json", *option)
        assert found.exit_code == 0, found.exception
        assert ("for any size" in found.stderr) == (not option)
        told = json.loads(found.stdout)
        (task,) = told["tasks"]
        assert task["trials"] == told["trials"] == 2 and task["failed"] == 0
        shapes.append(told["inputs"]["x"])
    assert shapes == [[1, 3, "h", "w"], [1, 3, 16, 24]]
    history = json.loads((folder / "tuning.json").read_text())["history"]
    assert len(history) == 4 and all("decisions" in row for row in history)


def test_on_servers_of_a_tracker(open_model, tmp_path):
    with start_tracker() as tracker, start_server(tracker, "box"), start_server(tracker, "box"):
        where = (open_model, "--target", "cpu", "--input-shape", "1x3x24x32", "--trials", 4, "--tracker", tracker)
        unknown = run(*where, "-o", tmp_path / "none", "--key", "phone").exception
        assert isinstance(unknown, SrTvmError)
        assert "no server has the key 'phone'; it knows box (2 free)" in str(unknown)
        assert not (tmp_path / "none").exists()
        done = run(*where, "-o", tmp_path / "db", "--key", "box", "--json")
        assert done.exit_code == 0, done.output
    assert f"note: measuring on 2 server(s) of box at {tracker}" in done.output
    trials = json.loads((tmp_path / "db" / "tuning.json").read_text())["history"]
    assert len(trials) == 4 and any(row["error"] is None for row in trials)
