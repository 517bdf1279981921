"""ONNX Runtime on its CPU provider."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime

from benchmarks.engines import NO_ARENA, Loaded


def load(name: str, folder: Path, threads: int, x: np.ndarray) -> Loaded:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = name != NO_ARENA
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
    return Loaded(lambda: session.run(None, {"x": x})[0], lambda y: y)
