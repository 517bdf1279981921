"""MNN, from its own converter."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import MNN
import numpy as np

from benchmarks.engines import Loaded


def _convert(folder: Path) -> Path:
    made = folder / "model.mnn"
    if not made.is_file():
        tool = Path(sys.executable).with_name("mnnconvert")
        command = [str(tool), "-f", "ONNX", "--modelFile", str(folder / "model.onnx"), "--MNNModel", str(made)]
        done = subprocess.run([*command, "--bizCode", "sr"], capture_output=True, text=True, check=False)
        if done.returncode or not made.is_file():
            lines = (done.stdout + done.stderr).strip().splitlines() or ["no message"]
            raise RuntimeError(f"mnnconvert failed: {lines[-1]}")
    return made


def load(name: str, folder: Path, threads: int, x: np.ndarray) -> Loaded:
    expr: Any = MNN.expr
    settings = {"backend": "CPU", "precision": "high", "numThread": threads}
    runtime = MNN.nn.create_runtime_manager((settings,))
    network = MNN.nn.load_module_from_file(str(_convert(folder)), ["x"], ["y"], runtime_manager=runtime)
    held = expr.placeholder(list(x.shape), expr.NCHW)

    def call() -> Any:
        held.write(x)  # marks the input as new: MNN would otherwise give the last result again
        y = network.forward([held])[0]
        if y.data_format == expr.NC4HW4:
            y = expr.convert(y, expr.NCHW)
        return y.read()  # MNN is lazy: reading is what runs the network

    return Loaded(call, lambda y: y)
