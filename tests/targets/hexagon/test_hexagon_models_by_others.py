"""Models by ONNX Runtime's quantiser: each layer within a level of what it makes of them, and exact on HVX."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))
from quantize_nets import pictures

from sr_tvm.quantize import reference
from sr_tvm.quantize.network import Blend, IntegerNetwork
from sr_tvm.quantize.qdq_read import from_onnx
from sr_tvm.records.architecture import Architecture
from sr_tvm.runners import hexagon_sim

SIDE = 32
STYLES = {
    "uint8, int8 by channel": {},
    "int8, int8 by channel": {"activation": "QInt8"},
    "symmetric": {"extra_options": {"ActivationSymmetric": True, "WeightSymmetric": True}},
    "uint8 weights": {"weight": "QUInt8"},
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> dict[str, Path]:
    """A small WDSR and a small FSRCNN in float."""
    torch = pytest.importorskip("torch")
    from sr_tvm.frontend.export import export_onnx
    from sr_tvm.nets.fsrcnn import FSRCNN
    from sr_tvm.nets.wdsr import WDSR

    torch.manual_seed(0)
    nets = {"wdsr": WDSR(Architecture.uniform(2, 1, 8)), "fsrcnn": FSRCNN(d=12, s=6, m=1)}
    with torch.no_grad():
        for module in nets["fsrcnn"].modules():
            if isinstance(module, torch.nn.PReLU):
                module.weight.copy_(torch.rand_like(module.weight) * 2 - 0.5)  # some over 1
    folder = tmp_path_factory.mktemp("float")
    for name, module in nets.items():
        shape = (1, 1 if name == "fsrcnn" else 3, SIDE, SIDE)
        export_onnx(module.eval(), folder / f"{name}.onnx", shape, exporter="torchscript")
    return {name: folder / f"{name}.onnx" for name in nets}


def quantized(source: Path, target: Path, activation: str = "QUInt8", weight: str = "QInt8", **options) -> Path:
    pytest.importorskip("onnxruntime")
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    (given,) = onnx.load(source).graph.input
    colours = given.type.tensor_type.shape.dim[1].dim_value

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            shown = pictures(6, SIDE)
            self.left = iter([{given.name: p[None, :colours].astype(np.float32) / 255} for p in shown])

        def get_next(self):
            return next(self.left, None)

    quantize_static(
        source, target, Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
        activation_type=QuantType[activation], weight_type=QuantType[weight], **options,
    )  # fmt: skip
    return target


def layers(path: Path, network: IntegerNetwork, picture: np.ndarray) -> dict[str, np.ndarray]:
    """By node that ONNX Runtime has, too, how far the definition is from it where both read the same bytes."""
    import onnxruntime

    model = onnx.load(path)
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    makers = {n.output[0]: n for n in model.graph.node if n.op_type == "QuantizeLinear"}
    names = [node.name for node in network.nodes if node.name in makers]
    for name in names:
        kind = onnx.helper.np_dtype_to_tensor_dtype(constants[makers[name].input[2]].dtype)
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, kind, None))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: picture[None].astype(np.float32) / 255}
    theirs = {n: _unshuffled(v[0], SIDE) for n, v in zip(names, session.run(names, feed), strict=True)}
    found, apart = {network.picture.name: picture}, {}
    for node in network.nodes[1:]:
        found[node.name] = reference.compute(network, node, found)
        if node.name in theirs:
            apart[node.name] = np.abs(found[node.name].astype(int) - theirs[node.name])
            found[node.name] = theirs[node.name].astype(np.uint8)
    return apart


def _unshuffled(value: np.ndarray, side: int) -> np.ndarray:
    value = value.astype(int) + (128 if value.dtype == np.int8 else 0)
    r = value.shape[1] // side
    split = value.reshape(len(value), side, r, side, r)
    return split.transpose(0, 2, 4, 1, 3).reshape(-1, side, side)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", ["wdsr", "fsrcnn"])
def test_a_layer_is_at_most_a_level_from_onnxruntime(exported, name, style, tmp_path):
    path = quantized(exported[name], tmp_path / "q.onnx", **STYLES[style])
    network = from_onnx(path)
    picture = pictures(3, SIDE, seed=7)[2][: network.channels(network.picture.name)]
    apart = layers(path, network, picture)
    assert len(apart) >= 8
    worst = {node: int(rows.max()) for node, rows in apart.items()}
    assert max(worst.values()) <= 1, worst
    shares = np.array([(rows > 0).mean() for rows in apart.values()])
    assert shares.mean() < 0.06, shares  # what halves are rounded to, and sums rounded before they are multiplied


@pytest.mark.skipif(hexagon_sim.missing() is not None, reason=f"make system-deps ({hexagon_sim.missing()})")
@pytest.mark.parametrize("name", ["wdsr", "fsrcnn"])
def test_the_kernels_are_the_definition(exported, name, tmp_path):
    from sr_tvm.system.tvm_setup import import_tvm

    import_tvm()
    from sr_tvm.targets.hexagon import integer

    network = from_onnx(quantized(exported[name], tmp_path / "q.onnx"))
    assert any(isinstance(node, Blend) for node in network.nodes)
    integer.build(network, tmp_path, "hexagonv68")
    facts = integer.Facts.load(tmp_path / integer.FACTS)
    paths = [tmp_path / file for file in (integer.PROGRAM, integer.WEIGHTS, integer.BIASES)]
    rng = np.random.default_rng(0)
    for height, width in ((1, 1), (3, 33), (5, 130)):
        picture = rng.integers(0, 256, (facts.channels[0], height, width)).astype(np.uint8)
        made, _ = hexagon_sim.simulate(*paths, facts, picture, 120.0)
        assert np.array_equal(made, reference.run(network, picture)), (height, width)
