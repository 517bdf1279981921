"""Qualcomm Adreno (Snapdragon phones)."""

from __future__ import annotations

from dataclasses import dataclass

from sr_tvm.targets.opencl.family import OpenCl


@dataclass(frozen=True)
class Adreno(OpenCl):
    """The GPUs of Qualcomm's Snapdragon phones.

    What lies between kernels are images: texture units find the border for free, and have a cache of their own.
    """

    name = "adreno"
    description = "Qualcomm Adreno GPU of an Android phone, OpenCL"
    gpu = {"device": "adreno", "keys": ["adreno", "opencl", "gpu"], "max_num_threads": 256, "thread_warp_size": 1}
    typical = "adreno-660"
