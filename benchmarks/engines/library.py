"""A Relax library on TVM's virtual machine: the folder's model.so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.engines import Loaded

FILE = "model.so"


def load(name: str, folder: Path, threads: int, x: np.ndarray) -> Loaded:
    return run(folder / FILE, threads, x)


def run(path: Path, threads: int, x: np.ndarray) -> Loaded:
    """The library at ``path`` with ``threads`` threads and its input set."""
    from sr_tvm.system.tvm_setup import import_tvm

    tvm = import_tvm()
    from sr_tvm.runners import threads as pools
    from sr_tvm.runners import vm

    got = pools.start_pool(threads)
    if got != threads:
        raise RuntimeError(f"{threads} threads were asked for; TVM uses {got}")
    machine = vm.load(path, tvm.cpu(0))
    vm.set_inputs(machine, [x], tvm.cpu(0))

    def call() -> Any:
        machine.invoke_stateful(vm.FUNCTION)

    return Loaded(call, lambda _: vm.outputs(machine)[0])
