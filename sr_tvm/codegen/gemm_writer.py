"""A writer of TIR: statements one after another, loops as context managers, vectors that stay in registers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tvm import tirx

Expr = Any


class Writer:
    """Collects statements; ``lanes`` is the width of a vector."""

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        self._blocks: list[list[tirx.Stmt]] = [[]]
        self._names = 0

    def body(self) -> tirx.Stmt:
        (block,) = self._blocks
        return _sequence(block)

    def _name(self, name: str) -> str:
        self._names += 1
        return f"{name}{self._names}"

    def emit(self, stmt: tirx.Stmt) -> None:
        self._blocks[-1].append(stmt)

    @contextmanager
    def _block(self) -> Iterator[list[tirx.Stmt]]:
        self._blocks.append([])
        yield self._blocks[-1]
        self._blocks.pop()

    @contextmanager
    def loop(self, extent: int, name: str = "i", parallel: bool = False) -> Iterator[Expr]:
        """A loop from 0; one of a single turn is only its body."""
        if extent == 1:
            yield tirx.IntImm("int32", 0)
            return
        var = tirx.Var(self._name(name), "int32")
        with self._block() as block:
            yield var
        kind = tirx.ForKind.PARALLEL if parallel else tirx.ForKind.SERIAL
        self.emit(tirx.For(var, 0, extent, kind, _sequence(block)))

    @contextmanager
    def when(self, condition: Expr, otherwise: list[tirx.Stmt] | None = None) -> Iterator[None]:
        with self._block() as block:
            yield
        self.emit(tirx.IfThenElse(condition, _sequence(block), _sequence(otherwise) if otherwise else None))

    @contextmanager
    def aside(self) -> Iterator[list[tirx.Stmt]]:
        """Statements for an else branch: written here, used by :meth:`when`."""
        with self._block() as block:
            yield block

    def scratch(self, size: int, name: str, dtype: str = "float32") -> tirx.Var:
        """Memory of ``size`` floats for the rest of the enclosing loop."""
        made = tirx.decl_buffer((size,), dtype, self._name(name), data_alignment=64)
        self.emit(tirx.AllocBuffer(made))
        return made

    def registers(self, count: int, name: str = "r") -> list[tirx.Var]:
        """Vectors that LLVM keeps in registers: buffers of one vector each, always used whole."""
        made = [tirx.decl_buffer((self.lanes,), "float32", self._name(name), scope="local") for _ in range(count)]
        for buffer in made:
            self.emit(tirx.AllocBuffer(buffer))
        return made

    def bind(self, value: Expr, name: str = "v", dtype: str = "int32") -> tirx.Var:
        var = tirx.Var(self._name(name), dtype)
        self.emit(tirx.Bind(var, value))
        return var

    def vector(self, value: Expr, name: str = "x", lanes: int | None = None) -> tirx.Var:
        """A vector value that does not change."""
        return self.bind(value, name, f"float32x{lanes or self.lanes}")

    def load(self, buffer: tirx.Var, *index: Expr, lanes: int | None = None) -> Expr:
        return tirx.BufferLoad(buffer, [*index[:-1], self.span(index[-1], lanes)])

    def store(self, buffer: tirx.Var, value: Expr, *index: Expr, lanes: int | None = None) -> None:
        self.emit(tirx.BufferStore(buffer, value, [*index[:-1], self.span(index[-1], lanes)]))

    def get(self, register: tirx.Var) -> Expr:
        return self.load(register, 0)

    def put(self, register: tirx.Var, value: Expr) -> None:
        self.store(register, value, 0)

    def span(self, start: Expr, lanes: int | None = None) -> Expr:
        lanes = self.lanes if lanes is None else lanes
        return start if lanes == 1 else tirx.Ramp(start, 1, lanes)

    def splat(self, value: Expr) -> Expr:
        if isinstance(value, int | float):
            value = tirx.FloatImm("float32", float(value))
        return tirx.Broadcast(value, self.lanes)

    def transpose(self, rows: Sequence[Expr]) -> list[Expr]:
        """``lanes`` vectors as the columns of a square, lanes a power of two, by log2(lanes) steps of shuffles."""
        lanes, rows = self.lanes, list(rows)
        half = lanes // 2
        while half:
            low = [lanes + j - half if j & half else j for j in range(lanes)]
            high = [lanes + j if j & half else j + half for j in range(lanes)]
            made = list(rows)
            for i in range(lanes):
                if not i & half:
                    pair = [rows[i], rows[i + half]]
                    made[i] = self.vector(tirx.Shuffle(pair, low), "t")
                    made[i + half] = self.vector(tirx.Shuffle(pair, high), "t")
            rows = made
            half //= 2
        return rows


def _sequence(block: list[tirx.Stmt]) -> tirx.Stmt:
    return block[0] if len(block) == 1 else tirx.SeqStmt(block)
