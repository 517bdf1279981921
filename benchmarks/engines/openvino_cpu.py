"""OpenVINO on its CPU plugin, in f32: its default on newer processors is a shorter type."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import openvino

from benchmarks.engines import Loaded


def load(name: str, folder: Path, threads: int, x: np.ndarray) -> Loaded:
    core = openvino.Core()
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,
        "INFERENCE_PRECISION_HINT": "f32",
    }
    compiled = core.compile_model(core.read_model(folder / "model.onnx"), "CPU", settings)
    request = compiled.create_infer_request()
    request.set_input_tensor(openvino.Tensor(x))

    def call() -> Any:
        request.infer()

    return Loaded(call, lambda _: request.get_output_tensor().data)
