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
    """Writes what a work-item does. Numbers are vectors of four ``dtype``; ``memory`` is what they are stored as."""

    def __init__(self, dtype: str = FLOAT32, memory: str = FLOAT32) -> None:
        super().__init__(lanes=LANES, dtype=dtype)
        self.memory = memory
        self.vector = f"{dtype}x{LANES}"

    @contextmanager
    def thread(self, tag: str, extent: int) -> Iterator[Expr]:
        """Do what follows once for each of ``extent`` work-items or work-groups, by TVM's name for the axis."""
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
        """Allocate ``count`` vectors; each index into "local" ones is a constant, so that they are registers."""
        made = tirx.decl_buffer(
            (count,), self.dtype if lanes == 1 else f"{self.dtype}x{lanes}", name=self._name(name), scope=scope
        )
        self.add(tirx.AllocBuffer(made))
        return made

    def get(self, buffer: tirx.Var, index: Expr) -> Expr:
        return tirx.BufferLoad(buffer, [self._index(index)])

    def put(self, buffer: tirx.Var, index: Expr, value: Expr) -> None:
        self.add(tirx.BufferStore(buffer, value, [self._index(index)]))

    def barrier(self) -> None:
        """Wait for all work-items of the group."""
        self.add(tirx.Evaluate(tirx.call_intrin("int32", "tirx.tvm_storage_sync", "shared")))

    # Global memory

    def array(self, name: str, size: int) -> tirx.Var:
        """Declare numbers in memory, for an entry's parameter."""
        return tirx.decl_buffer((self.integer(size),), self.memory, name=name)

    def read(self, buffer: tirx.Var, *at: Expr) -> Expr:
        """Read a vector, as ``dtype``; ``at`` is the index of its first element."""
        return self.cast(self.load(buffer, *map(self._index, at)), self.dtype)

    def read_scalar(self, buffer: tirx.Var, *at: Expr) -> Expr:
        return self.cast(self.scalar(buffer, *map(self._index, at)), self.dtype)

    def write(self, buffer: tirx.Var, value: Expr, *at: Expr) -> None:
        self.store(buffer, self.cast(value, str(buffer.ty.dtype)), *map(self._index, at))

    def write_scalar(self, buffer: tirx.Var, value: Expr, *at: Expr) -> None:
        self.store_scalar(buffer, self.cast(value, str(buffer.ty.dtype)), *map(self._index, at))

    def read_image(self, image: tirx.Var, x: Expr, y: Expr, layer: Expr) -> Expr:
        """Read a texel; zeros outside the image."""
        lanes = tirx.Ramp(self.integer(0), self.integer(1), LANES)
        at = [image.data, *map(self._index, (x, y, layer)), self._texel(image), lanes]
        texel = tirx.call_intrin(f"{image.ty.dtype}x{LANES}", "tirx.texture2d_load", *at)
        return self.cast(texel, self.dtype)

    def write_image(self, image: tirx.Var, value: Expr, x: Expr, y: Expr, layer: Expr) -> None:
        at = [image.data, *map(self._index, (x, y, layer)), self._texel(image)]
        value = self.cast(value, str(image.ty.dtype))
        self.add(tirx.Evaluate(tirx.call_intrin(f"{image.ty.dtype}x{LANES}", "tirx.texture2d_store", *at, value)))

    def _texel(self, image: tirx.Var) -> Expr:
        """The bits of a texel, by which TVM's generator knows the type of its numbers."""
        return self.integer(np.dtype(str(image.ty.dtype)).itemsize * 8 * LANES)

    # Values

    def lane(self, vector: Expr, lane: int) -> Expr:
        """Take one number of a vector."""
        return tirx.Shuffle([vector], [lane])

    def slice(self, vectors: Expr, which: int) -> Expr:
        """Take one vector of several."""
        return tirx.Shuffle([vectors], list(range(which * LANES, (which + 1) * LANES)))

    def spread(self, scalar: Expr, lanes: int = LANES) -> Expr:
        """Put a number into all lanes."""
        return scalar if lanes == 1 else tirx.Broadcast(scalar, lanes)

    def gather(self, scalars: Sequence[Expr]) -> Expr:
        """Make a vector of as many numbers."""
        return scalars[0] if len(scalars) == 1 else tirx.Shuffle(list(scalars), list(range(len(scalars))))

    def narrowed(self, vector: Expr, lanes: int) -> Expr:
        """Take the first ``lanes`` numbers of a vector."""
        if vector.ty.dtype.lanes == lanes:
            return vector
        return tirx.Shuffle([vector], list(range(lanes)))

    def _index(self, value: Expr) -> Expr:
        return self.integer(value) if isinstance(value, int) else value
