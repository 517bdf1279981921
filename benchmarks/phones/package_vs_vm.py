"""The C library and TVM's virtual machine in one process, by turns, in CPU time of the one thread that both use.

This file is also that process, with the arguments FOLDER PAIRS. Wall time on a shared machine differs by more than
the two do; the time that other processes take is not in CPU time.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.engines import PACKAGE, library
from benchmarks.engines import package as packaged
from benchmarks.engines.process import ask, environment_of
from sr_tvm.records.artifact import Artifact
from sr_tvm.system import channel
from sr_tvm.system.child import Child

SECONDS = 1800.0
WARM_UP = 2


def compare(folder: Path, pairs: int) -> dict[str, Any]:
    """Run both ``pairs`` times; the medians in ms, and the median of the pairs' ratios, VM over library.

    Raises:
        SrTvmError: the process failed or hung.
    """
    arguments, what = (str(folder), str(pairs)), "library against VM"
    with Child("benchmarks.phones.package_vs_vm", what, environment_of(1), arguments, starts=1) as child:
        return ask(child, {"operation": "compare"}, SECONDS)


def by_turns(folder: Path, pairs: int) -> dict[str, Any]:
    """What :func:`compare` gives, measured in this process."""
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
    return {**times, "vs_vm": middle, "vs_vm_low": low, "vs_vm_high": high, "pairs": pairs}


def main() -> None:
    folder, pairs = Path(sys.argv[3]), int(sys.argv[4])
    channel.serve(lambda request, arrays: (by_turns(folder, pairs), []))


if __name__ == "__main__":
    main()
