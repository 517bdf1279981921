"""From a scheduled module of OpenCL kernels, and what the build made of it, to its `DeviceProgram`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tvm

from sr_tvm.build.program import NoProgram, Reader
from sr_tvm.isa.device_code import TEXT, DeviceCode
from sr_tvm.records.device_program import DeviceProgram, KernelLaunch, Memory
from sr_tvm.records.program import FOLDER, WEIGHTS, Call, Stored, plan_memory
from sr_tvm.records.tensor import Tensor
from sr_tvm.regions.value import FLOAT16, TEXTURE
from sr_tvm.system.files import sha256

# The definition of a kernel; declarations end with a semicolon. What lies in memory has the parameter's name and this.
_KERNEL = re.compile(r"__kernel [^{;]*?\bvoid (\w+)\(([^(){};]*)\) *\{")
_SUFFIX = "_ptr"


def write_device_program(
    mod: tvm.IRModule, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...], folder: Path
) -> None:
    """Write the program of an artifact whose kernels are OpenCL C, with its constants.

    Args:
        mod: The scheduled module.
        inputs: Of ``main``, in order.
        outputs: Of ``main``, in order.
        folder: Of the artifact, in which the OpenCL C lies.

    Raises:
        NoProgram: ``main`` has something else than calls of kernels for one size, or a kernel takes something else than
            its function's tensors.
    """
    reader = Reader(mod, inputs, outputs)
    code = DeviceCode.load(folder)
    launches = _launches(mod, reader.calls, code)
    scratch, memories = _plan(reader.scratch, reader.calls, _images(mod, reader.calls))
    tensors = (*inputs, *outputs, *(s.tensor for s in (*reader.constants, *scratch)))
    program = DeviceProgram(
        inputs=inputs,
        outputs=outputs,
        constants=tuple(reader.constants),
        scratch=scratch,
        memories=memories,
        launches=launches,
        half=any(t.dtype == FLOAT16 for t in tensors) or "cl_khr_fp16" in code.text,
        source_sha256=sha256(folder / TEXT),
    )
    if any(s.place >= len(memories) for s in scratch) or any(t.names for t in tensors):
        raise NoProgram("it takes pictures of any size")
    (folder / FOLDER).mkdir()
    (folder / FOLDER / WEIGHTS).write_bytes(bytes(reader.weights))
    program.save(folder / FOLDER)


def _launches(mod: tvm.IRModule, calls: list[Call], code: DeviceCode) -> tuple[KernelLaunch, ...]:
    """Return each kernel of each call, with the names of its arguments in the order that its OpenCL C has them.

    Raises:
        NoProgram: A kernel takes something else than its function's tensors.
    """
    facts = {launch.name: launch for launch in code.launches}
    signatures = {name: _parameters(text) for name, text in _KERNEL.findall(code.text)}
    made = []
    for call in calls:
        names = [str(p.name) for p in mod[call.kernel].params]
        if len(set(names)) != len(names) or len(names) != len(call.arguments):
            raise NoProgram(f"{call.kernel} has two tensors of one name")
        arguments = dict(zip(names, call.arguments, strict=True))
        owned = [name for name in facts if re.fullmatch(re.escape(call.kernel) + r"_kernel(_\d+)?", name)]
        for kernel in owned:
            taken = signatures.get(kernel, [""])
            if any(name not in arguments for name in taken) or facts[kernel].problem:
                raise NoProgram(f"{kernel} takes something else than the tensors of {call.kernel}")
            launch = facts[kernel]
            made.append(KernelLaunch(kernel, tuple(arguments[n] for n in taken), launch.groups, launch.local_size))
        if not owned:
            raise NoProgram(f"{call.kernel} has no kernel")
    return tuple(made)


def _parameters(text: str) -> list[str]:
    """Return the functions' names of a kernel's parameters; "" for what is no memory."""
    words = [parameter.split() for parameter in text.split(",")]
    names = [w[-1] if w and ("__global" in w or "image2d_array_t" in w) else "" for w in words]
    return [name.removesuffix(_SUFFIX) if name.endswith(_SUFFIX) else "" for name in names]


def _images(mod: tvm.IRModule, calls: list[Call]) -> set[str]:
    """Return the names of the tensors that kernels take as images.

    Raises:
        NoProgram: Another kernel takes one of them as a buffer.
    """
    scopes: dict[str, set[bool]] = {}
    for call in calls:
        for parameter, name in zip(mod[call.kernel].params, call.arguments, strict=True):
            scopes.setdefault(name, set()).add(str(getattr(parameter, "scope", str)()) == TEXTURE)
    mixed = [name for name, kinds in scopes.items() if len(kinds) > 1]
    if mixed:
        raise NoProgram(f"{mixed[0]} is an image and a buffer")
    return {name for name, kinds in scopes.items() if True in kinds}


def _plan(
    tensors: Mapping[str, Tensor], calls: list[Call], images: set[str]
) -> tuple[tuple[Stored, ...], tuple[Memory, ...]]:
    """Return a memory for each tensor: buffers share as anywhere, images where they are of one shape and type.

    Raises:
        NoProgram: An image enters or leaves the network, or a size is not known.
    """
    if not images <= tensors.keys():
        raise NoProgram("an image enters or leaves the network")
    groups: dict[Any, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        groups.setdefault((tensor.shape, tensor.dtype) if name in images else None, {})[name] = tensor
    scratch: list[Stored] = []
    memories: list[Memory] = []
    for key, members in groups.items():
        stored, buffers = plan_memory(members, calls)
        scratch += [Stored(s.tensor, s.place + len(memories)) for s in stored]
        for size in buffers:
            if size.names:
                raise NoProgram("it takes pictures of any size")
            memories.append(Memory(max(1, size.at({}))) if key is None else _image(next(iter(members.values()))))
    return tuple(scratch), tuple(memories)


def _image(tensor: Tensor) -> Memory:
    """Return the image of a tensor, as TVM's code addresses it: the last axis is the pixel's four numbers.

    Raises:
        NoProgram: The tensor is of another shape.
    """
    sizes = [n for n in tensor.shape if isinstance(n, int)]
    if len(sizes) != len(tensor.shape) or len(sizes) < 3 or sizes[-1] != 4:
        raise NoProgram(f"{tensor.name} is no image")
    *layers, height, width, _ = sizes
    bits = 8 * np.dtype(tensor.dtype).itemsize
    return Memory(math.prod(sizes) * bits // 8, (width, height, math.prod(layers)), 16 if bits == 16 else 32)
