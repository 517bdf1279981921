"""Constants of Relax as arrays of numbers, and the other way round."""

from __future__ import annotations

import numpy as np
import tvm
from tvm import relax

from sr_tvm.passes.shapes import dims, static


def array(expr: relax.Expr) -> np.ndarray | None:
    """Read a floating-point constant in double precision, so that folding rounds once.

    Args:
        expr: Any expression.

    Returns:
        Its numbers as float64, in its own shape; None for what is no constant, or none of floating point.
    """
    if not isinstance(expr, tvm.ir.GenericConst) or not str(expr.value.dtype).startswith("float"):
        return None
    return expr.value.numpy().astype("float64")


def per_channel(expr: relax.Expr, data: relax.Expr) -> np.ndarray | None:
    """Read a scalar or (1, C, 1, 1) constant beside an NCHW tensor as one number for each channel.

    Args:
        expr: The constant to be.
        data: The tensor (N, C, H, W) that it is added to or multiplied with.

    Returns:
        (C,), float64; None for what is no such constant, or where C is not known.
    """
    numbers, whole = array(expr), dims(data)
    channels = static(whole[1]) if whole is not None and len(whole) == 4 else None
    if numbers is None or channels is None:
        return None
    shape = (1,) * (4 - numbers.ndim) + numbers.shape
    if len(shape) != 4 or shape[0] != 1 or shape[2:] != (1, 1) or shape[1] not in (1, channels):
        return None
    return np.broadcast_to(numbers.reshape(-1), (channels,)).copy()


def constant(numbers: np.ndarray, like: relax.Expr) -> relax.Expr:
    """Make a constant of the element type of another tensor.

    Args:
        numbers: Of any shape and dtype.
        like: The tensor whose element type the constant gets.

    Returns:
        The constant, in the shape of ``numbers``.
    """
    return relax.const(np.ascontiguousarray(numbers), str(like.ty.dtype))


def channel_constant(numbers: np.ndarray, like: relax.Expr, axis: int = 1, rank: int = 4) -> relax.Expr:
    """Make a constant that broadcasts one number for each channel along one axis.

    Args:
        numbers: (C,), of any dtype.
        like: A tensor of the element type that the constant gets.
        axis: Which axis of the tensor that it meets is the channels.
        rank: How many axes that tensor has.

    Returns:
        The constant of ``rank`` axes, all of length 1 but ``axis``, which has C.
    """
    shape = [1] * rank
    shape[axis] = -1
    return constant(numbers.reshape(shape), like)
