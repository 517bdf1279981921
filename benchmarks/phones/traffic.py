"""Distinct bytes that the work-groups of a kernel read and write, by evaluating every address of the kernel.

A device function is walked once: each access has an index and conditions, in terms of work-groups, work-items and
loops. For a work-group these are evaluated for all of its work-items and iterations at once, as NumPy arrays with an
axis for each, and equal addresses count once. What work-groups read again counts again: that is what caches may save.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm
import tvm_ffi
from tvm import tirx

from sr_tvm.errors import SrTvmError

AXES = ("blockIdx.x", "blockIdx.y", "blockIdx.z")
ITEMS = ("threadIdx.x", "threadIdx.y", "threadIdx.z")
MOST = 1 << 27  # addresses of an access in a work-group
_STEP = 1 << 20  # between the rows of an image, in the number that stands for a texel

Array = Any  # of NumPy, or a plain number


@dataclass(frozen=True)
class Access:
    """One place of the text that reads or writes global memory or an image.

    Attributes:
        memory: the parameter's name.
        written: whether it writes.
        at: the index, of an image x, y and layer.
        size: bytes of an element of the index.
        conditions: what must hold, each with the value that it must have.
        loops: variables of the loops around it, with their extents.
    """

    memory: str
    written: bool
    at: tuple[Any, ...]
    size: int
    conditions: tuple[tuple[Any, bool], ...]
    loops: tuple[tuple[Any, int], ...]


@dataclass(frozen=True)
class Traffic:
    """Bytes of all work-groups of a kernel, each distinct one of a work-group once."""

    read: float
    written: float


def traffic(function: tirx.PrimFunc, images: Mapping[str, tuple[int, int, int]]) -> Traffic:
    """Bytes that the work-groups of a device function touch, summed over all of them.

    ``images`` are the layers, rows and texels of a row of image parameters, by name: what is read outside of them
    touches nothing. Along each axis the first, the middle and the last work-group are evaluated, and the middle one
    stands for all between: exact where an axis of work-groups is one of the picture's.

    Raises:
        SrTvmError: an address depends on what a kernel has read, or a loop on what is not known.
    """
    walk = _Walk()
    walk.statement(function.body)
    spots = [_spots(walk.extents.get(axis, 1)) for axis in AXES]
    total: dict[bool, float] = {False: 0.0, True: 0.0}
    for chosen in itertools.product(*spots):
        weight = math.prod(w for _, w in chosen)
        group = {axis: at for axis, (at, _) in zip(AXES, chosen, strict=True)}
        for written, size in _group(walk, group, images).items():
            total[written] += weight * size
    return Traffic(total[False], total[True])


def image_shapes(function: tirx.PrimFunc) -> dict[str, tuple[int, int, int]]:
    """Layers, rows and texels of a row of a scheduled function's image parameters, by the name they are read by."""
    found = {}
    for parameter in function.params:
        if tirx.is_buffer_var(parameter) and "texture" in str(parameter.scope()):
            *layers, height, width, _ = (int(n) for n in parameter.ty.shape)
            found[str(parameter.name)] = (math.prod(layers), height, width)
    return found


