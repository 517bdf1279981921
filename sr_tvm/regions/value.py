"""The `Value` record: what flows between operators, kernels and devices, and how it lies in memory."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

FLOAT32, FLOAT16 = "float32", "float16"
GLOBAL, TEXTURE, VTCM = "global", "global.texture", "global.vtcm"  # as TVM calls them
_AXIS = re.compile(r"([NCHW])|([1-9][0-9]*)(c)")


@dataclass(frozen=True)
class Layout:
    """The order of a tensor's axes in memory, in TVM's notation.

    "NCHW" has planes of channels; "NHCW" all channels of a row together; "NHWC4c" the channels of a pixel in groups of
    four, the last of which is padded.

    Raises:
        ValueError: Not each of N, C, H and W once, or an axis that is split otherwise than channels are, once.
    """

    axes: str

    def __post_init__(self) -> None:
        found = _AXIS.findall(self.axes)
        plain = [axis for axis, _, _ in found if axis]
        split = [c for _, _, c in found if c]
        if "".join(map("".join, found)) != self.axes or sorted(plain) != ["C", "H", "N", "W"] or len(split) > 1:
            raise ValueError(f"layout {self.axes!r}: N, C, H and W once each, and channels split once at most (NHWC4c)")

    @property
    def _axes(self) -> list[str]:
        return [axis or "c" for axis, _, _ in _AXIS.findall(self.axes)]

    @property
    def group(self) -> int:
        """How many channels lie side by side where channels are split; 1 where they are not."""
        return next((int(size) for _, size, c in _AXIS.findall(self.axes) if c), 1)

    def shape(self, n: Any, channels: int, height: Any, width: Any) -> tuple[Any, ...]:
        """Compute the shape of the buffer that holds an (n, channels, height, width) tensor.

        Args:
            n: Pictures of a batch, a number or a symbol of TVM.
            channels: Of the tensor; padded to whole groups where channels are split.
            height: Rows, a number or a symbol.
            width: Columns, a number or a symbol.

        Returns:
            Sizes along the axes of the layout, in its order.
        """
        size = {"N": n, "C": -(-channels // self.group), "H": height, "W": width, "c": self.group}
        return tuple(size[axis] for axis in self._axes)

    def pack(self, array: np.ndarray) -> np.ndarray:
        """Rearrange an array to what lies in memory; what pads the last group of channels is zero.

        Args:
            array: (N, C, H, W), of any element type.

        Returns:
            Contiguous, of :meth:`shape` and of the same element type.
        """
        n, c, h, w = array.shape
        groups = -(-c // self.group)
        padded = np.pad(array, ((0, 0), (0, groups * self.group - c), (0, 0), (0, 0)))
        split = padded.reshape(n, groups, self.group, h, w)
        order = ["NCcHW".index(axis) for axis in self._axes]
        if "c" not in self._axes:
            return np.ascontiguousarray(array.transpose(["NCHW".index(axis) for axis in self._axes]))
        return np.ascontiguousarray(split.transpose(order))

    def unpack(self, array: np.ndarray, channels: int) -> np.ndarray:
        """Rearrange what lies in memory to (N, C, H, W).

        Args:
            array: Of :meth:`shape`, of any element type.
            channels: C, without what pads the last group.

        Returns:
            (N, C, H, W), contiguous, of the same element type.
        """
        if "c" not in self._axes:
            return np.ascontiguousarray(array.transpose([self._axes.index(axis) for axis in "NCHW"]))
        split = array.transpose([self._axes.index(axis) for axis in "NCcHW"])
        n, groups, group, h, w = split.shape
        return np.ascontiguousarray(split.reshape(n, groups * group, h, w)[:, :channels])

    def __str__(self) -> str:
        return self.axes


NCHW, NHCW = Layout("NCHW"), Layout("NHCW")


@dataclass(frozen=True)
class Quantization:
    """Affine quantization: real = scale * (stored - zero_point), by tensor, or by index along ``axis``."""

    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    axis: int | None = None


@dataclass(frozen=True)
class Value:
    """A tensor (N, channels, H, W), N, H and W being its region's, and its form in memory.

    Attributes:
        name: Of the region's node that makes it.
        enlarged: Pixels of it for each pixel of the region, along each axis: the factor of a pixel shuffle.
        dtype: Of an element.
        layout: Order of its axes in memory.
        scope: The memory it lies in: "global", "global.texture" or "global.vtcm".
        quantization: What its integers mean; None where its numbers are themselves.
    """

    name: str
    channels: int
    enlarged: int = 1
    dtype: str = FLOAT32
    layout: Layout = NCHW
    scope: str = GLOBAL
    quantization: Quantization | None = None

    @property
    def key(self) -> tuple[str, int]:
        """What tells it from a region's other values: a node's value may be stored both plain and shuffled."""
        return self.name, self.enlarged

    def shape(self, n: Any, height: Any, width: Any) -> tuple[Any, ...]:
        """Compute the shape of its buffer.

        Args:
            n: N of the region, a number or a symbol of TVM.
            height: H of the region in pixels, before this value is enlarged; a number or a symbol.
            width: W of the region in pixels, likewise.

        Returns:
            Sizes along the axes of its layout, in that order.
        """
        r = self.enlarged
        tall, wide = (height, width) if r == 1 else (height * r, width * r)
        return self.layout.shape(n, self.channels, tall, wide)
