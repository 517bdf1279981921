"""A small builder of TIR statements for vector code: what TVM's IRBuilder does, without parsing and with vectors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import tvm
from tvm import tirx

from sr_tvm.targets.cpu.rows.element import FLOAT32, Element

FLOAT = "float32"
STATUS = tvm.ir.PrimType("int32")
POINTER = tvm.ir.PointerType(tvm.ir.PrimType(FLOAT))  # to memory outside of the kernel


class Register:
    """One vector that lives in a register: a local buffer of one vector, which LLVM promotes."""

    def __init__(self, emitter: Emitter, name: str) -> None:
        self.emitter = emitter
        # The scope "local" would lie on the heap: TVM puts only small "global" buffers on the stack.
        self.buffer = tirx.decl_buffer((emitter.lanes,), emitter.element.dtype, name=name, layout=None)
        emitter.add(tirx.AllocBuffer(self.buffer))

    def get(self) -> Any:
        return self.emitter.load(self.buffer, 0)

    def set(self, value: Any) -> None:
        self.emitter.store(self.buffer, 0, value)

    def fma(self, a: Any, b: Any) -> None:
        """Add the product; LLVM contracts it to one instruction."""
        e = self.emitter
        if e.element.emulated:  # one rounding, as the instruction has; products of float16 are exact in float32
            a, b, c = (e.cast(value, FLOAT) for value in (a, b, self.get()))
            self.set(e.cast(c + a * b, e.element.dtype))
        else:
            self.set(self.get() + a * b)


class Emitter:
    """Collects statements; ``loop`` and ``when`` nest. Offsets are of elements; vectors have ``lanes`` of them."""

    def __init__(self, lanes: int, element: Element = FLOAT32) -> None:
        self.lanes, self.element = lanes, element
        self.pointer = tvm.ir.PointerType(tvm.ir.PrimType(element.dtype))
        self._stack: list[list[Any]] = [[]]
        self._count = 0

    def fresh(self, name: str) -> str:
        self._count += 1
        return f"{name}_{self._count}"

    def add(self, statement: Any) -> None:
        self._stack[-1].append(statement)

    def body(self) -> Any:
        (statements,) = self._stack
        return _sequence(statements)

    @contextmanager
    def loop(self, name: str, extent: Any, kind: tirx.ForKind = tirx.ForKind.SERIAL) -> Iterator[Any]:
        """A loop from 0, or its body once with the index 0 where the extent is 1."""
        if isinstance(extent, int) and extent == 1 and kind == tirx.ForKind.SERIAL:
            yield tirx.const(0, "int32")
            return
        dtype = "int32" if isinstance(extent, int) else str(extent.ty.dtype)
        var = tirx.Var(self.fresh(name), dtype)
        self._stack.append([])
        yield var
        body = _sequence(self._stack.pop())
        self.add(
            tirx.For(
                var, tirx.const(0, dtype), tirx.const(extent, dtype) if isinstance(extent, int) else extent, kind, body
            )
        )

    @contextmanager
    def when(self, condition: Any) -> Iterator[None]:
        self._stack.append([])
        yield
        self.add(tirx.IfThenElse(condition, _sequence(self._stack.pop()), None))

    @contextmanager
    def otherwise(self) -> Iterator[None]:
        """The else of the ``when`` just before."""
        before = self._stack[-1].pop()
        self._stack.append([])
        yield
        self.add(tirx.IfThenElse(before.condition, before.then_case, _sequence(self._stack.pop())))

    def bind(self, name: str, value: Any) -> Any:
        var = tirx.Var(self.fresh(name), value.ty)
        self.add(tirx.Bind(var, value))
        return var

    def register(self, name: str) -> Register:
        return Register(self, self.fresh(name))

    def buffer(self, name: str, data: Any) -> Any:
        """A flat view of a pointer parameter."""
        buffer = tirx.decl_buffer((1,), str(data.ty.element_type.dtype), name=name, layout=None, data_alignment=64)
        self.add(tirx.DeclBuffer(buffer, data=data))
        return buffer

    def load(self, buffer: Any, offset: Any) -> Any:
        return tirx.BufferLoad(buffer, [tirx.Ramp(offset, 1, self.lanes)])

    def scalar(self, buffer: Any, offset: Any) -> Any:
        return tirx.BufferLoad(buffer, [offset])

    def splat(self, value: Any) -> Any:
        return tirx.Broadcast(tirx.const(value, self.element.dtype) if isinstance(value, float) else value, self.lanes)

    def cast(self, value: Any, dtype: str) -> Any:
        """``value``, a vector or a scalar, as ``dtype``."""
        lanes = value.ty.dtype.lanes
        wanted = f"{dtype}x{lanes}" if lanes > 1 else dtype
        return value if str(value.ty.dtype) == wanted else tirx.Cast(wanted, value)

    def store(self, buffer: Any, offset: Any, value: Any) -> None:
        self.add(tirx.BufferStore(buffer, value, [tirx.Ramp(offset, 1, self.lanes)]))

    def store_scalar(self, buffer: Any, offset: Any, value: Any) -> None:
        self.add(tirx.BufferStore(buffer, value, [offset]))


def _sequence(statements: Sequence[Any]) -> Any:
    if not statements:
        return tirx.Evaluate(tirx.const(0, "int32"))
    return statements[0] if len(statements) == 1 else tirx.SeqStmt(list(statements))


def private(name: str, params: Sequence[Any], body: Any) -> tirx.PrimFunc:
    """A function that others of its module call by name (:func:`call`), and that LLVM must not inline.

    TVM tells LLVM that buffers of different names never share memory. That holds within a function; inlined into its
    caller, one function's read of a ring would seem to have nothing to do with another's write. The attribute is what
    TVM gives to the body of an entry.
    """
    scope = tirx.AttrStmt(tirx.const(0, "int32"), "compute_scope", tvm.ir.StringImm(f"{name}_compute_"), body)
    func = tirx.PrimFunc(list(params), tirx.SeqStmt([scope, tirx.Return(tirx.const(0, "int32"))]), STATUS)
    return func.with_attr({"s_tir": True, "tirx.noalias": True, "tirx.is_scheduled": True})


def call(name: tvm.ir.GlobalVar, arguments: Sequence[Any]) -> Any:
    """The statement that calls a private function."""
    return tirx.Evaluate(tvm.ir.Call(name, list(arguments), ret_ty=STATUS))
