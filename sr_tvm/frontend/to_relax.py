"""ONNX to Relax: normalise the graph, then TVM's importer with a few converters of our own."""

from __future__ import annotations

import contextlib
import io
import warnings
from typing import Any

import onnx
import tvm
from onnx import TensorProto, helper
from tvm import relax
from tvm.relax.frontend.onnx.onnx_frontend import ONNXGraphImporter

from sr_tvm import interrupts
from sr_tvm.errors import SrTvmError
from sr_tvm.frontend.converters import CONVERTERS
from sr_tvm.frontend.graph import Graph
from sr_tvm.frontend.normalize import normalize
from sr_tvm.frontend.operators import CANONICAL_OPSET


class _Importer(ONNXGraphImporter):
    """TVM's importer over a normalised graph: constants come as arrays, some converters are ours."""

    def __init__(self, graph: Graph) -> None:
        super().__init__(dict(graph.inputs), "float32")
        self._graph = graph

    def _parse_graph_initializers(self, graph: onnx.GraphProto) -> None:
        for name, value in self._graph.constants.items():
            self._nodes[name] = relax.const(value)

    def _convert_operator(self, op_name: str, inputs: list, attrs: dict[str, Any], opset: int) -> relax.Expr:
        converter = CONVERTERS.get(op_name)
        if converter is None:
            return super()._convert_operator(op_name, inputs, attrs, opset)
        return self.bb.normalize(converter(self.bb, list(inputs), attrs))


def import_onnx(model: onnx.ModelProto, shapes: dict[str, tuple[int, ...]]) -> tvm.IRModule:
    """``model`` as Relax at fixed input ``shapes``: ``main(x) -> y``, weights as constants, high-level operators.

    ``model`` comes from :func:`sr_tvm.frontend.onnx_file.load_onnx`, ``shapes`` from ``resolve_inputs``. Several
    outputs make a tuple.

    Raises:
        SrTvmError: a node does not fit its inputs, or is not supported; the node is named.
    """
    graph = normalize(model, shapes)
    proto = helper.make_graph(
        graph.nodes,
        "main",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in graph.inputs.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in graph.outputs],
    )
    # TVM prints the operator that failed and warns of names it changes: our errors say what matters.
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return _Importer(graph).from_onnx(proto, CANONICAL_OPSET)
        except Exception as error:
            if interrupts.came():  # TVM gave it another name
                raise KeyboardInterrupt from error
            raise SrTvmError(f"the ONNX graph cannot be imported: {' '.join(str(error).split())[:300]}") from error
