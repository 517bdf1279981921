"""Peak memory of one engine's activations: how far a fresh process grows while it runs a loaded network.

This file is also that process, with the arguments ENGINE FOLDER. It loads the network, gives back what loading left
over, and notes its resident memory; then it runs a few times, and the kernel tells the highest mark since. Pages of
files (the code of the library, touched for the first time) are taken off, so what is left is the activations, the
output, and what the engine's allocator holds besides. The weights and the input were there before.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.engines import ALL, NO_ARENA, OURS
from benchmarks.engines.process import ask, environment_of
from sr_tvm.errors import SrTvmError
from sr_tvm.system import channel
from sr_tvm.system.child import Child
from sr_tvm.system.machine import field

RUNS = 3  # ONNX Runtime plans its memory in the first
SECONDS = 600.0
# One heap, and what is freed goes back at once: else the high mark would tell more of malloc than of the engine.
MALLOC = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
ENGINES = (OURS, "onnxruntime", NO_ARENA)


def measure(folder: Path, engine: str) -> dict[str, Any]:
    """A row for ``engine`` on a prepared folder, one thread: ``bytes``, and ours also ``planned_bytes``.

    An engine that fails has ``bytes`` None and an ``error``.
    """
    row: dict[str, Any] = {"model": folder.name, "engine": engine, "threads": 1, "bytes": None}
    environment = environment_of(1) | MALLOC
    try:
        with Child("benchmarks.engines.memory", engine, environment, (engine, str(folder)), starts=1) as child:
            return row | ask(child, {"operation": "measure"}, SECONDS)
    except SrTvmError as error:
        return row | {"error": str(error)}


def compare(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each network the better of ONNX Runtime's figures over ours: above 1, ours needs less."""
    found = []
    for model in dict.fromkeys(r["model"] for r in rows):
        here = {r["engine"]: r["bytes"] for r in rows if r["model"] == model and r["bytes"]}
        ours = here.pop(OURS, None)
        ratio = round(min(here.values()) / ours, 3) if ours and here else None
        found.append({"model": model, "onnxruntime_over_ours": ratio})
    return found


def grown(call: Any, runs: int = RUNS) -> int:
    """By how many bytes this process's anonymous memory grew, at its highest, while ``call`` ran ``runs`` times.

    Raises:
        SrTvmError: this system has no high mark that can be set back (Linux has).
    """
    gc.collect()
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)
    try:
        Path("/proc/self/clear_refs").write_text("5")  # VmHWM starts again from here
    except OSError as error:
        raise SrTvmError(f"the high mark of memory cannot be set back: {error.strerror}") from None
    before, files = _status("VmRSS"), _status("RssFile")
    for _ in range(runs):
        call()
    return max(0, _status("VmHWM") - before - max(0, _status("RssFile") - files))


def planned(folder: Path, x: np.ndarray) -> int:
    """The bytes that one run of our artifact asks TVM's virtual machine for, without the kernels' own workspaces."""
    from sr_tvm.records.artifact import Artifact
    from sr_tvm.runners import vm
    from sr_tvm.system.tvm_setup import import_tvm

    tvm = import_tvm()
    machine = vm.load(Artifact.load(folder / "artifact").library_path, tvm.cpu(0))
    vm.set_inputs(machine, [x], tvm.cpu(0))
    total = 0

    def note(_function: Any, symbol: str, before: bool, _result: Any, *args: Any) -> int:
        nonlocal total
        if before and symbol == "vm.builtin.alloc_storage":
            total += int(args[1][0])  # after the machine itself: the size, a shape of one number
        return 0  # VMInstrumentReturnKind.NO_OP

    machine.set_instrument(note)
    machine.invoke_stateful(vm.FUNCTION)
    return total


def _status(name: str) -> int:
    return int(field("/proc/self/status", name).split()[0]) * 1024


def main() -> None:
    name, folder = sys.argv[3], Path(sys.argv[4])

    def answer(_request: dict[str, Any], _arrays: list[np.ndarray]) -> channel.Answer:
        x = np.load(folder / "x.npy")
        engine = importlib.import_module(f"benchmarks.engines.{ALL[name].module}").load(name, folder, 1, x)
        value = {"bytes": grown(engine.call)}
        if name == OURS:
            value["planned_bytes"] = planned(folder, x)
        return value, []

    channel.serve(answer)


if __name__ == "__main__":
    main()
