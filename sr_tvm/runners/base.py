"""What every device answers: run an artifact, measure it, time its kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from sr_tvm.artifact import Artifact
from sr_tvm.errors import SrTvmError
from sr_tvm.measurement import Measurement
from sr_tvm.tensor import shape_text

# One sample should last several ms: shorter ones are mostly the noise of the clock and the scheduler.
SAMPLE_MS = 5.0
MAX_RUNS_PER_SAMPLE = 1000


class Device(Protocol):
    """A place where artifacts run. All methods raise SrTvmError when the artifact does not fit or the device fails."""

    @property
    def name(self) -> str: ...

    def run(self, artifact: Artifact, inputs: list[np.ndarray]) -> list[np.ndarray]:
        """The outputs for ``inputs``, which must have the types and shapes of ``artifact.inputs``, or any it allows."""

    def measure(self, artifact: Artifact, repeats: int = 20) -> Measurement:
        """Time the artifact on seeded random inputs; one sample per repeat.

        One that takes any size must be fixed to one: ``artifact.at(...)``. So also for :meth:`per_operator`.
        """

    def per_operator(self, artifact: Artifact, repeats: int = 5) -> list[dict[str, Any]]:
        """Time of each kernel as {"kernel": name, "ms": median total per inference, "calls": per inference}."""


def check_inputs(artifact: Artifact, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """``inputs`` as contiguous arrays.

    Raises:
        SrTvmError: their number, a shape or a type is not what the artifact was compiled for.
    """
    if len(inputs) != len(artifact.inputs):
        raise SrTvmError(f"{artifact.folder}: takes {len(artifact.inputs)} inputs, {len(inputs)} were given")
    sizes: dict[str, int] = {}
    for tensor, value in zip(artifact.inputs, inputs, strict=True):
        if not tensor.bind(value.shape, sizes) or str(value.dtype) != tensor.dtype:
            raise SrTvmError(
                f"{artifact.folder}: input {tensor.name!r} is {tensor.dtype} of shape {shape_text(tensor.shape)}; "
                f"{value.dtype} of shape {shape_text(value.shape)} was given"
            )
    return [np.ascontiguousarray(value) for value in inputs]


def random_inputs(artifact: Artifact, seed: int = 0) -> list[np.ndarray]:
    """Inputs to time with: uniform 0..1 like pictures, the same on every device.

    Raises:
        SrTvmError: the artifact takes any size and none was named.
    """
    rng = np.random.default_rng(seed)
    tensors = artifact.at({}).inputs
    return [rng.random(tensor.at({}), dtype=np.float32).astype(tensor.dtype) for tensor in tensors]


def runs_per_sample(one_ms: float) -> int:
    """How many runs make one sample of at least SAMPLE_MS."""
    return min(MAX_RUNS_PER_SAMPLE, max(1, int(np.ceil(SAMPLE_MS / max(one_ms, 1e-6)))))


def check_repeats(repeats: int) -> None:
    if not 1 <= repeats <= 100_000:
        raise SrTvmError(f"repeats is {repeats}; 1 to 100000 is allowed")


def measurement(device: str, artifact: Artifact, samples: Sequence[float], conditions: dict[str, Any]) -> Measurement:
    """The record of ``samples`` (ms) of ``artifact``, at one size, on ``device``."""
    if artifact.any_size:  # a library for one size may be faster
        conditions = {**conditions, "compiled_for": "any size"}
    return Measurement(
        device=device,
        target=artifact.target,
        model=artifact.model,
        model_sha256=artifact.model_sha256,
        input_shape=artifact.inputs[0].at({}),
        samples=tuple(samples),
        conditions={**conditions, "schedule": artifact.schedule},
        architecture=artifact.architecture,
    )
