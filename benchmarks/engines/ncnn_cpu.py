"""ncnn, in its own format: pnnx writes it from TorchScript, since ncnn's ONNX reader is retired."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import ncnn
import numpy as np

from benchmarks.engines import Loaded


def _convert(folder: Path, shape: tuple[int, ...]) -> None:
    if (folder / "model.ncnn.param").is_file():
        return
    import torch

    from benchmarks import models

    traced = torch.jit.trace(models.module(folder), torch.zeros(shape))
    traced.save(str(folder / "model.pt"))
    tool = Path(sys.executable).with_name("pnnx")
    command = [str(tool), "model.pt", f"inputshape=[{','.join(map(str, shape))}]f32", "fp16=0"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode or not (folder / "model.ncnn.param").is_file():
        lines = (done.stdout + done.stderr).strip().splitlines() or ["no message"]
        raise RuntimeError(f"pnnx failed: {lines[-1]}")


def load(name: str, folder: Path, threads: int, x: np.ndarray) -> Loaded:
    _convert(folder, x.shape)
    network = ncnn.Net()
    network.opt.num_threads = threads
    network.opt.use_vulkan_compute = False
    for option in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage"):
        setattr(network.opt, option, False)
    if network.load_param(str(folder / "model.ncnn.param")) or network.load_model(str(folder / "model.ncnn.bin")):
        raise RuntimeError("ncnn cannot read what pnnx wrote")
    held = ncnn.Mat(x[0]).clone()

    def call() -> Any:
        with network.create_extractor() as extractor:
            extractor.input("in0", held)
            failed, y = extractor.extract("out0")
        if failed:
            raise RuntimeError(f"ncnn's extract failed with {failed}")
        return y

    return Loaded(call, lambda y: np.array(y))
