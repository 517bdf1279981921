"""How the values of a stage lie in memory, and how a work-item reads and writes its pixels there."""

from __future__ import annotations

from dataclasses import replace

from tvm import tirx

from sr_tvm.codegen.builder import Expr
from sr_tvm.regions.value import NCHW, TEXTURE, Layout, Value
from sr_tvm.targets.opencl.code import GpuBuilder
from sr_tvm.targets.opencl.shares import LANES

GROUPED = Layout("NCHW4c")  # the channels of a pixel in groups of four, each group a plane of its own


def stored(value: Value, image: bool, dtype: str) -> Value:
    """Describe a value as it lies between two kernels: its channels in groups of four.

    Args:
        value: Of a region.
        image: Whether it is an image, whose texels are groups of four channels; else a buffer.
        dtype: The element type that it is kept in.

    Returns:
        The same value in that type, layout and memory.
    """
    return replace(value, dtype=dtype, layout=GROUPED, scope=TEXTURE if image else value.scope)


class ValueMemory:
    """A value in memory, of pictures of ``height`` x ``width`` pixels.

    Attributes:
        groups: Groups of four channels, the last of which may be padded.
        buffer: The kernel's parameter.
    """

    def __init__(self, b: GpuBuilder, value: Value, n: int, height: int, width: int) -> None:
        self.b, self.value, self.height, self.width = b, value, height, width
        self.groups = -(-value.channels // LANES)
        shape = [b.integer(size) for size in value.shape(n, height, width)]
        self.buffer = tirx.decl_buffer(shape, value.dtype, name=value.name, scope=value.scope)

    @property
    def planar(self) -> bool:
        """Whether each channel is a plane of its own, as at the borders of a region."""
        return self.value.layout == NCHW

    @property
    def image(self) -> bool:
        """Whether it is an image rather than a buffer."""
        return self.value.scope == TEXTURE

    @property
    def border(self) -> bool:
        """Whether what lies outside the picture reads as zero."""
        return self.image

    def read(self, n: Expr, group: Expr, y: Expr, x: Expr, channels: int = LANES) -> list[Expr]:
        """Read the numbers of one pixel.

        Args:
            n: Which picture of the batch.
            group: Which four channels.
            y: Row of the pixel.
            x: Column of the pixel.
            channels: How many of the four to read, from the first on.

        Returns:
            So many scalars of the builder's element type.
        """
        if self.planar:
            first = group * LANES
            return [self.b.read_scalar(self.buffer, n, first + i, y, x) for i in range(channels)]
        vector = self.b.bind("v", self.read_vector(n, group, y, x))
        return [self.b.lane(vector, i) for i in range(channels)]

    def read_vector(self, n: Expr, group: Expr, y: Expr, x: Expr, channels: int = LANES) -> Expr:
        """Read a group of channels of one pixel.

        Args:
            n: Which picture of the batch.
            group: Which four channels.
            y: Row of the pixel.
            x: Column of the pixel.
            channels: How many of the four there are, where each channel is a plane; the others are zeros.

        Returns:
            A vector of four of the builder's element type.
        """
        if self.image:
            return self.b.read_image(self.buffer, x, y, self._layer(n, group))
        if not self.planar:
            return self.b.read(self.buffer, n, group, y, x, 0)
        scalars = self.read(n, group, y, x, channels)
        return self.b.gather(scalars + [self.b.real(0)] * (LANES - channels))

    def write(self, n: Expr, group: Expr, y: Expr, x: Expr, vector: Expr) -> None:
        """Write a group of channels of one pixel; not for planes.

        Args:
            n: Which picture of the batch.
            group: Which four channels.
            y: Row of the pixel.
            x: Column of the pixel.
            vector: Four numbers, converted to the element type in memory.
        """
        if self.image:
            self.b.write_image(self.buffer, vector, x, y, self._layer(n, group))
        else:
            self.b.write(self.buffer, vector, n, group, y, x, 0)

    def _layer(self, n: Expr, group: Expr) -> Expr:
        return n * self.groups + group
