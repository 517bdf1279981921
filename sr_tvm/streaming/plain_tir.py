"""Short names for the TIR nodes of the plain lowering; every index is an int64."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import tirx

Index = Any  # an int64 expression


def variable(name: str) -> tirx.Var:
    return tirx.Var(name, "int64")


def number(value: int) -> Index:
    return tirx.IntImm("int64", value)


def real(value: float) -> Any:
    return tirx.FloatImm("float32", value)


def buffer(name: str, shape: Sequence[Any]) -> tirx.Var:
    """A float32 buffer; the extents are ints or int64 expressions."""
    return tirx.decl_buffer([number(s) if isinstance(s, int) else s for s in shape], "float32", name=name)


def block(statements: Sequence[tirx.Stmt]) -> tirx.Stmt:
    return statements[0] if len(statements) == 1 else tirx.SeqStmt(list(statements))


def allocate(data: tirx.Var) -> list[tirx.Stmt]:
    """Allocate a buffer at its full size.

    CompactBufferAllocation of TVM's pipeline shrinks a buffer to the part it believes to be read, and gets rings wrong: a
    picture of one row leaves an extent that mentions the step. A bare use of the pointer counts as a use of the whole.
    """
    return [tirx.AllocBuffer(data), tirx.Evaluate(data.data)]


def loop(var: tirx.Var, start: Index, extent: Index, body: tirx.Stmt) -> tirx.Stmt:
    return tirx.For(var, start, extent, tirx.ForKind.SERIAL, body)


def when(condition: Any, body: tirx.Stmt) -> tirx.Stmt:
    return tirx.IfThenElse(condition, body, None)


def load(data: tirx.Var, *indices: Index) -> Any:
    return tirx.BufferLoad(data, list(indices))


def store(data: tirx.Var, value: Any, *indices: Index) -> tirx.Stmt:
    return tirx.BufferStore(data, value, list(indices))
