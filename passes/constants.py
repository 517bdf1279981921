"""Constants of Relax as arrays of numbers, and the other way round."""

from __future__ import annotations

import numpy as np
import tvm
from tvm import relax

from sr_tvm.passes.shapes import dims, static


def array(expr: relax.Expr) -> np.ndarray | None:
    """The numbers of a floating-point constant as float64, so that folding rounds once; None for anything else."""
    if not isinstance(expr, tvm.ir.GenericConst) or not str(expr.value.dtype).startswith("float"):
        return None
    return expr.value.numpy().astype("float64")


def per_channel(expr: relax.Expr, data: relax.Expr) -> np.ndarray | None:
    """A scalar or (1, C, 1, 1) constant beside an NCHW tensor as an array of C numbers; None for anything else."""
    numbers, whole = array(expr), dims(data)
    channels = static(whole[1]) if whole is not None and len(whole) == 4 else None
    if numbers is None or channels is None:
        return None
    shape = (1,) * (4 - numbers.ndim) + numbers.shape
    if len(shape) != 4 or shape[0] != 1 or shape[2:] != (1, 1) or shape[1] not in (1, channels):
        return None
    return np.broadcast_to(numbers.reshape(-1), (channels,)).copy()


def constant(numbers: np.ndarray, like: relax.Expr) -> relax.Expr:
    """``numbers`` as a constant of the element type of the tensor ``like``."""
    return relax.const(np.ascontiguousarray(numbers), str(like.ty.dtype))


def channel_constant(numbers: np.ndarray, like: relax.Expr, axis: int = 1, rank: int = 4) -> relax.Expr:
    """One number for each channel, shaped to broadcast along ``axis`` of a tensor of that rank."""
    shape = [1] * rank
    shape[axis] = -1
    return constant(numbers.reshape(shape), like)
