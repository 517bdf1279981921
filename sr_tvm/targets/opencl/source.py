"""The OpenCL C that TVM's generator makes, mended where drivers would refuse it or lose by it."""

from __future__ import annotations

import re
from collections.abc import Mapping

import tvm
from tvm import tirx

# TVM reads images without a sampler where OpenCL C is older than 2.0, and what is outside of one is then undefined.
_IMAGES = re.compile(
    r"#ifdef __OPENCL_VERSION__\n#if __OPENCL_VERSION__ == CL_VERSION_2_0.*?#endif\n#endif\n", re.DOTALL
)
_READS = (
    "#define READ_IMAGEH(image, sampler, coord) read_imageh(image, sampler, coord)\n"
    "#define READ_IMAGEF(image, sampler, coord) read_imagef(image, sampler, coord)\n"
)
# A vector of numbers is written as a call of its type's name, which OpenCL C has not.
_VECTOR = re.compile(r"\b(float|half|int|uint)(2|3|4|8|16)\(")
_KERNEL = re.compile(r"__kernel void (\w+)\(")
_POINTER = re.compile(r"__global (\w+)\* restrict (\w+)")
_LOAD, _STORE = (
    re.compile(r"\bvload(\d+)\(0, (?=(\w+_ptr))"),
    re.compile(r"\bvstore4\((.*), 0, ((\w+_ptr).*)\);$", re.MULTILINE),
)
Groups = Mapping[str, tuple[int, int, int]]


def mend(code: str, groups: Groups) -> str:
    """Correct the OpenCL C of a program: its reads of images, its vectors and the sizes of its work-groups.

    Args:
        code: As TVM's generator makes it.
        groups: By kernel the work-items of a group along x, y and z, which compilers like to know beforehand: of the
            kernels of our lowering, whose vectors lie at multiples of their size. What other schedules read may begin
            anywhere.

    Returns:
        The program that a driver is given.
    """
    code = _aligned(_VECTOR.sub(r"(\1\2)(", _IMAGES.sub(_READS, code)), groups)

    def sized(match: re.Match[str]) -> str:
        size = groups.get(match.group(1))
        if size is None:
            return match.group(0)
        return f"__kernel __attribute__((reqd_work_group_size({', '.join(map(str, size))}))) void {match.group(1)}("

    return _KERNEL.sub(sized, code)


def _aligned(code: str, groups: Groups) -> str:
    """Return code that reads and writes vectors as such: compilers make vload4, which may be unaligned, four loads."""

    def kernel(text: str) -> str:
        found = _KERNEL.match(text)
        return _aligned_kernel(text) if found and found.group(1) in groups else text

    return "".join(map(kernel, re.split(r"(?=^__kernel)", code, flags=re.MULTILINE)))


def _aligned_kernel(code: str) -> str:
    types = {name: kind for kind, name in _POINTER.findall(code)}  # others point to memory of the work-item
    parts, at = [], 0
    for match in _LOAD.finditer(code):
        if match.group(2) not in types:
            continue
        end = _closing(code, match.end())
        parts += [code[at : match.start()], f"(*(__global const {types[match.group(2)]}{match.group(1)}*)("]
        parts += [code[match.end() : end], "))"]
        at = end + 1
    code = "".join(parts) + code[at:]

    def store(match: re.Match[str]) -> str:
        value, place, name = match.groups()
        return f"*(__global {types[name]}4*)({place}) = {value};" if name in types else match.group(0)

    return _STORE.sub(store, code)


def _closing(code: str, begin: int) -> int:
    """Return where the parenthesis closes that is open at ``begin``."""
    depth = 1
    for at in range(begin, len(code)):
        depth += {"(": 1, ")": -1}.get(code[at], 0)
        if depth == 0:
            return at
    return len(code)


def work_groups(mod: tvm.IRModule) -> dict[str, tuple[int, int, int]]:
    """Find the sizes of the work-groups of our lowering's functions, which are one kernel each.

    What dlight schedules is no plain nest of loops, but has blocks, and is left out.

    Args:
        mod: TIR functions; others are left out.

    Returns:
        Work-items of a group along x, y and z, by the kernel's name in the OpenCL C.
    """
    found = {}
    for var, function in mod.functions_items():
        if isinstance(function, tirx.PrimFunc) and (size := _size(function.body)):
            symbol = (function.attrs or {}).get("global_symbol", var.name_hint)
            found[f"{symbol}_kernel"] = size
    return found


def _size(body: tirx.Stmt) -> tuple[int, int, int] | None:
    """Return the threads of the loops that are bound to them, one within the other from the outermost on."""
    size = {"threadIdx.x": 1, "threadIdx.y": 1, "threadIdx.z": 1}
    while isinstance(body, tirx.For) and body.thread_binding is not None:
        size[str(body.thread_binding.thread_tag)] = int(body.extent)
        body = body.body
    if max(size.values()) == 1:
        return None
    return size["threadIdx.x"], size["threadIdx.y"], size["threadIdx.z"]


class Mended:
    """While it is entered, TVM's generator of OpenCL C gives mended programs.

    Attributes:
        groups: The sizes of the work-groups, by kernel.
    """

    def __init__(self, mod: tvm.IRModule) -> None:
        self.groups = work_groups(mod)

    def __enter__(self) -> None:
        tvm.register_global_func(_HOOK, lambda code, _target: mend(code, self.groups), override=True)

    def __exit__(self, *_: object) -> None:
        tvm.register_global_func(_HOOK, lambda code, _target: code, override=True)


_HOOK = "tvm_callback_opencl_postproc"
