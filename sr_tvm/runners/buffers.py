"""Whether the pictures of an artifact fit into the memory of an OpenCL device, asked before anything is run."""

from __future__ import annotations

import math

import numpy as np

from sr_tvm.errors import SrTvmError
from sr_tvm.records.artifact import Artifact
from sr_tvm.records.tensor import shape_text
from sr_tvm.runtimes.opencl.backend import ClDevice


def check_buffers(artifact: Artifact, device: ClDevice) -> None:
    """Refuse an artifact at one size whose input or output is larger than a buffer of the device may be.

    What lies between kernels is refused by the runtime, when it is allocated.

    Args:
        artifact: The artifact; tensors whose size is left open are not looked at.
        device: The OpenCL device that it is to run on.

    Raises:
        SrTvmError: A tensor is too large; the message names it and says what to do.
    """
    sides = [("input", tensor) for tensor in artifact.inputs] + [("output", tensor) for tensor in artifact.outputs]
    for side, tensor in sides:
        if tensor.names:
            continue
        shape = tensor.at({})
        needed = math.prod(shape) * np.dtype(tensor.dtype).itemsize
        if device.max_buffer_bytes and needed > device.max_buffer_bytes:
            raise SrTvmError(
                f"{artifact.folder}: {side} {tensor.name!r} of {shape_text(shape)} takes {needed / 1e6:.0f} MB, and a "
                f"buffer of {device} holds {device.max_buffer_bytes / 1e6:.0f} MB: compile it for a smaller picture, "
                "and give it large ones in tiles (sr-tvm upscale --tile)"
            )
