"""What a build reads off the model file itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sr_tvm.build.options import Example, ModelFacts
from sr_tvm.errors import SrTvmError

if TYPE_CHECKING:
    from sr_tvm.frontend.model import OnnxModel

# Of the example: even the row pairs and column blocks of our kernels, and what is left over beside them.
EXAMPLE_SIZE = (21, 37)
EXAMPLE_BYTES = 8 << 20  # of a model: a large one would take the reference minutes
ARCHITECTURE_KEY = "sr_tvm.architecture"


def facts_of(model: OnnxModel) -> ModelFacts:
    """Gather what an artifact tells of an ONNX model.

    Args:
        model: The model, as it was read.

    Returns:
        Its name, digest, outputs, architecture and halo, and an example of a small one.

    Raises:
        SrTvmError: Its metadata of an architecture is damaged.
    """
    names = tuple(value.name for value in model.proto.graph.output)
    architecture = _architecture(model.proto, model.path)
    return ModelFacts(model.path.name, model.sha256, names, architecture, _halo(model), _example(model))


def _example(model: OnnxModel) -> Example | None:
    """Return an example computed by ONNX's own reference, plain numpy; None of a large or another kind of network."""
    inputs, proto = model.inputs(), model.proto
    if len(inputs) != 1 or len(proto.graph.output) != 1 or proto.ByteSize() > EXAMPLE_BYTES:
        return None
    dims = [d.dim_value for d in inputs[0].type.tensor_type.shape.dim]
    if len(dims) != 4 or dims[1] not in (1, 3) or any(dims[2:]):
        return None  # of one size, which may be large
    given = np.random.default_rng(0).random((1, dims[1], *EXAMPLE_SIZE), dtype=np.float32)
    try:
        from onnx.reference import ReferenceEvaluator

        (wanted,) = ReferenceEvaluator(proto).run(None, {inputs[0].name: given})
    except Exception:  # an operator, or a form of one, that it lacks: then there is no example
        return None
    return Example(given, np.ascontiguousarray(wanted, np.float32)) if np.isfinite(wanted).all() else None


def _architecture(model: Any, path: str | Path) -> dict[str, Any] | None:
    for entry in model.metadata_props:
        if entry.key == ARCHITECTURE_KEY:
            try:
                value = json.loads(entry.value)
            except (ValueError, RecursionError):
                value = None
            if not isinstance(value, dict):
                raise SrTvmError(f"{path}: its metadata {ARCHITECTURE_KEY} is not a JSON object; export it again")
            return value
    return None


def _halo(model: OnnxModel) -> int | None:
    try:
        return model.field.halo
    except SrTvmError:  # a classifier, say: it compiles, but no picture can go through it in tiles
        return None
