"""Ours: the artifact for this machine's processor."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from benchmarks.engines import Loaded, library
from sr_tvm.artifact import MANIFEST, Artifact


def load(name: str, folder: Path, threads: int, x: np.ndarray) -> Loaded:
    if (folder / "artifact" / MANIFEST).is_file():
        artifact = Artifact.load(folder / "artifact")
    else:
        from sr_tvm.compiler import compile_model

        database = json.loads((folder / "model.json").read_text())["database"]
        artifact = compile_model(folder / "model.onnx", "cpu", folder / "artifact", database_dir=database)
    return library.run(artifact.library_path, threads, x)
