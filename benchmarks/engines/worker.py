"""The process of one engine: loads the network, compares it with PyTorch, then runs it once for every line it reads.

``python -m benchmarks.engines.worker ENGINE FOLDER THREADS``; FOLDER is what :func:`benchmarks.models.prepare` wrote.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.engines import ALL

WARM_BELOW = 100.0  # ms: a run shorter than this gets an untimed one before it, since the other engines had the caches


def main() -> None:
    name, folder, threads = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    # Engines print as they like; only our lines go to the real standard output.
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def say(value: dict[str, Any]) -> None:
        out.write(json.dumps(value) + "\n")

    try:
        x, reference = np.load(folder / "x.npy"), np.load(folder / "y.npy")
        engine = importlib.import_module(f"benchmarks.engines.{ALL[name].module}").load(name, folder, threads, x)
        for _ in range(2):
            y = np.array(engine.output(engine.call()), dtype=np.float64).reshape(reference.shape)
        if not np.isfinite(y).all():
            raise ValueError("the output holds NaN or infinity")
        error = float(np.abs(y - reference).max())
    except BaseException as failure:
        reason = " ".join(str(failure).split()) or type(failure).__name__
        say({"error": f"{type(failure).__name__}: {reason}"[:400]})
        raise
    say({"max_abs_err": error, "peak": float(np.abs(reference).max())})
    last = 0.0
    for _ in sys.stdin:
        if last < WARM_BELOW:
            engine.call()
        start = time.perf_counter()
        engine.call()
        last = (time.perf_counter() - start) * 1e3
        say({"ms": last})


if __name__ == "__main__":
    main()
