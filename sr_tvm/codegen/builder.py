"""The builder of TIR that every lowering writes with: what TVM's IRBuilder does, without parsing and with vectors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import tvm
from tvm import tirx

from sr_tvm.codegen.functions import STATUS, entry, private
from sr_tvm.regions.value import FLOAT32

Expr = Any  # of TIR; an offset or an extent may be a plain int as well
ALIGNMENT = 64  # bytes, of memory: a cache line


class FunctionBuilder:
    """Collects the parameters and the statements of one function, one after another; loops and conditions nest.

    Attributes:
        lanes: elements of a vector; with 1, loads, stores and registers are of scalars.
        dtype: the type of an element.
        index: the type of loop variables and of numbers that are plain ints.
        sums: the type a product is added in (:meth:`Register.fma`), where it is not ``dtype``.
        alignment: bytes that memory is aligned to, which vector loads may count on.
    """

    def __init__(
        self,
        lanes: int = 1,
        dtype: str = FLOAT32,
        index: str = "int32",
        sums: str | None = None,
        alignment: int = ALIGNMENT,
    ) -> None:
        self.lanes, self.dtype, self.index, self.sums = lanes, dtype, index, sums or dtype
        self.alignment = alignment
        self.params: list[tirx.Var] = []
        self._blocks: list[list[tirx.Stmt]] = [[]]
        self._names = 0

    # The function

    def parameter(self, name: str, dtype: str = "int32") -> tirx.Var:
        """Append a number to the parameters."""
        self.params.append(tirx.Var(name, dtype))
        return self.params[-1]

    def pointer(self, name: str, dtype: str | None = None) -> tirx.Var:
        """Append a pointer to the parameters; see :meth:`view`."""
        self.params.append(tirx.Var(name, tvm.ir.PointerType(tvm.ir.PrimType(dtype or self.dtype))))
        return self.params[-1]

    def private(self, name: str) -> tirx.PrimFunc:
        """Give the function that others call by ``name``: see :func:`sr_tvm.codegen.functions.private`."""
        return private(name, self.params, self.body())

    def entry(self, tensors: Sequence[tirx.Var]) -> tirx.PrimFunc:
        """Give the function that the outside calls with ``tensors``."""
        return entry([*tensors, *self.params], self.body())

    def body(self) -> tirx.Stmt:
        """Give all statements; no loop or condition is open."""
        (block,) = self._blocks
        return _sequence(block)

    # Statements

    def add(self, statement: tirx.Stmt) -> None:
        """Append any statement."""
        self._blocks[-1].append(statement)

    def call(self, function: tvm.ir.GlobalVar, arguments: Sequence[Expr]) -> None:
        """Call a private function."""
        self.add(tirx.Evaluate(tvm.ir.Call(function, list(arguments), ret_ty=STATUS)))

    @contextmanager
    def loop(
        self, name: str, extent: Expr, kind: tirx.ForKind = tirx.ForKind.SERIAL, start: Expr | None = None
    ) -> Iterator[Expr]:
        """Loop ``extent`` times from ``start`` or 0; a loop known to take a single turn is only its body."""
        dtype = self.index if isinstance(extent, int) else str(extent.ty.dtype)
        first = tirx.const(0, dtype) if start is None else start
        if isinstance(extent, int) and extent == 1:
            yield first
            return
        var = tirx.Var(self._name(name), dtype)
        with self._block() as block:
            yield var
        extent = self.integer(extent) if isinstance(extent, int) else extent
        self.add(tirx.For(var, first, extent, kind, _sequence(block)))

    @contextmanager
    def when(self, condition: Expr) -> Iterator[None]:
        """Write what is done only where ``condition`` holds; see :meth:`otherwise`."""
        with self._block() as block:
            yield
        self.add(tirx.IfThenElse(condition, _sequence(block), None))

    @contextmanager
    def otherwise(self) -> Iterator[None]:
        """Write the else of the :meth:`when` just before."""
        before = self._blocks[-1].pop()
        with self._block() as block:
            yield
        self.add(tirx.IfThenElse(before.condition, before.then_case, _sequence(block)))

    def bind(self, name: str, value: Expr) -> tirx.Var:
        """Name a value, scalar or vector, that does not change."""
        var = tirx.Var(self._name(name), value.ty)
        self.add(tirx.Bind(var, value))
        return var

    # Memory

    def tensor(self, name: str, shape: Sequence[Expr]) -> tirx.Var:
        """Declare a buffer of ``shape``, for an entry's parameter or as the shape of a view."""
        return tirx.decl_buffer([self.integer(n) if isinstance(n, int) else n for n in shape], self.dtype, name=name)

    def view(self, name: str, pointer: tirx.Var, shape: Sequence[Expr] | None = None) -> tirx.Var:
        """View what a pointer points to as a tensor of ``shape``, or flat, where offsets count from the pointer."""
        if shape is None:
            dtype = str(pointer.ty.element_type.dtype)
            buffer = tirx.decl_buffer((1,), dtype, name=name, layout=None, data_alignment=self.alignment)
        else:
            buffer = self.tensor(name, shape)
        self.add(tirx.DeclBuffer(buffer, data=pointer))
        return buffer

    def scratch(self, name: str, size: int) -> tirx.Var:
        """Allocate ``size`` elements for the rest of the enclosing loop."""
        made = tirx.decl_buffer((size,), self.dtype, name=self._name(name), layout=None, data_alignment=self.alignment)
        self.add(tirx.AllocBuffer(made))
        return made

    def register(self, name: str) -> Register:
        """Reserve a register for the rest of the enclosing loop."""
        return Register(self, self._name(name))

    def load(self, buffer: tirx.Var, *at: Expr, lanes: int | None = None) -> Expr:
        """Read a vector of ``lanes`` neighbours (the builder's, unless told); ``at`` is the first one's index."""
        return tirx.BufferLoad(buffer, self._span(at, lanes))

    def scalar(self, buffer: tirx.Var, *at: Expr) -> Expr:
        """Read a single element."""
        return self.load(buffer, *at, lanes=1)

    def store(self, buffer: tirx.Var, value: Expr, *at: Expr, lanes: int | None = None) -> None:
        """Write what :meth:`load` reads."""
        self.add(tirx.BufferStore(buffer, value, self._span(at, lanes)))

    def store_scalar(self, buffer: tirx.Var, value: Expr, *at: Expr) -> None:
        """Write a single element."""
        self.store(buffer, value, *at, lanes=1)

    # Values

    def integer(self, value: int) -> Expr:
        """Give a plain int as an index."""
        return tirx.const(value, self.index)

    def real(self, value: float) -> Expr:
        """Give a plain number as an element."""
        return tirx.const(float(value), self.dtype)

    def splat(self, value: Expr) -> Expr:
        """Put a scalar, or a plain number, into all lanes."""
        value = self.real(value) if isinstance(value, int | float) else value
        return value if self.lanes == 1 else tirx.Broadcast(value, self.lanes)

    @staticmethod
    def cast(value: Expr, dtype: str) -> Expr:
        """Give ``value``, a vector or a scalar, as ``dtype``."""
        lanes = value.ty.dtype.lanes
        wanted = f"{dtype}x{lanes}" if lanes > 1 else dtype
        return value if str(value.ty.dtype) == wanted else tirx.Cast(wanted, value)

    def _span(self, at: Sequence[Expr], lanes: int | None) -> list[Expr]:
        lanes = self.lanes if lanes is None else lanes
        return list(at) if lanes == 1 else [*at[:-1], tirx.Ramp(at[-1], 1, lanes)]

    def _name(self, name: str) -> str:
        self._names += 1
        return f"{name}_{self._names}"

    @contextmanager
    def _block(self) -> Iterator[list[tirx.Stmt]]:
        self._blocks.append([])
        yield self._blocks[-1]
        self._blocks.pop()


