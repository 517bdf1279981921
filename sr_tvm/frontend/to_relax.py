"""ONNX to Relax: normalise the graph, then TVM's importer with a few converters of our own."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Mapping
from typing import Any

import onnx
import tvm
from onnx import TensorProto, helper
from tvm import relax, tirx
from tvm.relax.frontend.onnx.onnx_frontend import ONNXGraphImporter

from sr_tvm.errors import SrTvmError
from sr_tvm.frontend.any_size import normalize_any_size
from sr_tvm.frontend.converters import CONVERTERS
from sr_tvm.frontend.graph import OnnxGraph
from sr_tvm.frontend.input_shapes import Dim, is_open
from sr_tvm.frontend.normalize import normalize
from sr_tvm.frontend.operators import CANONICAL_OPSET
from sr_tvm.system import interrupts


class _Importer(ONNXGraphImporter):
    """TVM's importer over a normalised graph: constants come as arrays, some converters are ours."""

    def __init__(self, graph: OnnxGraph) -> None:
        sizes = {d: tirx.Var(d, "int64") for shape in graph.inputs.values() for d in shape if isinstance(d, str)}
        super().__init__(
            {n: [sizes[d] if isinstance(d, str) else d for d in shape] for n, shape in graph.inputs.items()}, "float32"
        )
        self._graph = graph

    def _parse_graph_initializers(self, graph: onnx.GraphProto) -> None:
        for name, value in self._graph.constants.items():
            self._nodes[name] = relax.const(value)

    def _convert_operator(self, op_name: str, inputs: list, attrs: dict[str, Any], opset: int) -> relax.Expr:
        converter = CONVERTERS.get(op_name)
        if converter is None:
            return super()._convert_operator(op_name, inputs, attrs, opset)
        return self.bb.normalize(converter(self.bb, list(inputs), attrs))


def import_onnx(model: onnx.ModelProto, shapes: Mapping[str, tuple[Dim, ...]]) -> tvm.IRModule:
    """Import a model into Relax: ``main(x) -> y``, weights as constants, high-level operators.

    Args:
        model: From :func:`sr_tvm.frontend.onnx_file.load_onnx`.
        shapes: From ``resolve_inputs`` or ``resolve_open``: a dimension that is a name becomes a variable of that name.

    Returns:
        The module; several outputs of the model make one tuple.

    Raises:
        SrTvmError: A node does not fit its inputs, is not supported, or not for any size; the node is named.
    """
    fixed = {name: tuple(d for d in shape if isinstance(d, int)) for name, shape in shapes.items()}
    return import_graph(normalize_any_size(model, dict(shapes)) if is_open(shapes) else normalize(model, fixed))


def import_graph(graph: OnnxGraph) -> tvm.IRModule:
    """Import a graph that is normalised already into Relax, as :func:`import_onnx`.

    Args:
        graph: It stays as it is.

    Returns:
        The module; several outputs of the graph make one tuple.

    Raises:
        SrTvmError: TVM's importer fails; the message has its reason.
        KeyboardInterrupt: The user interrupted, which TVM had given another name.
    """
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
