"""Hostile and broken ONNX files: one clear error each, and nothing large is allocated."""

import contextlib
import hashlib
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from sr_tvm.errors import SrTvmError
from sr_tvm.frontend.onnx_file import EXTERNAL_SHA256, load_onnx, model_sha256


def tensor(name: str, *shape: int) -> TensorProto:
    return numpy_helper.from_array(np.ones(shape, np.float32), name)


def model(
    nodes: list[onnx.NodeProto] | None = None,
    weights: list[TensorProto] | None = None,
    element: int = TensorProto.FLOAT,
    opset: int = 17,
    domain: str = "",
) -> onnx.ModelProto:
    nodes = nodes or [helper.make_node("Conv", ["x", "w"], ["y"], "conv1")]
    weights = [tensor("w", 4, 3, 3, 3)] if weights is None else weights
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", element, [1, 3, "h", "w"])],
        [helper.make_tensor_value_info("y", element, [1, None, None, None])],
        weights,
    )
    imports = [helper.make_opsetid("", opset)] + [helper.make_opsetid(domain, 1)] * bool(domain)
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def saved(folder: Path, proto: onnx.ModelProto) -> Path:
    path = folder / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def refused(path: Path) -> str:
    with pytest.raises(SrTvmError) as error:
        load_onnx(path)
    message = str(error.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def test_a_good_model_is_read(tmp_path: Path) -> None:
    assert load_onnx(saved(tmp_path, model())).graph.node[0].op_type == "Conv"


def test_missing_file(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "none.onnx")


def test_folder(tmp_path: Path) -> None:
    assert "folder" in refused(tmp_path)


def test_unreadable_kind_of_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.onnx")
    (tmp_path / "empty.onnx").touch()
    assert "empty" in refused(tmp_path / "empty.onnx")
    assert "empty" in refused(tmp_path / "pipe.onnx")  # and does not wait for a writer


def test_over_two_gigabytes_is_refused_by_its_size_alone(tmp_path: Path) -> None:
    path = tmp_path / "big.onnx"
    with open(path, "wb") as stream:
        stream.truncate(2**31)  # sparse: takes no room
    assert "2 GB" in refused(path)


@pytest.mark.parametrize("content", [b"hello, this is text\n" * 20, b"\x89PNG\r\n\x1a\n" + bytes(99), b"{}", b"\x00"])
def test_other_kinds_of_files(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    assert "not a" in refused(path)


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    whole = model().SerializeToString()
    path = tmp_path / "m.onnx"
    for length in range(1, len(whole)):
        path.write_bytes(whole[:length])
        refused(path)


def test_flipped_bytes_never_escape_as_another_exception(tmp_path: Path) -> None:
    whole = bytearray(model().SerializeToString())
    path = tmp_path / "m.onnx"
    for at in range(0, len(whole), 3):
        broken = whole.copy()
        broken[at] ^= 0xFF
        path.write_bytes(broken)
        with contextlib.suppress(SrTvmError):
            load_onnx(path)


def test_unsupported_operator_is_named_with_its_node(tmp_path: Path) -> None:
    message = refused(saved(tmp_path, model([helper.make_node("LSTM", ["x", "w", "w"], ["y"], "my_lstm")])))
    assert "LSTM" in message
    assert "my_lstm" in message


def test_custom_domain_is_named(tmp_path: Path) -> None:
    node = helper.make_node("FancyConv", ["x", "w"], ["y"], "fancy", domain="com.example")
    message = refused(saved(tmp_path, model([node], domain="com.example")))
    assert "FancyConv" in message
    assert "com.example" in message
    assert "fancy" in message


def test_quantised_model(tmp_path: Path) -> None:
    node = helper.make_node("QuantizeLinear", ["x", "w"], ["y"], "q")
    assert "quantised" in refused(saved(tmp_path, model([node])))


@pytest.mark.parametrize("opset", [1, 8, 99])
def test_opset_out_of_range(opset: int, tmp_path: Path) -> None:
    message = refused(saved(tmp_path, model(opset=opset)))
    assert str(opset) in message
    assert "9 to" in message


@pytest.mark.parametrize(
    ("element", "word"),
    [(TensorProto.FLOAT16, "float16"), (TensorProto.DOUBLE, "float64"), (TensorProto.UINT8, "uint8")],
)
def test_input_of_another_type(element: int, word: str, tmp_path: Path) -> None:
    node = helper.make_node("Identity", ["x"], ["y"], "i")
    message = refused(saved(tmp_path, model([node], [], element)))
    assert word in message
    assert "float32" in message


@pytest.mark.parametrize("kind", [np.float16, np.float64, np.int8, np.uint8])
def test_weights_of_another_type(kind: type, tmp_path: Path) -> None:
    weight = numpy_helper.from_array(np.ones((4, 3, 3, 3), kind), "w")
    message = refused(saved(tmp_path, model(weights=[weight])))
    assert "'w'" in message
    assert "float32" in message


@pytest.mark.parametrize("dims", [[10**6, 10**6], [-1, 3], [2**62, 2**62], [5]])
def test_a_tensor_that_claims_more_than_it_holds(dims: list[int], tmp_path: Path) -> None:
    weight = tensor("w", 4, 3, 3, 3)
    weight.dims[:] = dims
    assert "'w'" in refused(saved(tmp_path, model(weights=[weight])))


def test_too_many_nodes(tmp_path: Path) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["y"], "r")] * 20_001
    assert "20001 nodes" in refused(saved(tmp_path, model(nodes)))


