"""The numbers a kernel computes with. In memory, between kernels, they are always float32. Free of TVM."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sr_tvm.errors import SrTvmError
from sr_tvm.regions import value
from sr_tvm.regions.region import Conv, Pointwise, Region


@dataclass(frozen=True)
class Element:
    """A type of numbers that kernels compute with.

    Attributes:
        dtype: its name, as TVM has it.
        bytes: of one number.
        emulated: for a processor that has no arithmetic of this type: every step is done in float32 and rounded. That
            gives what a processor with such arithmetic gives, but for rounding twice in a few sums, and is slow.
    """

    dtype: str
    bytes: int
    emulated: bool = False


FLOAT32 = Element(value.FLOAT32, 4)
FLOAT16 = Element("float16", 2)
EMULATED_FLOAT16 = Element("float16", 2, emulated=True)
ELEMENTS = {element.dtype: element for element in (FLOAT32, FLOAT16)}
EMULATED = {element.dtype: element for element in (FLOAT32, EMULATED_FLOAT16)}


def check_range(region: Region, element: Element) -> None:
    """Refuse weights that an element type cannot hold.

    The bounds of a clip may be out of its range: they become infinite, and no value reaches beyond them.

    Args:
        region: Whose weights, biases and parameters are looked at.
        element: The type that they will be rounded to.

    Raises:
        SrTvmError: A weight, bias or parameter is too large, or not a number.
    """
    most = float(np.finfo(element.dtype).max)
    for node in region.nodes:
        arrays: tuple[np.ndarray, ...] = ()
        if isinstance(node, Conv):
            arrays = (node.weight, node.bias)
        elif isinstance(node, Pointwise) and node.function != "clip":
            arrays = node.parameters
        for array in arrays:
            if not (largest := float(np.abs(array).max(initial=0))) <= most:  # NaN is refused, too
                raise SrTvmError(f"a weight of the network is {largest:.4g}, over the {most:.0f} of {element.dtype}")
