"""The builder of OpenCL kernels: work-items, vectors of four, local memory, images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from tvm import tirx

from sr_tvm.codegen.builder import Expr, FunctionBuilder
from sr_tvm.regions.value import FLOAT32
from sr_tvm.targets.opencl.shares import LANES


class GpuBuilder(FunctionBuilder):
    """Writes what a work-item does. Numbers are vectors of four ``dtype``.

    Attributes:
        memory: TVM's name of the element type that numbers are stored as in global memory.
        vector: TVM's name of a vector's type.
    """

    def __init__(self, dtype: str = FLOAT32, memory: str = FLOAT32) -> None:
        super().__init__(lanes=LANES, dtype=dtype)
        self.memory = memory
        self.vector = f"{dtype}x{LANES}"

    @contextmanager
    def thread(self, tag: str, extent: int) -> Iterator[Expr]:
        """Write what follows so that each of the work-items or work-groups of an axis does it once.

        Args:
            tag: TVM's name for the axis, such as "blockIdx.x" for work-groups or "threadIdx.x" for work-items.
            extent: Work-items or work-groups along the axis.

        Yields:
            The index along the axis, int32.
        """
        index = tirx.Var(
            self._name(tag.replace("Idx.", "").replace("thread", "item").replace("block", "group")), "int32"
        )
        with self._block() as block:
            yield index
        binding = tirx.IterVar(None, tirx.Var(tag, "int32"), tirx.IterVar.ThreadIndex, tag)
        body = block[0] if len(block) == 1 else tirx.SeqStmt(list(block))
        kind = tirx.ForKind.THREAD_BINDING
        self.add(tirx.For(index, self.integer(0), self.integer(extent), kind, body, thread_binding=binding))

    # Memory of a work-item and of a work-group

    def vectors(self, name: str, count: int, scope: str = "local", lanes: int = LANES) -> tirx.Var:
        """Allocate vectors of the builder's element type.

        Each index into "local" ones is a constant, so that they are registers.

        Args:
            name: A number is appended that makes it unique.
            count: Vectors.
            scope: "local" for a work-item's own, "shared" for the local memory of a work-group, by TVM's names.
            lanes: Elements of a vector; 1: they are scalars.

        Returns:
            The buffer, indexed by vector.
        """
        made = tirx.decl_buffer(
            (count,), self.dtype if lanes == 1 else f"{self.dtype}x{lanes}", name=self._name(name), scope=scope
        )
        self.add(tirx.AllocBuffer(made))
        return made

    def get(self, buffer: tirx.Var, index: Expr) -> Expr:
        """Read a vector of what :meth:`vectors` allocated.

        Args:
            buffer: The vectors.
            index: Which one, a plain int or an expression.

        Returns:
            The vector, of the buffer's lanes.
        """
        return tirx.BufferLoad(buffer, [self._index(index)])

    def put(self, buffer: tirx.Var, index: Expr, value: Expr) -> None:
        """Write a vector of what :meth:`vectors` allocated.

        Args:
            buffer: The vectors.
            index: Which one, a plain int or an expression.
            value: Of the buffer's element type and lanes.
        """
        self.add(tirx.BufferStore(buffer, value, [self._index(index)]))

    def barrier(self) -> None:
        """Wait until all work-items of the group are here, and what they wrote to local memory can be read."""
        self.add(tirx.Evaluate(tirx.call_intrin("int32", "tirx.tvm_storage_sync", "shared")))

    # Global memory

    def array(self, name: str, size: int) -> tirx.Var:
        """Declare a flat buffer in global memory, for an entry's parameter.

        Args:
            name: Of the parameter.
            size: Numbers, of the type that memory holds.

        Returns:
            The buffer.
        """
        return tirx.decl_buffer((self.integer(size),), self.memory, name=name)

    def read(self, buffer: tirx.Var, *at: Expr) -> Expr:
        """Read four neighbours in global memory.

        Args:
            buffer: Of any element type.
            *at: The index of the first element, one for each axis, plain ints or expressions.

        Returns:
            A vector of the builder's element type.
        """
        return self.cast(self.load(buffer, *map(self._index, at)), self.dtype)

    def read_scalar(self, buffer: tirx.Var, *at: Expr) -> Expr:
        """Read a number in global memory.

        Args:
            buffer: Of any element type.
            *at: Its index, one for each axis, plain ints or expressions.

        Returns:
            A scalar of the builder's element type.
        """
        return self.cast(self.scalar(buffer, *map(self._index, at)), self.dtype)

    def write(self, buffer: tirx.Var, value: Expr, *at: Expr) -> None:
        """Write four neighbours to global memory, converted to the buffer's element type.

        Args:
            buffer: Of any element type.
            value: A vector of four.
            *at: The index of the first element, one for each axis, plain ints or expressions.
        """
        self.store(buffer, self.cast(value, str(buffer.ty.dtype)), *map(self._index, at))

    def write_scalar(self, buffer: tirx.Var, value: Expr, *at: Expr) -> None:
        """Write a number to global memory, converted to the buffer's element type.

        Args:
            buffer: Of any element type.
            value: A scalar.
            *at: Its index, one for each axis, plain ints or expressions.
        """
        self.store_scalar(buffer, self.cast(value, str(buffer.ty.dtype)), *map(self._index, at))

    def read_image(self, image: tirx.Var, x: Expr, y: Expr, layer: Expr) -> Expr:
        """Read a texel; it is zeros outside the image.

        Args:
            image: Of texels of four numbers, layer by layer.
            x: Column of the texel.
            y: Row.
            layer: Which image of the array of images.

        Returns:
            A vector of four of the builder's element type.
        """
        lanes = tirx.Ramp(self.integer(0), self.integer(1), LANES)
        at = [image.data, *map(self._index, (x, y, layer)), self._texel(image), lanes]
        texel = tirx.call_intrin(f"{image.ty.dtype}x{LANES}", "tirx.texture2d_load", *at)
        return self.cast(texel, self.dtype)

    def write_image(self, image: tirx.Var, value: Expr, x: Expr, y: Expr, layer: Expr) -> None:
        """Write a texel, converted to the image's element type.

        Args:
            image: Of texels of four numbers, layer by layer.
            value: A vector of four.
            x: Column of the texel.
            y: Row.
            layer: Which image of the array of images.
        """
        at = [image.data, *map(self._index, (x, y, layer)), self._texel(image)]
        value = self.cast(value, str(image.ty.dtype))
        self.add(tirx.Evaluate(tirx.call_intrin(f"{image.ty.dtype}x{LANES}", "tirx.texture2d_store", *at, value)))

    def _texel(self, image: tirx.Var) -> Expr:
        """Return the bits of a texel, by which TVM's generator knows the type of its numbers."""
        return self.integer(np.dtype(str(image.ty.dtype)).itemsize * 8 * LANES)

    # Values

    def lane(self, vector: Expr, lane: int) -> Expr:
        """Take one number of a vector.

        Args:
            vector: Of any lanes.
            lane: Which number, from 0.

        Returns:
            A scalar.
        """
        return tirx.Shuffle([vector], [lane])

    def slice(self, vectors: Expr, which: int) -> Expr:
        """Take one vector of four of several that were read together.

        Args:
            vectors: A vector of several times four lanes.
            which: Which four, from 0.

        Returns:
            A vector of four.
        """
        return tirx.Shuffle([vectors], list(range(which * LANES, (which + 1) * LANES)))

    def spread(self, scalar: Expr, lanes: int = LANES) -> Expr:
        """Put a number into all lanes of a vector.

        Args:
            scalar: The number, an expression.
            lanes: Elements of the vector.

        Returns:
            The vector; ``scalar`` itself where ``lanes`` is 1.
        """
        return scalar if lanes == 1 else tirx.Broadcast(scalar, lanes)

    def gather(self, scalars: Sequence[Expr]) -> Expr:
        """Make a vector of as many numbers.

        Args:
            scalars: One or more expressions of one type.

        Returns:
            The vector, in their order; the scalar itself where there is one.
        """
        return scalars[0] if len(scalars) == 1 else tirx.Shuffle(list(scalars), list(range(len(scalars))))

    def narrowed(self, vector: Expr, lanes: int) -> Expr:
        """Take the first numbers of a vector.

        Args:
            vector: Of at least so many lanes.
            lanes: How many numbers to take.

        Returns:
            The shorter vector, a scalar where ``lanes`` is 1; ``vector`` itself where it has as many.
        """
        if vector.ty.dtype.lanes == lanes:
            return vector
        return tirx.Shuffle([vector], list(range(lanes)))

    def _index(self, value: Expr) -> Expr:
        return self.integer(value) if isinstance(value, int) else value
