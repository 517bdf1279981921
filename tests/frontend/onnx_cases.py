"""Small ONNX graphs, one a case; many cases share one model, so that one build compares them all with ONNX Runtime."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

PICTURE = (1, 4, 6, 5)


@dataclass
class Case:
    """``nodes`` are (op, inputs, outputs, attributes); "x" is the picture, "y" the result, other names constants."""

    name: str
    opset: int
    nodes: list[tuple[str, list[str], list[str], dict[str, Any]]]
    constants: dict[str, np.ndarray]
    shape: tuple[int, ...] = PICTURE


def case(name: str, opset: int, op: str, *constants: Any, shape: tuple[int, ...] = PICTURE, **attrs: Any) -> Case:
    """One node ``op`` of "x", then the constants; None is an absent input."""
    names = ["" if c is None else f"c{i}" for i, c in enumerate(constants)]
    values = {n: np.asarray(c) for n, c in zip(names, constants, strict=True) if n}
    return Case(name, opset, [(op, ["x", *names], ["y"], attrs)], values, shape)


def model_of(cases: list[Case]) -> onnx.ModelProto:
    """One model with an output ``y<i>`` for each case; the cases share an opset."""
    (opset,) = {c.opset for c in cases}
    nodes, constants, inputs = [], [], {}
    for i, one in enumerate(cases):
        source = "in_" + "x".join(map(str, one.shape))
        inputs[source] = one.shape

        def local(name: str, i: int = i, source: str = source) -> str:
            return {"x": source, "y": f"y{i}", "": ""}.get(name, f"{name}_{i}")

        constants += [numpy_helper.from_array(v, local(k)) for k, v in one.constants.items()]
        for op, ins, outs, attrs in one.nodes:
            nodes.append(
                helper.make_node(
                    op, list(map(local, ins)), list(map(local, outs)), f"{one.name}_{i}_{len(nodes)}", **attrs
                )
            )
    graph = helper.make_graph(
        nodes,
        "cases",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
        [helper.make_tensor_value_info(f"y{i}", TensorProto.FLOAT, None) for i in range(len(cases))],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8 if opset < 21 else 10)


def run_both(cases: list[Case], folder: Path) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The outputs of ONNX Runtime, and of TVM after our import."""
    import onnxruntime

    from sr_tvm.frontend.onnx_file import load_onnx, resolve_inputs
    from sr_tvm.frontend.parity import run_relax
    from sr_tvm.frontend.to_relax import import_onnx

    path = folder / "cases.onnx"
    onnx.save(model_of(cases), path)
    model = load_onnx(path)
    shapes = resolve_inputs(model)
    rng = np.random.default_rng(3)
    feeds = {n: rng.standard_normal(s).astype(np.float32) for n, s in shapes.items()}
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds), run_relax(import_onnx(model, shapes), list(feeds.values()))


def by_opset(cases: list[Case], size: int = 24) -> list[list[Case]]:
    """Groups of at most ``size`` cases of one opset."""
    groups = defaultdict(list)
    for one in cases:
        groups[one.opset].append(one)
    return [g[i : i + size] for g in groups.values() for i in range(0, len(g), size)]
