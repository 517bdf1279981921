"""Keep OpenCL C and what is known of its kernels beside a library: of a network, or of a candidate of the tuner."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tvm
from tvm import relax, tirx

from sr_tvm.isa.device_code import DeviceCode, KernelSource, save_programs
from sr_tvm.isa.launch import Launch
from sr_tvm.isa.tir import lower
from sr_tvm.targets.opencl.source import Mended


def save(mod: tvm.IRModule, target: tvm.target.Target, passes: Sequence[tvm.ir.transform.Pass], folder: Path) -> None:
    """Write the OpenCL C of a compiled network, and what is known of its kernels.

    The files are ``kernels.cl`` and ``kernels.json``.

    Args:
        mod: The scheduled module, of a Relax function "main" and TIR functions.
        target: Of kind "opencl", with a host.
        passes: The target's that make calls of the Relax function, so that views are no kernels here either.
        folder: Of the artifact; it is there.

    Raises:
        SrTvmError: A kernel does not lower, or the files cannot be written.
    """
    kernels, called = called_kernels(mod, passes)
    text, launches = lower(kernels, target)
    # A function with several launches has kernels f_kernel, f_kernel_1, ...
    owned = {
        name: [launch.name for launch in launches if re.fullmatch(re.escape(name) + r"_kernel(_\d+)?", launch.name)]
        for name in called
    }
    DeviceCode(text, tuple(launches), tuple(k for name in called for k in owned[name])).save(folder)


def called_kernels(mod: tvm.IRModule, passes: Sequence[tvm.ir.transform.Pass]) -> tuple[tvm.IRModule, list[str]]:
    """Find the kernels that a run of a network launches.

    Args:
        mod: A scheduled module, of a Relax function "main" and TIR functions.
        passes: The target's that make calls of the Relax function.

    Returns:
        A module of the TIR functions that "main" calls, and their names in the order of the calls, a name for each
        call.
    """
    lowered = tvm.transform.Sequential(list(passes))(mod)
    called: list[str] = []

    def visit(node: Any) -> None:
        at = node.op if isinstance(node, relax.Call) else None
        if isinstance(at, tvm.ir.GlobalVar) and isinstance(lowered[at], tirx.PrimFunc):
            called.append(at.name_hint)

    relax.analysis.post_order_visit(lowered["main"], visit)
    return tvm.IRModule({name: lowered[name] for name in dict.fromkeys(called)}), called


def save_each(mod: tvm.IRModule, target: tvm.target.Target, path: Path) -> None:
    """Write the kernels of a module of TIR functions, each as a program of its own, in their order.

    Functions of equal code give equal programs, whatever their names: most stages of a tuner's candidate were compiled
    before.

    Args:
        mod: Scheduled TIR functions, each of which is one kernel.
        target: Of kind "opencl", with a host.
        path: The JSON file to write.

    Raises:
        SrTvmError: A kernel does not lower, or the files cannot be written.
        ValueError: A function is several kernels, or none.
    """
    programs = []
    for _, function in mod.functions_items():
        text = tvm.ir.save_json(tvm.IRModule({"kernel": function.with_attr("global_symbol", "kernel")}))
        name = "kernel_" + hashlib.sha256(text.encode()).hexdigest()[:16]
        alone = tvm.IRModule({name: function.with_attr("global_symbol", name)})
        with Mended(alone):
            programs.append(KernelSource(*_single(lower(alone, target))))
    save_programs(programs, path)


def _single(lowered: tuple[str, list[Launch]]) -> tuple[str, Launch]:
    text, (launch,) = lowered
    return text, launch
