"""The process of one engine: loads the network, compares it with PyTorch, then runs it once for every request.

Its arguments are ENGINE FOLDER THREADS, see :mod:`benchmarks.engines.process`; FOLDER is what
:func:`benchmarks.models.prepare` wrote.
"""

from __future__ import annotations

import importlib
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.engines import ALL
from sr_tvm.system import channel

WARM_BELOW = 100.0  # ms: a run shorter than this gets an untimed one before it, since the other engines had the caches


class EngineWorker:
    """Serves "load" and "time"."""

    def __init__(self, name: str, folder: Path, threads: int) -> None:
        self.name, self.folder, self.threads = name, folder, threads
        self.last = 0.0

    def handle(self, request: dict[str, Any], _arrays: list[np.ndarray]) -> channel.Answer:
        return (self.load() if request["operation"] == "load" else self.time()), []

    def load(self) -> dict[str, Any]:
        x, reference = np.load(self.folder / "x.npy"), np.load(self.folder / "y.npy")
        module = importlib.import_module(f"benchmarks.engines.{ALL[self.name].module}")
        self.engine = module.load(self.name, self.folder, self.threads, x)
        for _ in range(2):
            y = np.array(self.engine.output(self.engine.call()), dtype=np.float64).reshape(reference.shape)
        if not np.isfinite(y).all():
            raise ValueError("the output holds NaN or infinity")
        return {"max_abs_err": float(np.abs(y - reference).max()), "peak": float(np.abs(reference).max())}

    def time(self) -> dict[str, Any]:
        if self.last < WARM_BELOW:
            self.engine.call()
        start = time.perf_counter()
        self.engine.call()
        self.last = (time.perf_counter() - start) * 1e3
        return {"ms": self.last}


def main() -> None:
    name, folder, threads = sys.argv[3:]
    channel.serve(EngineWorker(name, Path(folder), int(threads)).handle)


if __name__ == "__main__":
    main()
