"""Count the kernels of TVM modules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sr_tvm.isa.count import Count, count_sources
from sr_tvm.isa.tir import lower


def count_module(mod: Any, target: Any, gpu: str) -> list[Count]:
    """Counts of the kernels of one module; see :func:`count_modules`."""
    return count_modules([mod], target, gpu)[0]


def count_modules(mods: Sequence[Any], target: Any, gpu: str) -> list[list[Count]]:
    """Counts of the kernels of each TVM IRModule of scheduled, thread-bound PrimFuncs, compiled in one run for ``gpu``.

    ``target`` is TVM's target of kind "opencl" with a host, or a dictionary that describes it.

    Raises:
        SrTvmError: a kernel does not lower or build, unknown GPU, or the compilers are not there.
    """
    return count_sources([lower(mod, target) for mod in mods], gpu)
