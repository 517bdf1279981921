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
        lanes: Elements of a vector; with 1, loads, stores and registers are of scalars.
        dtype: The type of an element.
        index: The type of loop variables and of numbers that are plain ints.
        sums: The type a product is added in (:meth:`Register.fma`), where it is not ``dtype``.
        alignment: Bytes that memory is aligned to, which vector loads may count on.
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
        """Append a number to the function's parameters.

        Args:
            name: Of the parameter.
            dtype: TVM's name of the number's type.

        Returns:
            The variable to use it by.
        """
        self.params.append(tirx.Var(name, dtype))
        return self.params[-1]

    def pointer(self, name: str, dtype: str | None = None) -> tirx.Var:
        """Append a pointer to the function's parameters; :meth:`view` makes memory of it.

        Args:
            name: Of the parameter.
            dtype: The type of the elements that it points to; None: the builder's.

        Returns:
            The variable that holds the pointer.
        """
        self.params.append(tirx.Var(name, tvm.ir.PointerType(tvm.ir.PrimType(dtype or self.dtype))))
        return self.params[-1]

    def private(self, name: str) -> tirx.PrimFunc:
        """Finish a function that others of its module call, and that LLVM does not inline.

        See :func:`sr_tvm.codegen.functions.private`.

        Args:
            name: By which they call it.

        Returns:
            The function, of the parameters and statements so far.
        """
        return private(name, self.params, self.body())

    def entry(self, tensors: Sequence[tirx.Var]) -> tirx.PrimFunc:
        """Finish the function of a kernel that the outside calls.

        Args:
            tensors: Buffers, its first parameters; those of :meth:`parameter` and :meth:`pointer` follow.

        Returns:
            The function, of the parameters and statements so far.
        """
        return entry([*tensors, *self.params], self.body())

    def body(self) -> tirx.Stmt:
        """Join all statements so far, while no loop or condition is open.

        Returns:
            One statement; it does nothing where there are none.

        Raises:
            ValueError: A loop or a condition is open.
        """
        (block,) = self._blocks
        return _sequence(block)

    # Statements

    def add(self, statement: tirx.Stmt) -> None:
        """Append a statement to the innermost open loop or condition.

        Args:
            statement: Of TIR.
        """
        self._blocks[-1].append(statement)

    def call(self, function: tvm.ir.GlobalVar, arguments: Sequence[Expr]) -> None:
        """Append the call of a private function.

        Args:
            function: The variable that the function is found by.
            arguments: One for each of its parameters.
        """
        self.add(tirx.Evaluate(tvm.ir.Call(function, list(arguments), ret_ty=STATUS)))

    @contextmanager
    def loop(
        self, name: str, extent: Expr, kind: tirx.ForKind = tirx.ForKind.SERIAL, start: Expr | None = None
    ) -> Iterator[Expr]:
        """Write what follows as the body of a loop; a loop known to take a single turn is only its body.

        Args:
            name: Of the loop variable; a number is appended that makes it unique.
            extent: Turns, a plain int or an expression.
            kind: Serial, parallel, unrolled or vectorised.
            start: The first value of the loop variable; None: 0.

        Yields:
            The loop variable, of the type of ``extent``, or the builder's index type where that is an int.
        """
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
        """Write what follows so that it is done only where a condition holds; :meth:`otherwise` may come next.

        Args:
            condition: A boolean expression.
        """
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
        """Give a name to a value that does not change, so that it is computed once.

        Args:
            name: A number is appended that makes it unique.
            value: A scalar or a vector.

        Returns:
            The variable that holds it.
        """
        var = tirx.Var(self._name(name), value.ty)
        self.add(tirx.Bind(var, value))
        return var

    # Memory

    def tensor(self, name: str, shape: Sequence[Expr]) -> tirx.Var:
        """Declare a buffer of the builder's element type, for an entry's parameter or as the shape of a view.

        Args:
            name: Of the buffer.
            shape: Elements along each axis, plain ints or expressions.

        Returns:
            The buffer.
        """
        return tirx.decl_buffer([self.integer(n) if isinstance(n, int) else n for n in shape], self.dtype, name=name)

    def view(self, name: str, pointer: tirx.Var, shape: Sequence[Expr] | None = None) -> tirx.Var:
        """View what a pointer points to as a buffer.

        Args:
            name: Of the buffer.
            pointer: A variable of a pointer type, such as :meth:`pointer` makes.
            shape: Elements along each axis of a tensor of the builder's element type; None: the buffer is flat, of the
                pointer's element type, and offsets count from the pointer.

        Returns:
            The buffer.
        """
        if shape is None:
            dtype = str(pointer.ty.element_type.dtype)
            buffer = tirx.decl_buffer((1,), dtype, name=name, layout=None, data_alignment=self.alignment)
        else:
            buffer = self.tensor(name, shape)
        self.add(tirx.DeclBuffer(buffer, data=pointer))
        return buffer

    def scratch(self, name: str, size: int) -> tirx.Var:
        """Allocate memory for the rest of the enclosing loop.

        Args:
            name: A number is appended that makes it unique.
            size: Elements of the builder's type.

        Returns:
            A flat buffer.
        """
        made = tirx.decl_buffer((size,), self.dtype, name=self._name(name), layout=None, data_alignment=self.alignment)
        self.add(tirx.AllocBuffer(made))
        return made

    def register(self, name: str) -> Register:
        """Reserve a register for the rest of the enclosing loop.

        Args:
            name: A number is appended that makes it unique.

        Returns:
            A register of one vector of the builder's lanes and element type, not yet set.
        """
        return Register(self, self._name(name))

    def load(self, buffer: tirx.Var, *at: Expr, lanes: int | None = None) -> Expr:
        """Read a vector of neighbours along the last axis.

        Args:
            buffer: Memory, flat or a tensor.
            *at: The index of the first element, one for each axis.
            lanes: Elements of the vector; None: the builder's.

        Returns:
            A vector of the buffer's element type, or a scalar where ``lanes`` is 1.
        """
        return tirx.BufferLoad(buffer, self._span(at, lanes))

    def scalar(self, buffer: tirx.Var, *at: Expr) -> Expr:
        """Read a single element.

        Args:
            buffer: Memory, flat or a tensor.
            *at: The element's index, one for each axis.

        Returns:
            A scalar of the buffer's element type.
        """
        return self.load(buffer, *at, lanes=1)

    def store(self, buffer: tirx.Var, value: Expr, *at: Expr, lanes: int | None = None) -> None:
        """Write a vector to neighbours along the last axis.

        Args:
            buffer: Memory, flat or a tensor.
            value: Of the buffer's element type and of as many lanes as are written.
            *at: The index of the first element, one for each axis.
            lanes: Elements of the vector; None: the builder's.
        """
        self.add(tirx.BufferStore(buffer, value, self._span(at, lanes)))

    def store_scalar(self, buffer: tirx.Var, value: Expr, *at: Expr) -> None:
        """Write a single element.

        Args:
            buffer: Memory, flat or a tensor.
            value: A scalar of the buffer's element type.
            *at: The element's index, one for each axis.
        """
        self.store(buffer, value, *at, lanes=1)

    # Values

    def integer(self, value: int) -> Expr:
        """Make an index of a plain int.

        Args:
            value: The number.

        Returns:
            A constant of the builder's index type.
        """
        return tirx.const(value, self.index)

    def real(self, value: float) -> Expr:
        """Make an element of a plain number.

        Args:
            value: The number.

        Returns:
            A constant scalar of the builder's element type.
        """
        return tirx.const(float(value), self.dtype)

    def splat(self, value: Expr) -> Expr:
        """Put a number into all lanes of a vector.

        Args:
            value: A scalar expression, or a plain number.

        Returns:
            A vector of the builder's lanes; the scalar itself where the builder has one lane.
        """
        value = self.real(value) if isinstance(value, int | float) else value
        return value if self.lanes == 1 else tirx.Broadcast(value, self.lanes)

    @staticmethod
    def cast(value: Expr, dtype: str) -> Expr:
        """Convert the elements of a value to another type.

        Args:
            value: A vector or a scalar.
            dtype: TVM's name of the element type.

        Returns:
            Of as many lanes; ``value`` itself where it is of that type.
        """
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
        """Read the register.

        Returns:
            A vector of the builder's lanes and element type.
        """
        return self.builder.load(self.buffer, 0)

    def set(self, value: Expr) -> None:
        """Overwrite the register.

        Args:
            value: A vector of the builder's lanes and element type.
        """
        self.builder.store(self.buffer, value, 0)

    def fma(self, a: Expr, b: Expr) -> None:
        """Add a product to the register; LLVM contracts both to one instruction.

        Where the builder's ``sums`` are wider, there is one rounding as well: products of float16 are exact in float32.

        Args:
            a: A vector of the builder's lanes.
            b: Another, to multiply it by.
        """
        cast, sums = self.builder.cast, self.builder.sums
        total = cast(self.get(), sums) + cast(a, sums) * cast(b, sums)
        self.set(cast(total, self.builder.dtype))


def _sequence(block: Sequence[tirx.Stmt]) -> tirx.Stmt:
    if not block:
        return tirx.Evaluate(tirx.const(0, "int32"))
    return block[0] if len(block) == 1 else tirx.SeqStmt(list(block))
