"""What a build reads off the model file itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sr_tvm.build.options import ModelFacts
from sr_tvm.errors import SrTvmError

ARCHITECTURE_KEY = "sr_tvm.architecture"


def facts_of(model: Any, path: str | Path) -> ModelFacts:
    """Read what an artifact tells of an ONNX model that was loaded from ``path``.

    Raises:
        SrTvmError: its metadata of an architecture is damaged.
    """
    from sr_tvm.frontend.onnx_file import model_sha256

    names = tuple(value.name for value in model.graph.output)
    digest = model_sha256(path, model)
    return ModelFacts(Path(path).name, digest, names, _architecture(model, path), _halo(model))


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


def _halo(model: Any) -> int | None:
    from sr_tvm.frontend.receptive_field import receptive_field

    try:
        return receptive_field(model).halo
    except SrTvmError:  # a classifier, say: it compiles, but no picture can go through it in tiles
        return None
