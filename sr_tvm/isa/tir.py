"""Read from TIR what is known of its kernels: launch sizes, loops, multiplications, bytes; and get their OpenCL C.

The one file of this room that needs TVM.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import tvm
import tvm_ffi
from tvm import tirx

from sr_tvm.errors import SrTvmError, one_line
from sr_tvm.isa.launch import Launch, SourceLoop

_MEMORIES = {"": "global", "global": "global", "shared": "local", "shared.dyn": "local", "constant": "constant"}
_FUSED = ("mad", "fma")  # functions of OpenCL C that are a multiplication and an addition


def lower(mod: tvm.IRModule, target: Any) -> tuple[str, list[Launch]]:
    """Make OpenCL C of the scheduled kernels of a module, and collect what is known of each.

    The text is as TVM's own build makes it; what a ``tvm_callback_opencl_postproc`` does to it is done.

    Args:
        mod: Scheduled PrimFuncs; other functions are left out.
        target: TVM's, or its description as a dictionary, of kind "opencl" with a host.

    Returns:
        The text of all kernels, and a record of each.

    Raises:
        SrTvmError: A kernel is not scheduled for a GPU, or does not lower; the message has TVM's last line.
    """
    chosen = tvm.target.Target(target)
    device = device_functions(mod, chosen)
    try:
        text = tvm.get_global_func("target.build.opencl")(device, chosen).inspect_source()
    except Exception as error:  # TVM's own are of many classes
        raise SrTvmError(f"the kernels can't be lowered for OpenCL: {one_line(error)}") from error
    kernels = {gv: f for gv, f in mod.functions_items() if isinstance(f, tirx.PrimFunc)}
    sizes = {gv.name_hint: _parameter_sizes(f) for gv, f in kernels.items()}
    return text, [
        launch_facts(f, gv.name_hint, sizes.get(re.sub(r"_kernel(_\d+)?$", "", gv.name_hint)))
        for gv, f in device.functions_items()
    ]


def device_functions(mod: tvm.IRModule, target: Any) -> tvm.IRModule:
    """Lower the scheduled kernels of a module to what runs on the device, as for TVM's generator of OpenCL C.

    Args:
        mod: Scheduled PrimFuncs; other functions are left out.
        target: TVM's, or its description as a dictionary, of kind "opencl" with a host.

    Returns:
        A module of the device's functions alone, one for each kernel.

    Raises:
        SrTvmError: A kernel is not scheduled for a GPU, or does not lower; the message has TVM's last line.
    """
    kernels = {
        gv: f.with_attr("global_symbol", gv.name_hint)
        for gv, f in mod.functions_items()
        if isinstance(f, tirx.PrimFunc)
    }
    pipeline, _, finalize = tirx.get_tir_pipeline("s_tir")
    try:
        with tvm.transform.PassContext(opt_level=3):
            lowered = pipeline(tirx.transform.BindTarget(tvm.target.Target(target))(tvm.IRModule(kernels)))
            return finalize()(tirx.transform.Filter(_on_device)(lowered))
    except Exception as error:  # TVM's own are of many classes
        raise SrTvmError(f"the kernels can't be lowered for OpenCL: {one_line(error)}") from error


def _parameter_sizes(function: tirx.PrimFunc) -> dict[str, float]:
    """Return bytes of a kernel's parameters by the name of their memory.

    Lowering keeps that name; shapes of images get lost.
    """
    made: dict[str, float] = {}
    for parameter in function.params:
        shape = [_constant(n) for n in getattr(parameter.ty, "shape", None) or ()]
        if shape and all(n is not None for n in shape):
            made[f"{parameter.name}_ptr"] = math.prod(n for n in shape if n is not None) * _bytes(parameter.ty.dtype)
    return made


def _on_device(function: tirx.PrimFunc) -> bool:
    target = function.attrs.get("target", None)
    return target is not None and target.kind.name not in ("llvm", "c")


def launch_facts(function: tirx.PrimFunc, name: str = "", sizes: Mapping[str, float] | None = None) -> Launch:
    """Collect what is known of a kernel from its TIR.

    Loops and sizes that are not constant leave ``problem`` in the record. Branches count as taken, both of them.

    Args:
        function: A device function, or a scheduled PrimFunc with bound threads.
        name: What the record calls it; "": its global symbol.
        sizes: Bytes of images by their memory's name, which a device function doesn't tell; None: not known.

    Returns:
        How many work-items run it, its loops, and the bytes that it moves.
    """
    walk = _Walk()
    walk.sizes.update(sizes or {})
    walk.statement(function.body)
    symbol = function.attrs.get("global_symbol", None) if function.attrs else None
    groups, local = walk.sizes_of("blockIdx"), walk.sizes_of("threadIdx")
    items = math.prod(groups) * math.prod(local)
    footprint = 0.0
    for (buffer, _), moved in walk.touched.items():
        footprint += min(moved * items, walk.sizes.get(buffer, math.inf))
    read, written = dict(walk.moved["read"]), dict(walk.moved["written"])
    body = walk.root.frozen()
    return Launch(name or str(symbol or "kernel"), groups, local, body, read, written, footprint, walk.problem)


@dataclass
class _Body:
    extent: int = 1
    multiplies: float = 0
    macs: float = 0
    stores: float = 0
    inner: list[_Body] = field(default_factory=list)

    def frozen(self) -> SourceLoop:
        return SourceLoop(self.extent, self.multiplies, self.macs, self.stores, tuple(b.frozen() for b in self.inner))


class _Walk:
    """One pass over a kernel. ``times`` is how often a work-item comes here."""

    def __init__(self) -> None:
        self.root = self.here = _Body()
        self.times = 1.0
        self.threads: dict[str, int] = {}
        self.views: dict[str, str] = {}
        self.sizes: dict[str, float] = {}
        self.touched: dict[tuple[str, str], float] = defaultdict(float)
        self.moved: dict[str, dict[str, float]] = {"read": defaultdict(float), "written": defaultdict(float)}
        self.problem = ""

    def declare(self, buffer: tirx.Buffer) -> None:
        shape = [_constant(n) for n in buffer.shape]
        if all(n is not None for n in shape):
            size = math.prod(n for n in shape if n is not None) * _bytes(buffer.dtype)
            self.sizes[self.name(buffer)] = max(size, self.sizes.get(self.name(buffer), 0))

    def name(self, buffer: tirx.Buffer) -> str:
        """Return the name of the memory that a buffer is a view of."""
        return self.views.get(buffer.name, buffer.name)

    def sizes_of(self, axis: str) -> tuple[int, int, int]:
        """Return the sizes along x, y, z of "blockIdx" or "threadIdx"."""
        return self.threads.get(f"{axis}.x", 1), self.threads.get(f"{axis}.y", 1), self.threads.get(f"{axis}.z", 1)

    def statement(self, node: Any) -> None:
        handler = getattr(self, f"_on_{type(node).__name__}", None)
        if handler is not None:
            handler(node)
        else:
            self._parts(node)

    def _parts(self, node: Any) -> None:
        """Visit what a kind of statement or expression has within that needs no handling of its own."""
        for name in ("value", "condition", "cond", "a", "b", "c", "args", "vectors", "indices", "seq", "body",
                     "then_case", "else_case", "true_value", "false_value", "block", "init"):  # fmt: skip
            part = getattr(node, name, None)
            if part is None or isinstance(part, (str, int, float)):
                continue
            for one in part if isinstance(part, (list, tuple, tvm_ffi.Array)) else (part,):
                if isinstance(one, (tirx.Stmt, tvm.ir.Expr)) or type(one).__name__ in ("SBlock", "SBlockRealize"):
                    self.statement(one)

    def _on_For(self, node: tirx.For) -> None:
        extent = _constant(node.extent)
        if node.kind == tirx.ForKind.THREAD_BINDING:
            self._thread(node.thread_binding.thread_tag, extent)
            self.statement(node.body)
            return
        if extent is None:
            self.problem = self.problem or f"loop {node.loop_var.name} goes round {node.extent} times, no constant"
            extent = 1
        outer, self.here = self.here, _Body(extent)
        outer.inner.append(self.here)
        self.times *= extent
        self.statement(node.body)
        self.times /= max(extent, 1)
        self.here = outer

    def _on_While(self, node: Any) -> None:
        self.problem = self.problem or "a while loop: nobody knows how often it goes round"
        self._parts(node)

    def _on_AttrStmt(self, node: tirx.AttrStmt) -> None:
        if node.attr_key in ("thread_extent", "virtual_thread"):
            self._thread(node.node.thread_tag, _constant(node.value))
        self.statement(node.body)

    def _on_DeclBuffer(self, node: Any) -> None:
        self.views[node.buffer.name] = _name(node.data)
        self._parts(node)

    def _on_TensorLoad(self, node: Any) -> None:
        self._move("read", node.source, _bytes(node.ty))
        self._parts(node)

    def _on_BufferStore(self, node: tirx.BufferStore) -> None:
        size = _bytes(node.value.ty)
        if self._move("written", node.buffer, size) in ("global", "local"):
            self.here.stores += size / 4
        self._parts(node)

    def _on_Mul(self, node: tirx.Mul) -> None:
        if _plain(node.ty).startswith("float"):
            self.here.multiplies += _lanes(node.ty)
        self._parts(node)

    def _on_Add(self, node: Any) -> None:
        if _plain(node.ty).startswith("float") and any(isinstance(p, tirx.Mul) for p in (node.a, node.b)):
            self.here.macs += _lanes(node.ty)
        self._parts(node)

    _on_Sub = _on_Add

    def _on_Call(self, node: Any) -> None:
        name = getattr(node.op, "name", "")
        called = node.args[0] if node.args and name in ("tirx.call_pure_extern", "tirx.call_extern") else None
        if name == "tirx.fma" or (called is not None and getattr(called, "value", "") in _FUSED):
            self.here.multiplies += _lanes(node.ty)
            self.here.macs += _lanes(node.ty)
        if name == "tirx.texture2d_load":
            self._image("read", node.args[0], _bytes(node.ty))
        elif name == "tirx.texture2d_store":
            size = _bytes(node.args[-1].ty)
            self._image("written", node.args[0], size)
            self.here.stores += size / 4
        self._parts(node)

    def _image(self, way: str, image: Any, size: int) -> None:
        self.moved[way]["image"] += size * self.times
        # It is given as the data of a parameter.
        parameter = str(image).removesuffix(".data")
        self.touched[self.views.get(parameter, f"{parameter}_ptr"), way] += size * self.times

    def _move(self, way: str, buffer: tirx.Buffer, size: int) -> str:
        memory = _MEMORIES.get(buffer.scope(), "")
        if memory:
            self.moved[way][memory] += size * self.times
        if memory == "global":
            self.declare(buffer)
            self.touched[self.name(buffer), way] += size * self.times
        return memory

    def _thread(self, tag: str, extent: int | None) -> None:
        if extent is None:
            self.problem = self.problem or f"the extent of {tag} is no constant"
        elif not tag.startswith("vthread"):
            self.threads[tag] = max(extent, self.threads.get(tag, 1))


def _constant(value: Any) -> int | None:
    if isinstance(value, int):
        return value
    return int(value.value) if isinstance(value, tirx.IntImm) else None


def _name(memory: Any) -> str:
    return str(getattr(memory, "name", memory))


def _lanes(dtype: Any) -> int:
    return int(tvm.DataType(_plain(dtype)).lanes)


def _plain(dtype: Any) -> str:
    return str(dtype).removeprefix("T.")


def _bytes(dtype: Any) -> int:
    kind = tvm.DataType(_plain(dtype))
    return -(-int(kind.bits) // 8) * int(kind.lanes)