def test_invalid_graphs(tmp_path: Path) -> None:
    assert "not a valid" in refused(saved(tmp_path, model([helper.make_node("Relu", ["nowhere"], ["y"], "r")])))
    assert "not a valid" in refused(saved(tmp_path, model([helper.make_node("Conv", ["x"], ["y"], "c")])))


# External data --------------------------------------------------------------------------------------------------------


def external(folder: Path, location: str, offset: object = 0, length: object = 432) -> Path:
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4, 3, 3, 3])
    weight.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        weight.external_data.add(key=key, value=str(value))
    return saved(folder, model(weights=[weight]))


def test_external_data_beside_the_model_is_read(tmp_path: Path) -> None:
    values = np.arange(118, dtype=np.float32)
    (tmp_path / "w.bin").write_bytes(values.tobytes())
    loaded = load_onnx(external(tmp_path, "w.bin", 40))
    np.testing.assert_array_equal(numpy_helper.to_array(loaded.graph.initializer[0]).ravel(), values[10:])


@pytest.mark.parametrize("location", ["/etc/hostname", "../w.bin", "a/../../w.bin", "C:\\w.bin", "..\\w.bin", "", "."])
def test_external_data_outside_the_folder(location: str, tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(432))
    folder = tmp_path / "model"
    (folder / "a").mkdir(parents=True)
    assert "'w'" in refused(external(folder, location))


def test_external_data_through_a_link_out_of_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "w.bin").write_bytes(bytes(432))
    (folder / "link.bin").symlink_to(tmp_path / "w.bin")
    assert "link out of" in refused(external(folder, "link.bin"))
    (folder / "dir").symlink_to(tmp_path)
    assert "link out of" in refused(external(folder, "dir/w.bin"))


def test_external_data_missing_or_short(tmp_path: Path) -> None:
    assert "missing" in refused(external(tmp_path, "none.bin"))
    (tmp_path / "w.bin").write_bytes(bytes(431))
    assert "too short" in refused(external(tmp_path, "w.bin"))
    (tmp_path / "w.bin").write_bytes(bytes(500))
    assert "'w'" in refused(external(tmp_path, "w.bin", 100))
    assert "'w'" in refused(external(tmp_path, "w.bin", -4))
    assert "'w'" in refused(external(tmp_path, "w.bin", 0, 10**13))
    assert "'w'" in refused(external(tmp_path, "w.bin", "many"))


