"""One side of the seams benchmark: compiles a network, writes its output, then runs it once for every request.

Its arguments are SIDE FOLDER OUT CHANNEL, with PYTHONPATH at the checkout of SIDE, ``before`` or ``now``; FOLDER is
what :func:`benchmarks.models.prepare` wrote. Only this file, NumPy and the file CHANNEL, of the side ``now``, are the
same on both sides, so it imports nothing else of ours than the compiler.
"""

from __future__ import annotations

import importlib.util
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


class SeamsWorker:
    """Serves "load", which compiles and runs the network, and "time"."""

    def __init__(self, side: str, folder: Path, out: Path) -> None:
        self.side, self.folder, self.out = side, folder, out
        self.last = 0.0

    def handle(self, request: dict[str, Any], _arrays: list[np.ndarray]) -> tuple[dict[str, Any], list[np.ndarray]]:
        return (self.load() if request["operation"] == "load" else self.time()), []

    def load(self) -> dict[str, Any]:
        import tvm
        from tvm import relax

        # Our own imports count: else one that moves to the top of a module would make the build faster.
        start = spent()
        artifact = compiler(self.side)(self.folder / "model.onnx", "cpu", self.out / "artifact")
        build = spent() - start
        import sr_tvm

        if (threads := int(tvm.runtime.num_threads())) != 1:
            raise RuntimeError(f"one thread was asked for; TVM uses {threads}")
        # The virtual machine itself, and not a runner of ours: the clock is then the same on both sides.
        self.machine = relax.VirtualMachine(tvm.runtime.load_module(str(artifact.library_path)), tvm.cpu(0))
        self.machine.set_input("main", tvm.runtime.tensor(np.load(self.folder / "x.npy"), tvm.cpu(0)))
        for _ in range(2):
            self.machine.invoke_stateful("main")
        y = self.machine.get_outputs("main")
        np.save(self.out / "y.npy", (y if hasattr(y, "numpy") else y[0]).numpy())
        versions = {"python": sys.version.split()[0], "tvm": tvm.__version__, "numpy": np.__version__}
        package = str(Path(sr_tvm.__file__).resolve().parent)
        return {"build_s": build, "library": artifact.library_sha256, "package": package, "versions": versions}

    def time(self) -> dict[str, Any]:
        if self.last < WARM_BELOW:
            self.machine.invoke_stateful("main")
        start = time.thread_time()
        self.machine.invoke_stateful("main")
        self.last = (time.thread_time() - start) * 1e3
        return {"ms": self.last}


def main() -> None:
    side, folder, out, channel = sys.argv[3:]
    # TVM imports PyTorch where there is one, and only the environment of one side has it.
    sys.modules["torch"] = None  # type: ignore[assignment]
    spec = importlib.util.spec_from_file_location("seams_channel", channel)
    assert spec is not None and spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    loaded.serve(SeamsWorker(side, Path(folder), Path(out)).handle)


if __name__ == "__main__":
    main()
