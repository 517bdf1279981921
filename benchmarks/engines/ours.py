"""Ours: the artifact for this machine's processor."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np

from benchmarks.engines import Loaded, library
from sr_tvm.records.artifact import MANIFEST, Artifact

BUILD = "build.json"  # beside the artifact: how long it took


def load(name: str, folder: Path, threads: int, x: np.ndarray) -> Loaded:
    if (folder / "artifact" / MANIFEST).is_file():
        artifact = Artifact.load(folder / "artifact")
    else:
        from sr_tvm.build.compiler import compile_model
        from sr_tvm.build.options import CompileOptions
        from sr_tvm.system.tvm_setup import import_tvm

        import_tvm()
        database, start = json.loads((folder / "model.json").read_text())["database"], time.perf_counter()
        artifact = compile_model(folder / "model.onnx", "cpu", folder / "artifact", options=CompileOptions(database))
        (folder / BUILD).write_text(json.dumps({"build_s": round(time.perf_counter() - start, 2)}))
    return library.run(artifact.library_path, threads, x)
