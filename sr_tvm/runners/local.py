"""This machine's CPU, in this process."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import tvm

from sr_tvm import machine
from sr_tvm.artifact import Artifact
from sr_tvm.errors import SrTvmError, one_line
from sr_tvm.measurement import Measurement
from sr_tvm.runners import base, elf, library, threads, vm

# What TVM raises when a library can't be loaded or run.
FAILURES = (RuntimeError, ValueError, AttributeError, tvm.error.InternalError)


class LocalDevice:
    """Runs artifacts of CPU targets here.

    With one thread it measures thread CPU time, which other programs disturb far less than wall time; with more
    threads, wall time.

    Raises:
        SrTvmError: from any method, when the artifact was made for another kind of machine.
    """

    def __init__(self, threads: int = 1) -> None:
        if not 1 <= threads <= machine.cores():
            raise SrTvmError(f"threads is {threads}; 1 to {machine.cores()} is possible on this machine")
        self.threads = threads
        self.name = machine.cpu_name()
        self._loaded: tuple[tuple[str, str], Any] | None = None
        self._stopped = False

    def load(self, artifact: Artifact) -> None:
        """Check and load ``artifact`` now, and not in its first run; it stays loaded until another one is used."""
        self._do(lambda: self._library(artifact))

    def run(self, artifact: Artifact, inputs: list[np.ndarray]) -> list[np.ndarray]:
        values = base.check_inputs(artifact, inputs)

        def work() -> list[np.ndarray]:
            loaded = self._load(artifact, values)
            loaded.invoke_stateful(vm.FUNCTION)
            return vm.outputs(loaded)

        return self._do(work)

    def measure(self, artifact: Artifact, repeats: int = 20, seed: int = 0) -> Measurement:
        base.check_repeats(repeats)
        values = base.random_inputs(artifact, seed)
        clock, clock_name = (time.thread_time, "thread-cpu") if self.threads == 1 else (time.perf_counter, "wall")

        def work() -> tuple[list[float], int]:
            loaded = self._load(artifact, values)
            invoke = loaded.invoke_stateful
            invoke(vm.FUNCTION)  # warm up: memory is allocated in the first run
            start = clock()
            invoke(vm.FUNCTION)
            number = base.runs_per_sample((clock() - start) * 1e3)
            samples = []
            for _ in range(repeats):
                if self._stopped:
                    break
                start = clock()
                for _ in range(number):
                    invoke(vm.FUNCTION)
                samples.append((clock() - start) * 1e3 / number)
            return samples, number

        samples, number = self._do(work)
        conditions: dict[str, Any] = {
            "threads": self.threads,
            "clock": clock_name,
            "repeats": repeats,
            "runs_per_sample": number,
            "cpu": self.name,
            "method": "in process",
        }
        if machine.governor():
            conditions["governor"] = machine.governor()
        return base.measurement(self.name, artifact, samples, conditions)

    def per_operator(self, artifact: Artifact, repeats: int = 5) -> list[dict[str, Any]]:
        base.check_repeats(repeats)
        values = base.random_inputs(artifact)
        return self._do(lambda: vm.per_kernel(self._load(artifact, values), repeats, self.threads))

    def _library(self, artifact: Artifact) -> Any:
        # The last library stays loaded: tiles of a picture run one after another.
        key = (str(artifact.library_path), artifact.library_sha256)
        if self._loaded is None or self._loaded[0] != key:
            check_runs_here(artifact)
            try:
                with library.copied(artifact.library_path, artifact.library_sha256) as path:
                    self._loaded = (key, vm.load(path))
            except FAILURES as error:
                raise SrTvmError(f"{artifact.library_path}: cannot be loaded: {one_line(error)}") from error
        return self._loaded[1]

    def _load(self, artifact: Artifact, inputs: list[np.ndarray]) -> Any:
        loaded = self._library(artifact)
        vm.set_inputs(loaded, inputs, tvm.cpu(0))
        return loaded

    def _do(self, work: Callable[[], Any]) -> Any:
        self._stopped = False
        try:
            return threads.run_with_threads(self.threads, work)
        except KeyboardInterrupt:
            self._stopped = True  # else Python would wait at its exit until all repeats are done
            raise
        except FAILURES as error:
            raise SrTvmError(f"running the artifact failed: {one_line(error)}") from error


def check_runs_here(artifact: Artifact) -> None:
    """Refuse an artifact that this CPU can't run, which would otherwise end the process with an illegal instruction.

    Raises:
        SrTvmError: another kind of device, another architecture, or CPU features that are absent here.
    """
    kind = artifact.tvm_target.get("kind", "llvm")
    if kind not in ("llvm", "c"):
        raise SrTvmError(f"{artifact.folder}: made for target {artifact.target} ({kind}), which this CPU can't run")
    elf.check_machine(artifact, machine.machine(), "this machine")
    wanted = artifact.tvm_target.get("mcpu")
    if not wanted:
        return
    features = tvm.get_global_func("target.llvm_get_cpu_features")
    system = str(tvm.get_global_func("target.llvm_get_system_cpu")())
    if wanted == system:
        return
    try:
        there = {str(f) for f in features(tvm.target.Target({"kind": "llvm", "mcpu": str(wanted)}))}
        here = {str(f) for f in features(tvm.target.Target({"kind": "llvm", "mcpu": system}))}
    except (RuntimeError, ValueError):  # a name this LLVM does not know: nothing to compare
        return
    # Only vector and matrix units matter to our kernels; names like "64bit" or tuning hints are not instructions.
    missing = sorted(f for f in there - here if f.startswith(("avx", "amx", "sse", "fma", "f16c", "bmi")))
    if missing:
        raise SrTvmError(
            f"{artifact.folder}: compiled for the CPU {wanted}; this one ({system}) lacks {', '.join(missing[:5])}; "
            "compile the model again here"
        )
