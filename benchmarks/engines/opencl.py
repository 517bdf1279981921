"""A Relax library on this machine's OpenCL device: the folder's model.so. The device is waited for after each run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.engines import Loaded
from benchmarks.engines.library import FILE

POCL_THREADS = "POCL_MAX_PTHREAD_COUNT"


def load(name: str, folder: Path, threads: int, x: np.ndarray) -> Loaded:
    os.environ[POCL_THREADS] = str(threads)  # read when the driver is opened
    from sr_tvm.system.tvm_setup import import_tvm

    import_tvm()
    from sr_tvm.runners import vm

    device = vm.open_device("opencl")
    machine = vm.load(folder / FILE, device)
    vm.set_inputs(machine, [x], device)

    def call() -> Any:
        machine.invoke_stateful(vm.FUNCTION)
        device.sync()

    return Loaded(call, lambda _: vm.outputs(machine)[0])
