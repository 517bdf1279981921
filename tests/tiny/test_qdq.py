"""Integer networks as QDQ ONNX: read back as they were, run by ONNX Runtime, and what is refused."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from quantize_nets import MEANS, bytes_only, fsrcnn, pictures, wdsr

from sr_tvm.errors import SrTvmError
from sr_tvm.quantize import reference
from sr_tvm.quantize.calibrate import Calibration, calibrate
from sr_tvm.quantize.network import IntegerNetwork, QuantizedConvolution, QuantizedInput, Residual
from sr_tvm.quantize.qdq_nodes import requantized
from sr_tvm.quantize.qdq_read import from_onnx, is_quantized
from sr_tvm.quantize.qdq_write import to_onnx


@pytest.fixture(scope="module", params=[False, True], ids=["shifts", "multipliers"])
def network(request) -> IntegerNetwork:
    return calibrate(wdsr([(20, 7)], channels=8), pictures(), Calibration(multipliers=request.param))


@pytest.fixture
def saved(network, tmp_path) -> Path:
    path = tmp_path / "q.onnx"
    onnx.save(to_onnx(network, np.array(MEANS, "float32").astype(float)), path)
    return path


def test_what_is_read_is_what_was_written(network, saved):
    back = from_onnx(saved)
    assert [type(node) for node in back.nodes] == [type(node) for node in network.nodes]
    for one, two in zip(network.nodes, back.nodes, strict=True):
        if isinstance(one, QuantizedConvolution):
            assert np.array_equal(one.weight, two.weight) and one.shift == two.shift
            assert (one.multiplier is None) == (two.multiplier is None)
            assert np.array_equal(one.bias, two.bias)
        if isinstance(one, Residual):
            assert (one.factor, one.shift) == (two.factor, two.shift)
    picture = pictures(1, seed=5)[0]
    assert np.array_equal(reference.run(network, picture), reference.run(back, picture))


def test_onnxruntime_makes_the_same_pictures_but_for_ties(saved):
    """It rounds halves to even, and its sums of a residual once, not twice: from layer to layer that adds up."""
    onnxruntime = pytest.importorskip("onnxruntime")
    model, network = onnx.load(saved), from_onnx(saved)
    first = next(n.name for n in network.nodes if not isinstance(n, QuantizedInput) and n.dtype == "uint8")
    model.graph.output.append(onnx.helper.make_tensor_value_info(first, onnx.TensorProto.UINT8, None))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    picture = pictures(1, seed=5)[0]
    made, layer = session.run(None, {"input": picture[None].astype(np.float32) / 255})
    ours = reference.values(network, picture)
    inside = (slice(None), slice(1, -1), slice(1, -1))  # outside, ours pads with the means as whole pixels
    apart = np.abs(layer[0].astype(int) - ours[first])[inside]
    assert apart.max() <= 1 and (apart > 0).mean() < 0.03
    apart = np.abs(np.round(np.clip(made[0], 0, 1) * 255) - reference.run(network, picture))
    assert apart.max() <= 6 and apart.mean() < 1.0


def test_a_float_model_is_not_quantised(tmp_path, saved):
    path = tmp_path / "text"
    path.write_text("no model")
    assert is_quantized(saved) and not is_quantized(path)


def test_scales_that_are_powers_of_two_apart_need_no_multiplier():
    assert requantized(np.array([2**-7, 2**-7])) == (7, None, None)
    shift, multiplier, before = requantized(np.array([0.011, 0.004]))
    assert shift == 6 and np.allclose(multiplier / 32768 / 64, [0.011, 0.004], rtol=1e-4) and before is None


def test_outputs_far_apart_are_shifted_each_by_its_own():
    ratio, most = np.array([0.011, 0.0001]), np.array([1e5, 1e6])  # the second reaches 100 bytes
    shift, multiplier, before = requantized(ratio, 4, most, 256)
    assert before.tolist() == [0, 6] and most[1] / 2.0 ** (shift + 6) < 32768 < most[1] / 2.0**shift
    assert np.allclose(multiplier / 32768.0 / 2.0 ** (shift + before.astype(int)), ratio, rtol=1e-3)


def test_a_ratio_over_1_is_refused():
    with pytest.raises(SrTvmError, match="a unit of its sums is 1.5 of a step of its bytes; up to 1 is possible"):
        requantized(np.array([1.5]))


@pytest.mark.parametrize("made", [fsrcnn, bytes_only, lambda: fsrcnn(3)], ids=["fsrcnn", "bytes", "times three"])
def test_prelu_and_what_is_bytes_alone_are_read_as_they_were_written(made, tmp_path):
    region = made()
    one = calibrate(region, [p[: region.sources[0].channels] for p in pictures()], Calibration(adapt=False))
    onnx.save(to_onnx(one), tmp_path / "q.onnx")
    onnx.checker.check_model(onnx.load(tmp_path / "q.onnx"), full_check=True)
    two = from_onnx(tmp_path / "q.onnx")
    picture = pictures(1, seed=5)[0][: region.sources[0].channels]
    assert [type(node) for node in two.nodes] == [type(node) for node in one.nodes]
    assert np.array_equal(reference.run(one, picture), reference.run(two, picture))


def test_an_operator_without_integer_form_is_named(saved):
    model = onnx.load(saved)
    for node in model.graph.node:
        if node.op_type == "Relu":
            node.op_type = "Sigmoid"
    onnx.save(model, saved)
    with pytest.raises(SrTvmError, match="Sigmoid 'Relu_.*: has no integer form"):
        from_onnx(saved)


def test_signed_activations_are_the_same_bytes_less_128(saved):
    wanted = from_onnx(saved)
    model = onnx.load(saved)
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.UINT8:
            values = onnx.numpy_helper.to_array(tensor)
            tensor.CopyFrom(onnx.numpy_helper.from_array((values.astype(int) - 128).astype(np.int8), tensor.name))
    onnx.save(model, saved)
    picture = pictures(1, seed=5)[0]
    assert np.array_equal(reference.run(from_onnx(saved), picture), reference.run(wanted, picture))


def changed(path: Path, change) -> None:
    model = onnx.load(path)
    change(model)
    onnx.save(model, path)


def test_a_picture_of_bytes_is_the_same_without_its_quantisation(saved):
    wanted = from_onnx(saved)

    def change(model):
        (first,) = [n for n in model.graph.node if n.op_type == "QuantizeLinear" and n.input[0] == "input"]
        after = next(n for n in model.graph.node if first.output[0] in n.input)
        after.input[0] = "input"
        model.graph.node.remove(first)
        model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8

    changed(saved, change)
    picture = pictures(1, seed=5)[0]
    assert np.array_equal(reference.run(from_onnx(saved), picture), reference.run(wanted, picture))


def test_operators_on_integers_are_refused_by_name(tmp_path):
    names = ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz"]
    node = onnx.helper.make_node("QLinearConv", names, ["y"])
    values = [np.float32(1), np.uint8(0), np.ones((4, 3, 1, 1), np.int8), np.float32(1), np.int8(0), np.float32(1)]
    constants = [onnx.numpy_helper.from_array(v, n) for v, n in zip([*values, np.uint8(0)], names[1:], strict=True)]
    info = onnx.helper.make_tensor_value_info
    ends = [info(n, onnx.TensorProto.UINT8, [1, c, "h", "w"]) for n, c in (("x", 3), ("y", 4))]
    graph = onnx.helper.make_graph([node], "g", ends[:1], ends[1:], constants)
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), tmp_path / "q.onnx")
    assert is_quantized(tmp_path / "q.onnx")
    with pytest.raises(SrTvmError, match="QLinearConv 'y': has no integer form; Add, Clip, Constant, Conv, "):
        from_onnx(tmp_path / "q.onnx")


def test_sixteen_bits_are_refused(saved):
    def change(model):
        for tensor in model.graph.initializer:
            if tensor.data_type == onnx.TensorProto.UINT8:
                values = onnx.numpy_helper.to_array(tensor)
                tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.uint16), tensor.name))

    changed(saved, change)
    with pytest.raises(SrTvmError, match="uint16; uint8 and int8 ones have an integer form|not a valid ONNX"):
        from_onnx(saved)


def test_a_clip_that_bytes_do_not_do_is_refused(saved):
    def change(model):
        relu = next(node for node in model.graph.node if node.op_type == "Relu")
        relu.op_type = "Clip"
        relu.input.extend(["zero", "little"])
        for name, number in (("zero", 0.0), ("little", 0.01)):
            model.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(number), name))

    changed(saved, change)
    with pytest.raises(SrTvmError, match="clipped to 0...0.01, quantised to 0.*a narrower clip has no integer form"):
        from_onnx(saved)


def test_numbers_that_do_not_go_together_are_refused(saved):
    def change(model):
        tensor = next(t for t in model.graph.initializer if t.name.endswith("_bias"))
        tensor.CopyFrom(onnx.numpy_helper.from_array(np.zeros(3, np.int32), tensor.name))

    changed(saved, change)
    with pytest.raises(SrTvmError, match="Conv 'Conv_.*: its inputs or attributes do not go together"):
        from_onnx(saved)


def test_a_bias_that_leaves_32_bits_is_refused(saved):
    def change(model):
        tensor = next(t for t in model.graph.initializer if t.name.endswith("_bias"))
        values = np.full(onnx.numpy_helper.to_array(tensor).shape, 2**31 - 1, np.int32)
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))

    changed(saved, change)
    with pytest.raises(SrTvmError, match="a sum of its int8 products may leave 31 bits"):
        from_onnx(saved)
