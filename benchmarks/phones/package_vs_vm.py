"""The C library and TVM's virtual machine in one process, by turns, in CPU time of the one thread that both use.

``python -m benchmarks.phones.package_vs_vm FOLDER PAIRS`` is that process. Wall time on a shared machine differs by
more than the two do; the time that other processes take is not in CPU time.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.engines import PACKAGE, library
from benchmarks.engines import package as packaged
from sr_tvm.errors import SrTvmError, one_line
from sr_tvm.records.artifact import Artifact

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 1800.0
WARM_UP = 2


def compare(folder: Path, pairs: int) -> dict[str, Any]:
    """Run both ``pairs`` times; the medians in ms, and the median of the pairs' ratios, VM over library.

    Raises:
        SrTvmError: the process failed or hung.
    """
    environment = {**os.environ, "TVM_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "benchmarks.phones.package_vs_vm", str(folder), str(pairs)]
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=SECONDS, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        raise SrTvmError(f"no answer within {SECONDS:g} s") from None
    if done.returncode:
        raise SrTvmError(one_line(done.stderr) or f"exit code {done.returncode}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    folder, pairs = Path(sys.argv[1]), int(sys.argv[2])
    x = np.load(folder / "x.npy")
    vm = library.run(Artifact.load(folder / "artifact").library_path, 1, x)
    ours = packaged.load(PACKAGE, folder, 1, x)
    samples: dict[str, list[float]] = {"vm": [], "package": []}
    for i in range(-WARM_UP, pairs):
        turns = [("vm", vm), ("package", ours)]
        for name, engine in turns if i % 2 else reversed(turns):
            start = time.thread_time()
            engine.call()
            if i >= 0:
                samples[name].append((time.thread_time() - start) * 1e3)
    ratios = [a / b for a, b in zip(samples["vm"], samples["package"], strict=True)]
    low, middle, high = (round(float(q), 4) for q in np.quantile(ratios, (0.25, 0.5, 0.75)))
    times = {f"{name}_cpu_ms": round(statistics.median(values), 3) for name, values in samples.items()}
    print(json.dumps({**times, "vs_vm": middle, "vs_vm_low": low, "vs_vm_high": high, "pairs": pairs}))


if __name__ == "__main__":
    main()
