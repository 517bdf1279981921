"""A compiled network in this process: one tile in, one enlarged tile out."""

from __future__ import annotations

import numpy as np
import tvm

from sr_tvm.artifact import Artifact
from sr_tvm.devices import local, machine, vm
from sr_tvm.devices.threads import run_with_threads
from sr_tvm.errors import SrTvmError
from sr_tvm.upscaling.model import check_shapes


class Network:
    """Loads an artifact once and runs it on many tiles, on ``threads`` cores (all of them by default).

    Raises:
        SrTvmError: the artifact does not enlarge pictures or was made for another machine, or too many threads.
    """

    def __init__(self, artifact: Artifact, threads: int | None = None) -> None:
        cores = machine.cores()
        if threads is not None and not 1 <= threads <= cores:
            raise SrTvmError(f"threads is {threads}; 1 to {cores} is possible on this machine")
        self.threads = cores if threads is None else threads
        self.artifact = artifact
        self.shape = artifact.inputs[0].shape
        check_shapes(artifact.folder, self.shape, artifact.outputs[0].shape)
        self.channels, self.scale = self.shape[1], artifact.outputs[0].shape[2] // self.shape[2]
        local.check_runs_here(artifact)
        try:
            self._machine = run_with_threads(self.threads, lambda: vm.load(artifact.library_path))
        except (RuntimeError, ValueError, AttributeError, tvm.error.InternalError) as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise SrTvmError(f"{artifact.library_path}: cannot be loaded: {lines[-1][:200]}") from error

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """float32 (C, H, W) of the tile's shape to float32 (C, scale H, scale W).

        Raises:
            SrTvmError: the network's output is not finite.
        """
        value = np.ascontiguousarray(x[None], np.float32)
        if value.shape != self.shape:
            raise ValueError(f"a tile of shape {value.shape} for a network of {self.shape}")
        y = run_with_threads(self.threads, lambda: self._run(value))
        if not np.isfinite(y).all():
            raise SrTvmError(f"{self.artifact.model}: gives NaN or infinite pixels; its weights are damaged")
        return y[0]

    def _run(self, value: np.ndarray) -> np.ndarray:
        vm.set_inputs(self._machine, [value], tvm.cpu(0))
        self._machine.invoke_stateful(vm.FUNCTION)
        return vm.outputs(self._machine)[0]