class Register:
    """One vector that lives in a register: a local buffer of one vector, always used whole, which LLVM promotes."""

    def __init__(self, builder: FunctionBuilder, name: str) -> None:
        self.builder = builder
        # The scope "local" would lie on the heap: TVM puts only small "global" buffers on the stack.
        self.buffer = tirx.decl_buffer((builder.lanes,), builder.dtype, name=name, layout=None)
        builder.add(tirx.AllocBuffer(self.buffer))

    def get(self) -> Expr:
        return self.builder.load(self.buffer, 0)

    def set(self, value: Expr) -> None:
        self.builder.store(self.buffer, value, 0)

    def fma(self, a: Expr, b: Expr) -> None:
        """Add the product; LLVM contracts it to one instruction.

        Where the builder's ``sums`` are wider, there is one rounding as well: products of float16 are exact in float32.
        """
        cast, sums = self.builder.cast, self.builder.sums
        total = cast(self.get(), sums) + cast(a, sums) * cast(b, sums)
        self.set(cast(total, self.builder.dtype))


def _sequence(block: Sequence[tirx.Stmt]) -> tirx.Stmt:
    if not block:
        return tirx.Evaluate(tirx.const(0, "int32"))
    return block[0] if len(block) == 1 else tirx.SeqStmt(list(block))
