"""A compiled network in this process: one tile in, one enlarged tile out."""

from __future__ import annotations

import numpy as np

from sr_tvm.errors import SrTvmError
from sr_tvm.records.artifact import Artifact
from sr_tvm.runners.local import LocalRunner
from sr_tvm.system import machine
from sr_tvm.upscaling.model import channels_and_scale, example_shapes


class Network:
    """An artifact that was loaded once to run on many tiles, on ``threads`` cores (all of them by default).

    ``channels`` is 1 (luma) or 3 (RGB), ``scale`` the factor.

    Raises:
        SrTvmError: The artifact does not enlarge pictures or was made for another machine, or too many threads.
    """

    def __init__(self, artifact: Artifact, threads: int | None = None) -> None:
        self._device = LocalRunner(machine.cores() if threads is None else threads)
        self.threads = self._device.threads
        self.artifact = artifact
        self.channels, self.scale = channels_and_scale(artifact.folder, *example_shapes(artifact))
        self._device.load(artifact)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Run the network on one tile.

        Args:
            x: float32 (C, H, W) in 0..1, of the artifact's shape or of any that it takes.

        Returns:
            float32 (C, scale H, scale W), finite and not clipped.

        Raises:
            SrTvmError: The tile is of another shape, the run failed, or the network's output is not finite.
        """
        (y,) = self._device.run(self.artifact, [np.asarray(x[None], np.float32)])
        if not np.isfinite(y).all():
            raise SrTvmError(f"{self.artifact.model}: gives NaN or infinite pixels; its weights are damaged")
        return y[0]
