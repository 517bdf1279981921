"""PyTorch, eager and compiled. torch.compile needs a C++ compiler: ``make system-deps``."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import models
from benchmarks.engines import Loaded


def load(name: str, folder: Path, threads: int, x: np.ndarray) -> Loaded:
    torch.set_num_threads(threads)
    module: Any = models.module(folder).to(memory_format=torch.channels_last)
    value = torch.from_numpy(x).contiguous(memory_format=torch.channels_last)
    if name == "torch.compile":
        if not (shutil.which("g++") or shutil.which("clang++")):
            raise RuntimeError("torch.compile needs a C++ compiler; 'make system-deps' installs g++")
        import torch._inductor.config as inductor

        inductor.freezing = True
        module = torch.compile(module)

    def call() -> Any:
        with torch.no_grad():
            return module(value)

    return Loaded(call, lambda y: y.numpy())
