"""Arm Mali (Exynos, Dimensity and Tensor phones)."""

from __future__ import annotations

from dataclasses import dataclass

from sr_tvm.regions.value import FLOAT16
from sr_tvm.targets.opencl.family import OpenCl
from sr_tvm.targets.opencl.limits import MALI


@dataclass(frozen=True)
class Mali(OpenCl):
    """Arm's GPUs, of Exynos, Dimensity and Tensor phones.

    What lies between kernels are images, too. Local memory is plain memory behind a cache. float16 kernels add in
    float16.
    """

    name = "mali"
    description = "Arm Mali GPU of an Android phone, OpenCL"
    gpu = {"device": "mali", "keys": ["mali", "opencl", "gpu"], "max_num_threads": 256, "thread_warp_size": 1}
    typical = "mali-g57"
    limits = MALI
    sums = FLOAT16
    load = 2
