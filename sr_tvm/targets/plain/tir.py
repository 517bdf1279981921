"""Short names for the TIR nodes of the plain lowering; every index is an int64."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import tvm
from tvm import tirx

Index = Any  # an int64 expression
STATUS = tvm.ir.PrimType("int32")  # what a function returns: 0
POINTER = tvm.ir.PointerType(tvm.ir.PrimType("float32"))


def variable(name: str) -> tirx.Var:
    return tirx.Var(name, "int64")


def argument(index: Index) -> Any:
    """An index as argument of a call, where it is int32.

    TVM's NarrowDataType makes the index of a short loop an int32, but not the parameter of the function it goes to.
    """
    return tirx.Cast("int32", index)


def number(value: int) -> Index:
    return tirx.IntImm("int64", value)


def real(value: float) -> Any:
    return tirx.FloatImm("float32", value)


def buffer(name: str, shape: Sequence[Any]) -> tirx.Var:
    """A float32 buffer; the extents are ints or int64 expressions."""
    return tirx.decl_buffer([number(s) if isinstance(s, int) else s for s in shape], "float32", name=name)


def block(statements: Sequence[tirx.Stmt]) -> tirx.Stmt:
    return statements[0] if len(statements) == 1 else tirx.SeqStmt(list(statements))


def loop(var: tirx.Var, start: Index, extent: Index, body: tirx.Stmt) -> tirx.Stmt:
    return tirx.For(var, start, extent, tirx.ForKind.SERIAL, body)


def when(condition: Any, body: tirx.Stmt) -> tirx.Stmt:
    return tirx.IfThenElse(condition, body, None)


def load(data: tirx.Var, *indices: Index) -> Any:
    return tirx.BufferLoad(data, list(indices))


def store(data: tirx.Var, value: Any, *indices: Index) -> tirx.Stmt:
    return tirx.BufferStore(data, value, list(indices))


def outline(body: tirx.Stmt) -> tirx.Stmt:
    """The body of a function that LLVM must not inline, by the attribute that TVM gives to the body of an entry.

    TVM tells LLVM that buffers of different names never share memory. That holds within a function; inlined into its
    caller, one function's read of a ring would seem to have nothing to do with another's write.
    """
    scope = tirx.AttrStmt(0, "compute_scope", tvm.ir.StringImm("row_compute_"), body)
    return tirx.SeqStmt([scope, tirx.Return(tirx.IntImm("int32", 0))])


class Functions:
    """The private functions of a kernel, each made once: equal layers share one, which keeps compilation short."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.made: dict[str, tirx.PrimFunc] = {}
        self._of: dict[Hashable, tvm.ir.GlobalVar] = {}

    def call(self, key: Hashable, make: Callable[[], tirx.PrimFunc], arguments: Sequence[Any]) -> tirx.Stmt:
        """Call the function of ``key``, which ``make`` gives at the first call."""
        if key not in self._of:
            self._of[key] = tvm.ir.GlobalVar(f"{self.prefix}_row{len(self._of)}")
            self.made[self._of[key].name_hint] = make()
        return tirx.Evaluate(tvm.ir.Call(self._of[key], list(arguments), ret_ty=STATUS))
