"""A model as it is read and analysed once: whoever compiles, tunes or runs it is given this, not the file's name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import onnx

from sr_tvm.frontend import input_shapes
from sr_tvm.frontend.any_size import normalize_any_size
from sr_tvm.frontend.graph import OnnxGraph
from sr_tvm.frontend.input_shapes import Dim, OpenShapes, Shapes, is_open
from sr_tvm.frontend.normalize import normalize, weights_of
from sr_tvm.frontend.onnx_file import check, parse, whole_sha256
from sr_tvm.frontend.receptive_field import Field, receptive_field
from sr_tvm.quantize.qdq_read import has_quantized


@dataclass(frozen=True, eq=False)
class OnnxModel:
    """An ONNX file that was read by :func:`read_model`.

    What is found out about it is kept here, and found out when it is first asked for. Nothing may change ``proto`` or a
    graph.

    Attributes:
        path: The file, for messages; it is not read again.
        proto: What it holds; checked, self-contained, and of float32, unless the model is ``quantized``.
        sha256: Tells the model from every other: see :func:`~sr_tvm.frontend.onnx_file.model_sha256`.
        quantized: Whether its operators are quantised: ``proto`` is then as it was parsed, and the methods refuse it.
    """

    path: Path
    proto: onnx.ModelProto
    sha256: str
    quantized: bool = False
    _graphs: dict[tuple[tuple[str, tuple[Dim, ...]], ...], OnnxGraph] = field(default_factory=dict, repr=False)

    def inputs(self) -> list[onnx.ValueInfoProto]:
        """List the model's inputs, without weights that are listed as such.

        Returns:
            ONNX's descriptions of them, in order.
        """
        weights = {t.name for t in self.proto.graph.initializer}
        return [v for v in self.proto.graph.input if v.name not in weights]

    def shapes(self, given: Mapping[str, tuple[Dim, ...]] | None = None) -> Shapes:
        """Find the fixed shape of every input, as :func:`~sr_tvm.frontend.input_shapes.resolve_inputs`.

        Args:
            given: Shapes that the user gives, by the names of inputs ("" for the only one).

        Returns:
            The shapes by name.

        Raises:
            SrTvmError: The shapes do not fit the model or stay unknown, or the model is quantised.
        """
        return input_shapes.resolve_inputs(self.require_float(), given)

    def open_shapes(self, given: Mapping[str, tuple[Dim, ...]] | None = None) -> OpenShapes:
        """Find the shape of every input, as :func:`~sr_tvm.frontend.input_shapes.resolve_open`.

        Args:
            given: Shapes that the user gives, by the names of inputs ("" for the only one).

        Returns:
            The shapes by name; dimensions that nobody fixes are names.

        Raises:
            SrTvmError: The shapes do not fit the model, or the model is quantised.
        """
        return input_shapes.resolve_open(self.require_float(), given)

    def graph(self, shapes: Mapping[str, tuple[Dim, ...]]) -> OnnxGraph:
        """Normalise the model at shapes of its inputs, once for each.

        Args:
            shapes: Of all inputs: one of :meth:`shapes` or :meth:`open_shapes`.

        Returns:
            The graph, which others share and nobody may change.

        Raises:
            SrTvmError: The graph is not supported, or not for any size, or the model is quantised.
        """
        model, key = self.require_float(), tuple(sorted(shapes.items()))
        if key not in self._graphs:
            if is_open(shapes):
                self._graphs[key] = normalize_any_size(model, dict(shapes), self.graph)
            else:
                fixed = {name: tuple(d for d in shape if isinstance(d, int)) for name, shape in shapes.items()}
                self._graphs[key] = normalize(model, fixed, self._weights)
        return self._graphs[key]

    @cached_property
    def field(self) -> Field:
        """Halo and scale, as :func:`~sr_tvm.frontend.receptive_field.receptive_field`.

        Raises:
            SrTvmError: the network cannot be tiled.
        """
        return receptive_field(self.require_float(), self.graph)

    @cached_property
    def _weights(self) -> dict[str, np.ndarray]:
        return weights_of(self.proto)

    def require_float(self) -> onnx.ModelProto:
        """Return ``proto`` where the model is of float32.

        Returns:
            The checked model.

        Raises:
            SrTvmError: The model is quantised; an operator is named.
        """
        return check(self.proto, self.path) if self.quantized else self.proto


def read_model(path: str | Path) -> OnnxModel:
    """Read an ONNX file and check it, as :func:`~sr_tvm.frontend.onnx_file.load_onnx`; a quantised one is only parsed.

    Args:
        path: Of the file, which may come from anyone.

    Returns:
        The model, which has what is asked of it worked out once.

    Raises:
        SrTvmError: Whatever ``load_onnx`` refuses, but quantised operators.
    """
    path = Path(path)
    proto, digest = parse(path)
    if has_quantized(proto):
        return OnnxModel(path, proto, digest, quantized=True)
    model = check(proto, path)
    return OnnxModel(path, model, whole_sha256(digest, model))


def as_model(model: OnnxModel | str | Path) -> OnnxModel:
    """Read a model unless that was done before.

    Args:
        model: The model, or the path of its file.

    Returns:
        ``model`` itself where it is one.

    Raises:
        SrTvmError: The file cannot be read; see :func:`read_model`.
    """
    return model if isinstance(model, OnnxModel) else read_model(model)