def _spots(count: int) -> list[tuple[int, int]]:
    """The work-groups of an axis that are evaluated, with how many each stands for."""
    if count <= 3:
        return [(i, 1) for i in range(count)]
    return [(0, 1), (count // 2, count - 2), (count - 1, 1)]


def _group(
    walk: _Walk, group: Mapping[str, int], images: Mapping[str, tuple[int, int, int]]
) -> dict[bool, float]:  # fmt: skip
    """Distinct bytes that one work-group reads (False) and writes (True)."""
    touched: dict[tuple[str, bool, int], list[np.ndarray]] = defaultdict(list)
    for access in walk.accesses:
        found = _Evaluation(walk, access, group).addresses(images.get(access.memory))
        touched[access.memory, access.written, access.size].append(found)
    made: dict[bool, float] = {False: 0.0, True: 0.0}
    for (_, written, size), parts in touched.items():
        made[written] += len(np.unique(np.concatenate(parts))) * size
    return made


class _Evaluation:
    """The addresses of one access in one work-group: an axis for each kind of work-item, loop and lane of a vector."""

    def __init__(self, walk: _Walk, access: Access, group: Mapping[str, int]) -> None:
        self.walk, self.access, self.group = walk, access, group
        self.axes = [*ITEMS, *(v for v, _ in access.loops)]
        self.extents = [*(walk.extents.get(tag, 1) for tag in ITEMS), *(extent for _, extent in access.loops)]
        self.known: dict[Any, Array] = {}

    def addresses(self, image: tuple[int, int, int] | None) -> np.ndarray:
        """A number for each distinct element."""
        at = [self.value(index) for index in self.access.at]
        holds: Array = np.bool_(True)
        for condition, wanted in self.access.conditions:
            holds = np.logical_and(holds, np.equal(np.asarray(self.value(condition), bool), wanted))
        if len(at) == 3:  # an image
            layers, height, width = image or (_STEP, _STEP, _STEP)
            x, y, layer = at
            for index, limit in ((x, width), (y, height), (layer, layers)):
                holds = np.logical_and(holds, np.logical_and(np.greater_equal(index, 0), np.less(index, limit)))
            key = (np.asarray(layer, np.int64) * _STEP + y) * _STEP + x
        else:
            key = np.asarray(at[0], np.int64)
        shape = np.broadcast_shapes(np.shape(key), np.shape(holds))
        if math.prod(shape) > MOST:
            raise SrTvmError(f"{self.access.memory}: too many addresses to evaluate, {shape}")
        return np.unique(np.broadcast_to(key, shape)[np.broadcast_to(holds, shape)])

    def value(self, node: Any) -> Array:
        handler = getattr(self, f"_{type(node).__name__}", None)
        if isinstance(node, int | float | bool):
            return node
        if type(node).__name__ in _BINARY:
            return _BINARY[type(node).__name__](self.value(node.a), self.value(node.b))
        if handler is None:
            raise SrTvmError(f"{self.access.memory}: no rule for {type(node).__name__} in an address")
        return handler(node)

    def _IntImm(self, node: Any) -> Array:
        return int(node.value)

    def _FloatImm(self, node: Any) -> Array:
        return float(node.value)

    def _Var(self, node: Any) -> Array:
        if node not in self.known:
            self.known[node] = self._variable(node)
        return self.known[node]

    def _variable(self, node: Any) -> Array:
        tag = self.walk.tags.get(node)
        if tag in self.group:
            return self.group[tag]
        for place, axis in enumerate(self.axes):
            if (tag == axis) if isinstance(axis, str) else node.same_as(axis):
                shape = [1] * (len(self.axes) + 1)  # the last is for the lanes of a vector
                shape[place] = self.extents[place]
                return np.arange(self.extents[place]).reshape(shape)
        if node in self.walk.bound:
            return self.value(self.walk.bound[node])
        if tag is not None:
            return 0
        raise SrTvmError(f"{self.access.memory}: an address depends on {node.name}, which is not known")

    def _Cast(self, node: Any) -> Array:
        made = self.value(node.value)
        return np.trunc(made).astype(np.int64) if "int" in str(node.ty) else np.asarray(made)

    def _Ramp(self, node: Any) -> Array:
        lanes = np.arange(int(node.lanes))
        return np.asarray(self.value(node.base)) + np.asarray(self.value(node.stride)) * lanes

    def _Broadcast(self, node: Any) -> Array:
        return self.value(node.value)

    def _Not(self, node: Any) -> Array:
        return np.logical_not(self.value(node.a))

    def _Select(self, node: Any) -> Array:
        return np.where(self.value(node.condition), self.value(node.true_value), self.value(node.false_value))

    def _Call(self, node: Any) -> Array:
        name, arguments = str(node.op.name).removeprefix("tirx."), list(node.args)
        if name == "if_then_else":
            return np.where(*(self.value(a) for a in arguments))
        raise SrTvmError(f"{self.access.memory}: no rule for {name} in an address")


def _truncdiv(a: Array, b: Array) -> Array:
    return (np.sign(a) * np.sign(b)) * (np.abs(a) // np.abs(b))


def _truncmod(a: Array, b: Array) -> Array:
    return a - _truncdiv(a, b) * b


_BINARY: dict[str, Callable[[Array, Array], Array]] = {
    "Add": operator.add, "Sub": operator.sub, "Mul": operator.mul, "Div": _truncdiv, "Mod": _truncmod,
    "FloorDiv": np.floor_divide, "FloorMod": np.mod, "Max": np.maximum, "Min": np.minimum,
    "LT": np.less, "LE": np.less_equal, "GT": np.greater, "GE": np.greater_equal, "EQ": np.equal, "NE": np.not_equal,
    "And": np.logical_and, "Or": np.logical_or, "LShift": np.left_shift, "RShift": np.right_shift,
    "BitwiseAnd": np.bitwise_and, "BitwiseOr": np.bitwise_or, "BitwiseXor": np.bitwise_xor,
}  # fmt: skip


class _Walk:
    """One pass over a device function that collects its accesses."""

    def __init__(self) -> None:
        self.accesses: list[Access] = []
        self.bound: dict[Any, Any] = {}
        self.tags: dict[Any, str] = {}
        self.extents: dict[str, int] = {}
        self.conditions: tuple[tuple[Any, bool], ...] = ()
        self.loops: tuple[tuple[Any, int], ...] = ()

    def statement(self, node: Any) -> None:
        handler = getattr(self, f"_on_{type(node).__name__}", None)
        if handler is not None:
            handler(node)
        else:
            for part in _parts(node):
                self.statement(part)

    def _on_For(self, node: tirx.For) -> None:
        if not isinstance(node.extent, tirx.IntImm):
            raise SrTvmError(f"loop {node.loop_var.name} goes round {node.extent} times, no constant")
        around = self.loops
        self.loops = (*around, (node.loop_var, int(node.extent)))
        self.statement(node.body)
        self.loops = around

    def _on_While(self, _: Any) -> None:
        raise SrTvmError("a while loop: nobody knows how often it goes round")

    def _on_AttrStmt(self, node: tirx.AttrStmt) -> None:
        if node.attr_key in ("thread_extent", "virtual_thread"):
            tag = str(node.node.thread_tag)
            self.tags[node.node.var] = tag
            self.extents[tag] = max(int(node.value), self.extents.get(tag, 1))
        self.statement(node.body)

    def _on_Bind(self, node: Any) -> None:
        self.bound[node.var] = node.value
        self.statement(node.value)

    def _on_IfThenElse(self, node: tirx.IfThenElse) -> None:
        self._branches(node.condition, node.then_case, node.else_case)

    def _branches(self, condition: Any, yes: Any, no: Any) -> None:
        self.statement(condition)
        before = self.conditions
        for part, wanted in ((yes, True), (no, False)):
            if part is not None:
                self.conditions = (*before, (condition, wanted))
                self.statement(part)
        self.conditions = before

    def _on_Call(self, node: Any) -> None:
        name = getattr(node.op, "name", "")
        if name == "tirx.if_then_else":
            self._branches(*node.args)
            return
        if name in ("tirx.texture2d_load", "tirx.texture2d_store"):
            written = name.endswith("store")
            size = _bytes(node.args[-1].ty if written else node.ty)
            memory = str(node.args[0]).removesuffix(".data")
            self._add(memory, written, tuple(node.args[1:4]), size)
        for part in node.args:
            self.statement(part)

    def _on_TensorLoad(self, node: Any) -> None:
        self._buffer(node.source, False, node.indices)

    def _on_BufferStore(self, node: tirx.BufferStore) -> None:
        self._buffer(node.buffer, True, node.indices)
        self.statement(node.value)

    def _buffer(self, buffer: Any, written: bool, indices: Any) -> None:
        if str(buffer.scope()) in ("", "global", "constant"):
            if len(indices) != 1:
                raise SrTvmError(f"{buffer.name}: an index of {len(indices)} dimensions, so it was not lowered")
            self._add(str(buffer.name), written, (indices[0],), _bytes(buffer.dtype))
        for part in indices:
            self.statement(part)

    def _add(self, memory: str, written: bool, at: tuple[Any, ...], size: int) -> None:
        self.accesses.append(Access(memory, written, at, size, self.conditions, self.loops))


def _parts(node: Any) -> Iterator[Any]:
    """What a kind of statement or expression has within."""
    for name in ("value", "condition", "a", "b", "args", "vectors", "indices", "seq", "body", "true_value",
                 "false_value"):  # fmt: skip
        part = getattr(node, name, None)
        for one in part if isinstance(part, (list, tuple, tvm_ffi.Array)) else (part,):
            if isinstance(one, (tirx.Stmt, tvm.ir.Expr)):
                yield one


def _bytes(dtype: Any) -> int:
    kind = tvm.DataType(str(dtype).removeprefix("T."))
    return -(-int(kind.bits) // 8) * int(kind.lanes)
