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
    """Count the groups of four that hold so many channels.

    Args:
        channels: How many there are.

    Returns:
        Groups, the last of which may not be full.
    """
    return -(-channels // GROUP)


class HvxBuilder(FunctionBuilder):
    """The writer of one function of vectors of 32-bit lanes.

    Places in memory are told in vectors of 128 bytes, those of weights in doublewords.
    """

    def __init__(self) -> None:
        super().__init__(LANES, "int32", alignment=VECTOR)
        self._aligned: list[tirx.Var] = []

    def private(self, name: str) -> tirx.PrimFunc:
        """Finish the function; what :meth:`aligned` pointers point to begins at a whole vector.

        Args:
            name: Of the function.

        Returns:
            The function, private to its module.
        """
        body = self.body()
        for pointer in self._aligned:
            body = tirx.AttrStmt(pointer, "storage_alignment", tirx.const(VECTOR, "int32"), body)
        return private(name, self.params, body)

    def aligned(self, name: str, buffer: str, dtype: str = "int32") -> Any:
        """Append a pointer to whole vectors to the parameters, and view what it points to as a buffer.

        Args:
            name: Of the parameter.
            buffer: Name of the buffer.
            dtype: Of its elements.

        Returns:
            The buffer.
        """
        self._aligned.append(self.pointer(name, dtype))
        return self.view(buffer, self._aligned[-1])

    def bytes_at(self, name: str, pointer: tirx.Var) -> Any:
        """View memory as bytes that are aligned to nothing.

        Args:
            name: Of the buffer.
            pointer: To the memory.

        Returns:
            The buffer, of uint8.
        """
        buffer = tirx.decl_buffer((1,), "uint8", name=name, layout=None, data_alignment=1)
        self.add(tirx.DeclBuffer(buffer, data=pointer))
        return buffer

    def vector(self, buffer: Any, place: Expr) -> Expr:
        """Read a vector.

        Args:
            buffer: Of int32.
            place: Counted in vectors.

        Returns:
            32 lanes of int32.
        """
        return self.load(buffer, place * LANES)

    def put(self, buffer: Any, value: Expr, place: Expr) -> None:
        """Write a vector.

        Args:
            buffer: Of int32.
            value: 32 lanes of int32.
            place: Counted in vectors.
        """
        self.store(buffer, value, place * LANES)

    def hvx(self, name: str, *arguments: Expr, dtype: str = ONE) -> Expr:
        """Call an HVX instruction.

        Args:
            name: LLVM's name for it, between "llvm.hexagon.V6." and ".128B".
            *arguments: Vectors and scalars, as it takes them.
            dtype: Of the result: ONE, a vector, or PAIR, two of them.

        Returns:
            The result.
        """
        return tirx.call_llvm_pure_intrin(dtype, f"llvm.hexagon.V6.{name}.128B", *arguments)

    def doubleword(self, name: str) -> Doubleword:
        """Reserve a pair of scalar registers for the rest of the enclosing loop.

        Args:
            name: Beginning of the name that it gets.

        Returns:
            The pair, not yet set.
        """
        return Doubleword(self, self._name(name))

    def read_ahead(self, ready: Sequence[Doubleword], buffer: Any, first: Expr) -> None:
        """Read the first doublewords of the weights that come next.

        Args:
            ready: The registers that they go to.
            buffer: Of the weights, int64.
            first: Place of the first, in doublewords.
        """
        for i, each in enumerate(ready):
            each.set(self.scalar(buffer, first + i))

    def words(self, buffer: Any, first: Expr, count: int, ready: Sequence[Doubleword] = ()) -> list[Expr]:
        """Read words of weights two by two into scalar registers.

        Args:
            buffer: Of the weights, int64.
            first: Place of the first two, in doublewords.
            count: Words, an even number.
            ready: The first of the doublewords, where they were read before.

        Returns:
            The words, int32, four weights in each.
        """
        found = []
        for i in range(count // 2):
            both = self.bind("d", ready[i].get() if i < len(ready) else self.scalar(buffer, first + i))
            found.append(self.bind("w", both.astype("int32")))
            found.append(self.bind("w", (both >> tirx.const(32, "int64")).astype("int32")))
        return found

    def add_products(self, total: Register, value: Expr, word: Expr) -> None:
        """Add to each lane the four products of its bytes, without sign, and those of a word, with sign.

        Args:
            total: Sums, 32 lanes of int32.
            value: 32 lanes of four bytes.
            word: Four weights, as an int32.
        """
        total.set(self.hvx("vrmpybus.acc", total.get(), value, word))

    def halves(self, totals: Sequence[Expr], shift: Expr, factors: Sequence[Expr] | None = None) -> tuple[Expr, Expr]:
        """Divide the sums of four outputs by 2 ** shift, halves rounded up, and saturate them to halfwords.

        Args:
            totals: Of outputs 0 to 3, 32 lanes of int32 each.
            shift: Bits, int32.
            factors: Words of the multipliers of outputs 0 and 2, and of 1 and 3; None: nothing is multiplied.

        Returns:
            Two vectors of halfwords: outputs 0 and 2, and 1 and 3, of a pixel in a lane.
        """
        even = self.hvx("vasrwhrndsat", totals[2], totals[0], shift)
        odd = self.hvx("vasrwhrndsat", totals[3], totals[1], shift)
        if factors is not None:
            even, odd = (self.hvx("vmpyhsrs", half, f) for half, f in zip((even, odd), factors, strict=True))
        return self.bind("even", even), self.bind("odd", odd)

    def bent(self, half: Expr, slope: Expr) -> Expr:
        """Apply a PReLU: take the larger of halfwords and their products with slopes.

        Args:
            half: A vector of halfwords, two channels a lane.
            slope: A word with the slopes of both channels, in 32768ths.

        Returns:
            A vector of halfwords.
        """
        half = self.bind("half", half)
        return self.hvx("vmaxh", half, self.hvx("vmpyhsrs", half, slope))

    def put_lines(
        self, buffer: Any, made: Sequence[Expr], shuffle: int, out: Expr, line: Expr, j: int | Expr, v: Expr
    ) -> None:
        """Write a group of channels of a shuffled result to its lines.

        Args:
            buffer: Of int32.
            made: Vectors of the group's bytes: of one tile or, where ``shuffle`` is 2, of two.
            shuffle: Factor of the pixel shuffle, 2, 3 or 4.
            out: Place of the first line; the others follow, ``line`` vectors apart.
            line: Vectors from one line to the next.
            j: Which group it is.
            v: Which vector of a line.
        """
        if shuffle > 2:  # a group is the pixels of a line
            self.put(buffer, made[0], out + line * j + v)
            return
        one, two = (self.bind("made", vector) for vector in made)  # a group is two pixels of each of two lines
        for i, name in enumerate(("vpackeh", "vpackoh")):
            self.put(buffer, self.hvx(name, two, one), out + line * (j * 2 + i) + v)

    def to_bytes(self, even: Expr, odd: Expr, shift: Expr | None = None) -> Expr:
        """Saturate halfwords to bytes, four channels a lane again.

        Args:
            even: Halfwords of channels 0 and 2.
            odd: Halfwords of channels 1 and 3.
            shift: Bits by which they are divided first, halves rounded up; None: they are not.

        Returns:
            A vector of bytes.
        """
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
        """Read both words.

        Returns:
            int64, the first word in the lower half.
        """
        return self.code.scalar(self.buffer, 0)

    def set(self, value: Expr) -> None:
        """Replace both words.

        Args:
            value: An int64, the first word in its lower half.
        """
        self.code.store_scalar(self.buffer, value, 0)
