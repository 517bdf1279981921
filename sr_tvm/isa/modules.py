"""Count the kernels of TVM modules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sr_tvm.isa.count import Count, count_sources
from sr_tvm.isa.tir import lower


def count_module(mod: Any, target: Any, gpu: str) -> list[Count]:
    """Count what the kernels of one module execute; see :func:`count_modules`.

    Args:
        mod: A TVM IRModule of scheduled, thread-bound PrimFuncs.
        target: TVM's target of kind "opencl" with a host, or a dictionary that describes it.
        gpu: A name of ``gpus.json``, such as "adreno-660".

    Returns:
        The counts of its kernels.

    Raises:
        SrTvmError: A kernel does not lower or build, the GPU is unknown, or the compilers are not there.
    """
    return count_modules([mod], target, gpu)[0]


def count_modules(mods: Sequence[Any], target: Any, gpu: str) -> list[list[Count]]:
    """Count what the kernels of several modules execute, all of them compiled in one run.

    Args:
        mods: TVM IRModules of scheduled, thread-bound PrimFuncs.
        target: TVM's target of kind "opencl" with a host, or a dictionary that describes it.
        gpu: A name of ``gpus.json``, such as "adreno-660".

    Returns:
        For each module the counts of its kernels.

    Raises:
        SrTvmError: A kernel does not lower or build, the GPU is unknown, or the compilers are not there.
    """
    return count_sources([lower(mod, target) for mod in mods], gpu)
