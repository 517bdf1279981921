"""What is known by its operators to be one graph at every size comes out as by comparing sizes, and only that is."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import sr_tvm.models
from sr_tvm.errors import SrTvmError
from sr_tvm.frontend import any_size, receptive_field
from sr_tvm.frontend.any_size import PROBES, normalize_any_size
from sr_tvm.frontend.every_size import same_at_every_size
from sr_tvm.frontend.input_shapes import resolve_open
from sr_tvm.frontend.normalize import normalize
from sr_tvm.frontend.onnx_file import load_onnx

WEIGHTS = {
    "w1": (3, 3, 1, 1),
    "w3": (3, 3, 3, 3),
    "w12": (12, 3, 3, 3),
    "w4": (3, 3, 4, 4),
    "wide": (2800, 3, 1, 1),  # so many channels that a large picture has too many elements
    "bias": (3,),
    "one": (),
    "row": (20,),
    "channel": (3, 1, 1),
    "picture": (1, 3, 24, 20),
    "batch": (3, 3, 1, 1),
}
SAME = {"pads": [1, 1, 1, 1]}
# Nodes as (operator, inputs, attributes), each reads what the one before made as "-"; and whether one look is enough.
CASES = {
    "convolutions": ([("Conv", "- w3 bias", SAME), ("Relu", "-", {}), ("Conv", "- w1", {})], True),
    "dilated": ([("Conv", "- w3", {"pads": [2] * 4, "dilations": [2, 2]})], True),
    "padding said to be explicit": ([("Conv", "- w3", SAME | {"auto_pad": "NOTSET"})], True),
    "shuffled": ([("Conv", "- w12", SAME), ("DepthToSpace", "-", {"blocksize": 2, "mode": "CRD"})], True),
    "transposed": ([("ConvTranspose", "- w4", {"strides": [2, 2], "pads": [1] * 4}), ("Tanh", "-", {})], True),
    "numbers and channels": ([("Mul", "- one", {}), ("PRelu", "- channel", {}), ("Add", "- x", {})], True),
    "joined": ([("Concat", "- x", {"axis": 1}), ("Clip", "- one", {})], True),
    "a computed constant": ([("Transpose", "w3", {"perm": [1, 0, 2, 3]}), ("Conv", "x -", SAME)], True),
    "padding that doubles the probe": ([("Conv", "- w1", {"pads": [12, 10, 12, 10]})], False),
    "a stride that keeps the probe": (
        [("Conv", "- w1", {"pads": [11, 9, 12, 10], "strides": [2, 2]}), ("Relu", "-", {})],
        False,
    ),
    "transposed, as large as before": ([("ConvTranspose", "- w4", {"pads": [0, 0, 3, 3], "strides": [1, 1]})], True),
    "transposed, cropped": ([("ConvTranspose", "- w4", {"strides": [2, 2], "pads": [2] * 4})], False),
    "a valid convolution": ([("Conv", "- w3", {})], False),
    "a constant picture": ([("Add", "- picture", {})], False),
    "a constant row": ([("Add", "- row", {})], False),
    "a constant batch": ([("Add", "- batch", {})], False),
    "padding by the engine": ([("Conv", "- w3", {"auto_pad": "SAME_UPPER"})], False),
    "too many elements": ([("Conv", "- wide", {})], False),
    "shape arithmetic": ([("Shape", "x", {}), ("Reshape", "x -", {})], False),
    "a mean over the picture": ([("GlobalAveragePool", "-", {}), ("Mul", "- x", {})], False),
    "joined rows": ([("Concat", "- x", {"axis": 2})], False),
    "weights computed from the picture": ([("Conv", "- x", {})], False),
}


def model(nodes: list, shape: tuple = (1, 3, "h", "w"), unused: str = "") -> onnx.ModelProto:
    made, last = [], "x"
    for i, (operator, inputs, attrs) in enumerate(nodes):
        names = [last if name == "-" else name for name in inputs.split()]
        last = f"t{i}"
        made.append(helper.make_node(operator, names, [last], f"n{i}", **attrs))
    if unused:
        made.append(helper.make_node("Conv", ["x", unused], ["nobody"], "unused"))
    rng = np.random.default_rng(0)
    graph = helper.make_graph(
        made,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.float32(rng.random(s)), n) for n, s in WEIGHTS.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def outcome(proto: onnx.ModelProto) -> object:
    """The graph for any size and the receptive field, or why there is none."""
    found: list[object] = []
    try:
        graph = normalize_any_size(proto, resolve_open(proto))
        constants = {n: (v.dtype, v.shape, v.tobytes()) for n, v in graph.constants.items()}
        types = {n: t.SerializeToString() for n, t in graph.types.items()}
        found += [[n.SerializeToString() for n in graph.nodes], constants, types, graph.inputs, graph.outputs]
    except SrTvmError as error:
        found.append(str(error))
    try:
        found.append(receptive_field.receptive_field(proto))
    except SrTvmError as error:
        found.append(str(error))
    return found


def one_look(proto: onnx.ModelProto) -> bool:
    shapes = resolve_open(proto)
    probes = [any_size._at(shapes, probe) for probe in PROBES]
    return same_at_every_size(proto, normalize(proto, probes[0]), probes)


def assert_as_by_comparing(proto: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch) -> None:
    found = outcome(proto)
    for module in (any_size, receptive_field):
        monkeypatch.setattr(module, "same_at_every_size", lambda *_: False)
    assert outcome(proto) == found


@pytest.mark.parametrize("name", CASES)
def test_one_look_is_enough_only_where_it_finds_what_many_do(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes, enough = CASES[name]
    proto = model(nodes)
    assert one_look(proto) == enough
    assert_as_by_comparing(proto, monkeypatch)


@pytest.mark.parametrize(
    ("shape", "enough"),
    [(("n", 3, "h", "w"), True), ((1, 3, "s", "s"), True), ((1, 3, 7, "w"), True), ((1, 3, 1, "w"), False)],
)
def test_which_dimensions_are_open(shape: tuple, enough: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    proto = model([("Conv", "- w3", SAME), ("Add", "- channel", {})], shape)
    assert one_look(proto) == enough
    assert_as_by_comparing(proto, monkeypatch)


def test_what_no_output_needs_is_looked_at_too(monkeypatch: pytest.MonkeyPatch) -> None:
    proto = model([("Relu", "-", {})], unused="w3")  # at a single pixel that convolution makes nothing
    assert not one_look(proto)
    assert_as_by_comparing(proto, monkeypatch)


def test_one_look_is_enough_for_the_shipped_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    paths = sorted(Path(next(iter(sr_tvm.models.__path__))).glob("*.onnx"))
    assert paths and all(one_look(load_onnx(path)) for path in paths)
    assert_as_by_comparing(load_onnx(paths[0]), monkeypatch)
