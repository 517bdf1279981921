"""The builder with HVX's instructions, and what all rows' functions share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import tirx

from sr_tvm.codegen.builder import Expr, FunctionBuilder, Register
from sr_tvm.codegen.functions import private

LANES = 32  # 32-bit lanes of a vector
VECTOR = 128  # bytes
GROUP = 4  # channels of a lane
ONE, PAIR = "int32x32", "int32x64"


def groups(channels: int) -> int:
    """How many groups of four hold so many channels."""
    return -(-channels // GROUP)


class HvxBuilder(FunctionBuilder):
    """Writes one function of vectors of 32-bit lanes. Places in memory are told in vectors, weights in doublewords."""

    def __init__(self) -> None:
        super().__init__(LANES, "int32", alignment=VECTOR)
        self._aligned: list[tirx.Var] = []

    def private(self, name: str) -> tirx.PrimFunc:
        """Give the function; what :meth:`aligned` pointers point to begins at a whole vector."""
        body = self.body()
        for pointer in self._aligned:
            body = tirx.AttrStmt(pointer, "storage_alignment", tirx.const(VECTOR, "int32"), body)
        return private(name, self.params, body)

    def aligned(self, name: str, buffer: str, dtype: str = "int32") -> Any:
        """Append a pointer to whole vectors to the parameters, and view them as ``buffer``."""
        self._aligned.append(self.pointer(name, dtype))
        return self.view(buffer, self._aligned[-1])

    def bytes_at(self, name: str, pointer: tirx.Var) -> Any:
        """View memory as bytes that are aligned to nothing."""
        buffer = tirx.decl_buffer((1,), "uint8", name=name, layout=None, data_alignment=1)
        self.add(tirx.DeclBuffer(buffer, data=pointer))
        return buffer

    def vector(self, buffer: Any, place: Expr) -> Expr:
        """Read the vector at ``place``, counted in vectors."""
        return self.load(buffer, place * LANES)

    def put(self, buffer: Any, value: Expr, place: Expr) -> None:
        """Write a vector."""
        self.store(buffer, value, place * LANES)

    def hvx(self, name: str, *arguments: Expr, dtype: str = ONE) -> Expr:
        """RowCall an instruction by LLVM's name for it."""
        return tirx.call_llvm_pure_intrin(dtype, f"llvm.hexagon.V6.{name}.128B", *arguments)

    def doubleword(self, name: str) -> Doubleword:
        """Reserve a pair of scalar registers for the rest of the enclosing loop."""
        return Doubleword(self, self._name(name))

    def read_ahead(self, ready: Sequence[Doubleword], buffer: Any, first: Expr) -> None:
        """Read the first doublewords of the weights that come next."""
        for i, each in enumerate(ready):
            each.set(self.scalar(buffer, first + i))

    def words(self, buffer: Any, first: Expr, count: int, ready: Sequence[Doubleword] = ()) -> list[Expr]:
        """Read ``count`` words of weights, an even number, two by two, into scalar registers.

        The first of them are ``ready`` and not read.
        """
        found = []
        for i in range(count // 2):
            both = self.bind("d", ready[i].get() if i < len(ready) else self.scalar(buffer, first + i))
            found.append(self.bind("w", both.astype("int32")))
            found.append(self.bind("w", (both >> tirx.const(32, "int64")).astype("int32")))
        return found

    def add_products(self, total: Register, value: Expr, word: Expr) -> None:
        """Add to each lane the four products of its bytes, without sign, and those of ``word``, with sign."""
        total.set(self.hvx("vrmpybus.acc", total.get(), value, word))

    def halves(self, totals: Sequence[Expr], shift: Expr, factors: Sequence[Expr] | None = None) -> tuple[Expr, Expr]:
        """Divide the sums of four outputs by 2 ** shift, as two vectors of halfwords: outputs 0 and 2, 1 and 3.

        ``factors`` are words of the multipliers of outputs 0 and 2, and of 1 and 3.
        """
        even = self.hvx("vasrwhrndsat", totals[2], totals[0], shift)
        odd = self.hvx("vasrwhrndsat", totals[3], totals[1], shift)
        if factors is not None:
            even, odd = (self.hvx("vmpyhsrs", half, f) for half, f in zip((even, odd), factors, strict=True))
        return self.bind("even", even), self.bind("odd", odd)

    def bent(self, half: Expr, slope: Expr) -> Expr:
        """The larger of halfwords and their products with the slopes of a word."""
        half = self.bind("half", half)
        return self.hvx("vmaxh", half, self.hvx("vmpyhsrs", half, slope))

    def put_lines(
        self, buffer: Any, made: Sequence[Expr], shuffle: int, out: Expr, line: Expr, j: int | Expr, v: Expr
    ) -> None:
        """Write a group of channels of a shuffled result, of one tile or, where ``shuffle`` is 2, of two, to its lines.

        Args:
            out: place of the first line; the others follow, ``line`` vectors apart.
            j: which group it is.
            v: which vector of a line.
        """
        if shuffle > 2:  # a group is the pixels of a line
            self.put(buffer, made[0], out + line * j + v)
            return
        one, two = (self.bind("made", vector) for vector in made)  # a group is two pixels of each of two lines
        for i, name in enumerate(("vpackeh", "vpackoh")):
            self.put(buffer, self.hvx(name, two, one), out + line * (j * 2 + i) + v)

    def to_bytes(self, even: Expr, odd: Expr, shift: Expr | None = None) -> Expr:
        """Saturate halfwords to bytes, four channels a lane again, first divided by 2 ** shift where one is given."""
        if shift is None:
            return self.hvx("vsathub", odd, even)
        return self.hvx("vasrhubrndsat", odd, even, shift)


class Doubleword:
    """Two words of weights that were read before they are needed, say at the end of the turn before."""

    def __init__(self, code: HvxBuilder, name: str) -> None:
        self.code = code
        self.buffer = tirx.decl_buffer((1,), "int64", name=name, layout=None)
        code.add(tirx.AllocBuffer(self.buffer))

    def get(self) -> Expr:
        return self.code.scalar(self.buffer, 0)

    def set(self, value: Expr) -> None:
        self.code.store_scalar(self.buffer, value, 0)
