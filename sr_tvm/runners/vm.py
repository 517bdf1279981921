"""The few steps that drive TVM's Relax virtual machine: the same ones here, in a server and over RPC."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tvm
from tvm import relax

from sr_tvm.runtimes.opencl import backend
from sr_tvm.system.tvm_setup import import_tvm

import_tvm()
FUNCTION = "main"
# Bookkeeping of the virtual machine (allocation, shape checks), reported as one line.
BUILTIN = "vm.builtin."
OVERHEAD = "(virtual machine)"


def open_device(kind: str) -> Any:
    """Open TVM's device of this process for modules of a kind.

    Args:
        kind: "opencl" for the first OpenCL device; else the CPU is taken.

    Returns:
        TVM's device.

    Raises:
        SrTvmError: There is none, with what to install.
    """
    return backend.device() if kind == backend.KIND else tvm.cpu(0)


def load(path: str | Path, device: Any) -> relax.VirtualMachine:
    """Load a library into a virtual machine of this process.

    Args:
        path: The library of an artifact.
        device: TVM's device that it runs on.

    Returns:
        The virtual machine.
    """
    return relax.VirtualMachine(tvm.runtime.load_module(str(path)), device)


def set_inputs(machine: relax.VirtualMachine, inputs: Sequence[np.ndarray], device: Any) -> None:
    """Copy the inputs of the next calls to the device.

    Args:
        machine: The virtual machine of an artifact.
        inputs: In the artifact's order, of its shapes and types.
        device: TVM's device that the machine runs on.
    """
    machine.set_input(FUNCTION, *(tvm.runtime.tensor(value, device) for value in inputs))


def outputs(machine: relax.VirtualMachine) -> list[np.ndarray]:
    """Read the results of the last call. Indexing the result itself fails over RPC; this does not.

    Args:
        machine: The virtual machine of an artifact.

    Returns:
        The results on this machine, a tuple flattened.
    """
    result = machine.get_outputs(FUNCTION)
    flat = []

    def walk(value: Any) -> None:
        if isinstance(value, tuple):
            for item in value:
                walk(item)
        else:
            flat.append(value.numpy())

    walk(result)
    return flat


def per_kernel(machine: relax.VirtualMachine, repeats: int, threads: int, device: Any) -> list[dict[str, Any]]:
    """Time each kernel in one inference; inputs must be set.

    Timed around every call of the virtual machine, so each includes a few microseconds of the clock. Thread CPU time
    with one thread, wall time with more, and on another device than the CPU, which is waited for after every call.

    Args:
        machine: The virtual machine of an artifact, in this process.
        repeats: Inferences to time, after one that is not counted.
        threads: That its kernels use.
        device: TVM's device that it runs on.

    Returns:
        Rows {"kernel": name, "ms": median total per inference, "calls": calls per inference}, slowest first.
    """
    on_cpu = device.dlpack_device_type() == tvm.cpu().dlpack_device_type()
    clock = time.thread_time_ns if threads == 1 and on_cpu else time.perf_counter_ns
    spent: dict[str, int] = defaultdict(int)
    calls: dict[str, int] = defaultdict(int)

    def instrument(_function: Any, symbol: str, before: bool, _result: Any, *_args: Any) -> int:
        name = OVERHEAD if symbol.startswith(BUILTIN) else symbol
        if before:
            calls[name] += 1
            spent[name] -= clock()
        else:
            if not on_cpu:
                device.sync()
            spent[name] += clock()
        return 0  # VMInstrumentReturnKind.NO_OP

    machine.invoke_stateful(FUNCTION)
    machine.set_instrument(instrument)
    totals: dict[str, list[float]] = defaultdict(list)
    try:
        for _ in range(repeats):
            spent.clear()
            calls.clear()
            machine.invoke_stateful(FUNCTION)
            for name, nanoseconds in spent.items():
                totals[name].append(nanoseconds / 1e6)
    finally:
        machine.set_instrument(None)
    rows = [{"kernel": name, "ms": statistics.median(ms), "calls": calls[name]} for name, ms in totals.items()]
    return sorted(rows, key=lambda row: -row["ms"])
