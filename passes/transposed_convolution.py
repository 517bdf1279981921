"""Write a transposed convolution as a plain one whose outputs a pixel shuffle puts in place.

How is told in :mod:`sr_tvm.regions.transposed`. It is less work: TVM's own lowering spreads the input with zeros and
multiplies k^2 taps for each of the s^2 outputs; here there are about k^2 / s^2, and with equal padding at both ends
never more than k^2.
"""

from __future__ import annotations

import numpy as np
import tvm
from tvm import relax

from sr_tvm.passes import fold_pixel_shuffle
from sr_tvm.passes.constants import constant
from sr_tvm.passes.convolution import Convolution
from sr_tvm.passes.graph import RelaxGraph
from sr_tvm.passes.log import Log
from sr_tvm.passes.shapes import dims
from sr_tvm.regions import transposed


@tvm.transform.module_pass(opt_level=0, name="TransposedConvolution")
class TransposedConvolution:
    """Replace conv2d_transpose whose output is stride times its input by conv2d and a pixel shuffle."""

    def __init__(self, log: Log | None = None) -> None:
        self.log = log or Log()

    def transform_module(self, mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
        """Replace each conv2d_transpose of ``main`` whose output is exactly stride times its input.

        Args:
            mod: High-level Relax of a network.

        Returns:
            A new module with the kernels of the shuffles added. Each replacement or refusal has a row in the log.
        """
        graph = RelaxGraph(mod["main"])
        builder = relax.BlockBuilder(mod)
        for var, value in list(graph.values.items()):
            conv = Convolution.of(value)
            if conv is None or not conv.transposed:
                continue
            where = f"conv2d_transpose ({var.name})"
            stride = _stride(conv)
            if stride is None:
                self.log.refuse(where, "its output is not a whole multiple of its input, alike in rows and columns")
                continue
            weight = as_convolution(conv, stride)
            padding = [n // 2 for n in weight.shape[2:]] * 2
            plain = relax.op.nn.conv2d(conv.data, constant(weight, value.args[1]), padding=padding, groups=conv.groups)
            if stride > 1:
                shape = dims(conv.data)
                assert shape is not None
                deep = (shape[0], len(weight), *shape[2:])
                plain = fold_pixel_shuffle.shuffle_call(builder, plain, deep, stride, "CRD", value.ty)
            graph.replace(var, plain)
            size = "x".join(map(str, weight.shape[2:]))
            self.log.rewrite("TransposedConvolution", where, f"conv2d {size}, then a pixel shuffle by {stride}")
        return graph.update(builder.finalize())


def _stride(conv: Convolution) -> int | None:
    """Return the stride where rows and columns have the same and the output is exactly that much larger, else None."""
    attrs = conv.call.attrs
    stride = int(attrs.strides[0])
    if int(attrs.strides[1]) != stride or any(int(n) != 1 for n in attrs.dilation):
        return None
    top, left, bottom, right = (int(n) for n in attrs.padding)
    ends = (top + bottom, left + right)
    for kernel, padding, extra in zip(conv.weight.shape[2:], ends, attrs.output_padding, strict=True):
        if kernel + int(extra) - padding != stride:
            return None
    return stride


def as_convolution(conv: Convolution, stride: int) -> np.ndarray:
    """Compute the weight of the plain convolution that stands before the shuffle.

    Args:
        conv: A transposed convolution of weight (I, O / groups, kh, kw).
        stride: Its s, in rows and columns alike.

    Returns:
        (O s^2, I / groups, kh', kw'), float64; kh' and kw' are odd.
    """
    top, left = (int(n) for n in conv.call.attrs.padding[:2])
    return transposed.as_convolution(conv.weight, conv.groups, stride, top, left)
