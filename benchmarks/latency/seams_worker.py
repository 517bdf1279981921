"""One side of the seams benchmark: compiles a network, writes its output, then runs it once for every line it reads.

``PYTHON -P seams_worker.py SIDE FOLDER OUT`` with PYTHONPATH at the checkout of SIDE, ``before`` or ``now``; FOLDER is
what :func:`benchmarks.models.prepare` wrote. Only this file and NumPy are the same on both sides, so it imports nothing
else of ours than the compiler.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

BEFORE, NOW = "before", "now"
WARM_BELOW = 100.0  # ms: a run shorter than this gets an untimed one before it, since the other side had the caches


def compiler(side: str) -> Any:
    """Import ``compile_model`` from where that side has it."""
    if side == BEFORE:
        from sr_tvm.compiler import compile_model
    else:
        from sr_tvm.build.compiler import compile_model
    return compile_model


def spent() -> float:
    """CPU seconds of this process, all its threads, and of the children it has waited for (the linker)."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def main() -> None:
    """Answer in lines of JSON: what the build took, then the milliseconds of each run."""
    side, folder, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    # TVM and the linker print as they like; only our lines go to the real standard output.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def say(value: dict[str, Any]) -> None:
        answers.write(json.dumps(value) + "\n")

    # TVM imports PyTorch where there is one, and only the environment of one side has it.
    sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        import tvm
        from tvm import relax

        # Our own imports count: else one that moves to the top of a module would make the build faster.
        start = spent()
        artifact = compiler(side)(folder / "model.onnx", "cpu", out / "artifact")
        build = spent() - start
        import sr_tvm

        if (threads := int(tvm.runtime.num_threads())) != 1:
            raise RuntimeError(f"one thread was asked for; TVM uses {threads}")
        # The virtual machine itself, and not a runner of ours: the clock is then the same on both sides.
        machine = relax.VirtualMachine(tvm.runtime.load_module(str(artifact.library_path)), tvm.cpu(0))
        machine.set_input("main", tvm.runtime.tensor(np.load(folder / "x.npy"), tvm.cpu(0)))
        for _ in range(2):
            machine.invoke_stateful("main")
        y = machine.get_outputs("main")
        np.save(out / "y.npy", (y if hasattr(y, "numpy") else y[0]).numpy())
    except BaseException as failure:
        reason = " ".join(str(failure).split()) or type(failure).__name__
        say({"error": f"{type(failure).__name__}: {reason}"[:400]})
        raise
    versions = {"python": sys.version.split()[0], "tvm": tvm.__version__, "numpy": np.__version__}
    package = str(Path(sr_tvm.__file__).resolve().parent)
    say({"build_s": build, "library": artifact.library_sha256, "package": package, "versions": versions})
    last = 0.0
    for _ in sys.stdin:
        if last < WARM_BELOW:
            machine.invoke_stateful("main")
        start = time.thread_time()
        machine.invoke_stateful("main")
        last = (time.thread_time() - start) * 1e3
        say({"ms": last})


if __name__ == "__main__":
    main()