def test_external_data_over_two_gigabytes_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open(tmp_path / "w.bin", "wb") as stream:
        stream.truncate(400_000_000)  # sparse: takes no room
    weights = []
    for i in range(8):  # one file of 0.4 GB, named eight times
        weight = TensorProto(name=f"w{i}", data_type=TensorProto.FLOAT, dims=[100_000_000])
        weight.data_location = TensorProto.EXTERNAL
        weight.external_data.add(key="location", value="w.bin")
        weights.append(weight)

    def read(*_: object) -> None:
        raise AssertionError("a tensor was read")

    monkeypatch.setattr("sr_tvm.frontend.external_data.read_into", read)
    message = refused(saved(tmp_path, model(weights=[tensor("w", 4, 3, 3, 3), *weights])))
    assert "3.2 GB" in message
    assert "at most 2 GB" in message


def test_the_hash_of_a_model_covers_its_external_data(tmp_path: Path) -> None:
    path, weights = external(tmp_path, "w.bin", 40), tmp_path / "w.bin"

    def digest(values: bytes) -> str:
        weights.write_bytes(values)
        return model_sha256(path, load_onnx(path))

    first = digest(bytes(472))
    assert digest(bytes(472)) == first
    assert digest(bytes(471) + b"\x01") != first
    plain = saved(tmp_path, model())
    assert model_sha256(plain, load_onnx(plain)) == hashlib.sha256(plain.read_bytes()).hexdigest()


def test_a_file_cannot_claim_the_hash_of_its_external_data(tmp_path: Path) -> None:
    proto = model()
    helper.set_model_props(proto, {EXTERNAL_SHA256: "0" * 64, "other": "kept"})
    path = saved(tmp_path, proto)
    loaded = load_onnx(path)
    assert [p.key for p in loaded.metadata_props] == ["other"]
    assert model_sha256(path, loaded) == hashlib.sha256(path.read_bytes()).hexdigest()


# Local functions ------------------------------------------------------------------------------------------------------


def functions(folder: Path, bodies: dict[str, list[str]], call: str = "f0") -> Path:
    """A model of Relus in local functions, each a chain of what it calls; "" is a Relu itself."""
    made = []
    for name, called in bodies.items():
        chain = [
            helper.make_node(inner or "Relu", [f"v{i}"], [f"v{i + 1}"], domain="here" if inner else "")
            for i, inner in enumerate(called)
        ]
        imports = [helper.make_opsetid("", 17), helper.make_opsetid("here", 1)]
        made.append(helper.make_function("here", name, ["v0"], [f"v{len(called)}"], chain, imports))
    proto = model([helper.make_node(call, ["x"], ["y"], domain="here")], [], domain="here")
    proto.functions.extend(made)
    return saved(folder, proto)


def test_local_functions_are_expanded(tmp_path: Path) -> None:
    loaded = load_onnx(functions(tmp_path, {"f0": ["f1", "f1", ""], "f1": ["", ""]}))
    assert [node.op_type for node in loaded.graph.node] == ["Relu"] * 5
    assert not loaded.functions


def test_deeply_multiplying_functions_are_refused_before_they_are_expanded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def expand(*_: object) -> None:
        raise AssertionError("the functions were expanded")

    monkeypatch.setattr("onnx.inliner.inline_local_functions", expand)
    bodies = {f"f{i}": [f"f{i + 1}"] * 10 for i in range(60)} | {"f60": [""]}  # 10^60 nodes in a file of some kB
    assert "over 20000 nodes" in refused(functions(tmp_path, bodies))
    chain = {f"f{i}": [f"f{i + 1}"] for i in range(5000)} | {"f5000": [""]}
    assert "nested over 100 deep" in refused(functions(tmp_path, chain))
    large = helper.make_node("Constant", [], ["c"], value=tensor("c", 1_000_000))
    proto = onnx.load(functions(tmp_path, {"f0": ["f1"] * 100, "f1": ["f2"] * 10, "f2": [""]}))
    proto.functions[2].node.append(large)
    assert "2.1 GB" in refused(saved(tmp_path, proto))


def test_functions_that_call_themselves(tmp_path: Path) -> None:
    assert "calls itself" in refused(functions(tmp_path, {"f0": ["f1"], "f1": ["", "f0"]}))
    assert "calls itself" in refused(functions(tmp_path, {"f0": ["f0"]}))
