"""A compiled network in this process: one tile in, one enlarged tile out."""

from __future__ import annotations

import numpy as np

from sr_tvm.errors import SrTvmError
from sr_tvm.records.artifact import Artifact
from sr_tvm.runners.local import LocalRunner
from sr_tvm.system import machine
from sr_tvm.upscaling.model import channels_and_scale, example_shapes


class Network:
    """Loads an artifact once and runs it on many tiles, on ``threads`` cores (all of them by default).

    Raises:
        SrTvmError: the artifact does not enlarge pictures or was made for another machine, or too many threads.
    """

    def __init__(self, artifact: Artifact, threads: int | None = None) -> None:
        self._device = LocalRunner(machine.cores() if threads is None else threads)
        self.threads = self._device.threads
        self.artifact = artifact
        self.channels, self.scale = channels_and_scale(artifact.folder, *example_shapes(artifact))
        self._device.load(artifact)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """float32 (C, H, W) of the tile's shape, or of any that the artifact takes, to float32 (C, scale H, scale W).

        Raises:
            SrTvmError: the tile is of another shape, the run failed, or the network's output is not finite.
        """
        (y,) = self._device.run(self.artifact, [np.asarray(x[None], np.float32)])
        if not np.isfinite(y).all():
            raise SrTvmError(f"{self.artifact.model}: gives NaN or infinite pixels; its weights are damaged")
        return y[0]
