"""Read operators of high-level Relax as nodes of a streaming region, or say why one cannot be such."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import tvm
from tvm import relax

from sr_tvm.passes import fold_pixel_shuffle, mapping
from sr_tvm.passes.constants import array, per_channel
from sr_tvm.passes.convolution import Convolution
from sr_tvm.passes.graph import RelaxGraph
from sr_tvm.passes.mapping import Axes
from sr_tvm.passes.shapes import dims, same, static
from sr_tvm.regions.region import Add, Concat, Conv, Node, Pointwise

Make = Callable[[str, tuple[str, ...]], Node]


@dataclass(frozen=True)
class RegionStep:
    """What one operator of ``main`` is in a region.

    Attributes:
        operator: Its name for reports, a convolution's with the kernel: ``conv2d 3x3``.
        axes: Its mapping type along each axis.
        inputs: The variables that it reads.
        make: Its node, as a function of the node's name and the names of its inputs; None for a pixel shuffle, which
            has no node: it is how the value it reads is stored.
        shuffle: The factor of that shuffle; else 1.
        order: (channels,), which channel the shuffle's store wants in each place; None where it is PyTorch's order.
    """

    operator: str
    axes: Axes
    inputs: tuple[relax.Var, ...]
    make: Make | None
    shuffle: int = 1
    order: np.ndarray | None = None


@dataclass(frozen=True)
class Refusal:
    """Why an operator streams in no region.

    Attributes:
        operator: Its name for reports.
        axes: Its mapping type along each axis; None for an unknown operator.
        reason: In words.
    """

    operator: str
    axes: Axes | None
    reason: str


class _No(Exception):
    """A reason, on its way to the :class:`Refusal`."""


def read(mod: tvm.IRModule, graph: RelaxGraph, var: relax.Var) -> RegionStep | Refusal | None:
    """Read the operator that a variable is bound to as a step of a streaming region.

    Args:
        mod: The module that the function is in.
        graph: The function, high-level Relax after the folding passes.
        var: A variable that is bound in it.

    Returns:
        The step, or the reason why the operator cannot stream; None for what is no operator on tensors.
    """  # noqa: DOC501  caught below
    call = graph.values[var]
    if not isinstance(call, relax.Call) or not isinstance(call.op, tvm.ir.Op):
        return None
    if (shuffle := fold_pixel_shuffle.scale_and_order(mod, call)) is not None:
        return _shuffle(call, *shuffle)
    if call.op.name == "relax.call_tir":
        return Refusal(call.args[0].name_hint, None, "a TIR function of unknown meaning")
    name = mapping.operator_name(call.op.name)
    axes = mapping.operator_axes(name)
    conv = Convolution.of(call)
    label = name if conv is None else f"{name} {'x'.join(map(str, conv.weight.shape[2:]))}"
    if conv is not None or name in ("conv2d", "conv2d_transpose"):
        axes = mapping.convolution_axes(*_geometry(call))
    reader = READERS.get(name)
    try:
        if reader is None:
            raise _No("no operator of a region")
        _check(var, call)
        inputs, make = reader(call)
        whole = dims(call)
        for data in inputs:
            given = dims(data)
            if given is None or whole is None or not same((given[0], *given[2:]), (whole[0], *whole[2:])):
                raise _No("its input and its output differ in batch, height or width")
    except _No as no:
        return Refusal(label, axes, f"{label}: {no}")
    assert axes is not None
    return RegionStep(label, axes, inputs, make)


def _check(var: relax.Var, call: relax.Call) -> None:
    shape = dims(var)
    if shape is None or len(shape) != 4 or static(shape[1]) is None:
        raise _No("not a tensor of batch, channels, height and width with a known number of channels")
    if str(var.ty.dtype) != "float32":
        raise _No(f"{var.ty.dtype}, not float32")


def _variables(*exprs: relax.Expr) -> tuple[relax.Var, ...]:
    if not all(isinstance(e, relax.Var) for e in exprs):
        raise _No("it reads a constant as data")
    return exprs


def _geometry(call: relax.Call) -> tuple[tuple[int, int], bool, bool]:
    """Return the kernel, whether output and input lie on one grid, and whether each channel reads one alone."""
    attrs, weight = call.attrs, dims(call.args[1])
    assert weight is not None
    deep, wide, kh, kw = (static(n) or 0 for n in weight)
    same_size = call.op.name == "relax.nn.conv2d" and [int(p) for p in attrs.padding] == [kh // 2, kw // 2] * 2
    unit = all(int(n) == 1 for n in (*attrs.strides, *attrs.dilation))
    return (kh, kw), same_size and unit and kh % 2 == 1 and kw % 2 == 1, int(attrs.groups) == deep and wide == 1


def _conv(call: relax.Call) -> tuple[tuple[relax.Var, ...], Make]:
    conv = Convolution.of(call)
    if conv is None:
        raise _No("its weights are no constant in OIHW order, or its data is not NCHW")
    _, fits, _ = _geometry(call)
    if not fits:
        raise _No("only stride 1 without dilation, of an odd kernel padded by half of it, streams")
    weight, groups = np.ascontiguousarray(conv.weight, dtype=np.float32), conv.groups
    bias = np.zeros(len(weight), np.float32)
    return _variables(conv.data), lambda name, inputs: Conv(name, inputs, weight, bias, groups)


def _pointwise(data: relax.Expr, function: str, *parameters: np.ndarray) -> tuple[tuple[relax.Var, ...], Make]:
    """Return a step of :class:`Pointwise`; each parameter is given for each channel, or one for all."""
    shape = dims(data)
    assert shape is not None
    channels = static(shape[1])
    assert channels is not None
    numbers = tuple(np.broadcast_to(np.asarray(p, np.float32).reshape(-1), (channels,)).copy() for p in parameters)

    def make(name: str, inputs: tuple[str, ...]) -> Node:
        return Pointwise(name, (inputs[0],), function, numbers, channels)  # type: ignore[arg-type]

    return _variables(data), make


def _prelu(call: relax.Call) -> tuple[tuple[relax.Var, ...], Make]:
    slopes = array(call.args[1])
    if slopes is None or int(call.attrs.axis) != 1:
        raise _No("its slopes are no constant of one number a channel")
    return _pointwise(call.args[0], "prelu", slopes)


def _clip(call: relax.Call) -> tuple[tuple[relax.Var, ...], Make]:
    low, high = (float(getattr(arg, "value", np.nan)) for arg in call.args[1:3])
    if np.isnan(low) or np.isnan(high):
        raise _No("its limits are no constants")
    return _pointwise(call.args[0], "clip", np.array(low), np.array(high))


def _limit(call: relax.Call) -> tuple[tuple[relax.Var, ...], Make]:
    """Return the step of a maximum or minimum with a constant."""
    data, numbers = _beside_constant(call)
    if call.op.name == "relax.maximum":
        if not numbers.any():
            return _pointwise(data, "relu")
        return _pointwise(data, "clip", numbers, np.array(np.inf))
    return _pointwise(data, "clip", np.array(-np.inf), numbers)


def _sum(call: relax.Call) -> tuple[tuple[relax.Var, ...], Make]:
    """Return the step of an addition or subtraction: of a constant a shift, of two tensors of one shape their sum.

    Raises:
        _No: It is neither.
    """
    negative = call.op.name == "relax.subtract"
    if any(isinstance(arg, tvm.ir.GenericConst) for arg in call.args):
        data, numbers = _beside_constant(call)
        if negative and not data.same_as(call.args[0]):
            raise _No("it subtracts from a constant")
        return _pointwise(data, "shift", -numbers if negative else numbers)
    if negative or not same(dims(call.args[0]), dims(call.args[1])):
        raise _No("only the sum of two tensors of one shape streams")
    channels = _channels(call)
    return _variables(*call.args), lambda name, inputs: Add(name, (inputs[0], inputs[1]), channels)


def _scale(call: relax.Call) -> tuple[tuple[relax.Var, ...], Make]:
    data, numbers = _beside_constant(call)
    if call.op.name == "relax.divide":
        if not data.same_as(call.args[0]) or not numbers.all():
            raise _No("only division by a constant that is not zero streams")
        numbers = 1.0 / numbers
    return _pointwise(data, "scale", numbers)


def _concat(call: relax.Call) -> tuple[tuple[relax.Var, ...], Make]:
    if not isinstance(call.args[0], relax.Tuple) or int(call.attrs.axis) not in (1, -3):
        raise _No("only along the channels")
    fields = _variables(*call.args[0].fields)
    if any(_channels(field) is None for field in fields):
        raise _No("not all of its inputs have a known number of channels")
    channels = _channels(call)
    return fields, lambda name, inputs: Concat(name, inputs, channels)


def _shuffle(call: relax.Call, scale: int, order: str) -> RegionStep | Refusal:
    axes = mapping.operator_axes(fold_pixel_shuffle.NAME)
    assert axes is not None
    data = call.args[1].fields[0]
    if not isinstance(data, relax.Var) or str(data.ty.dtype) != "float32":
        return Refusal(fold_pixel_shuffle.NAME, axes, f"pixel shuffle in {data.ty.dtype}")
    wanted = fold_pixel_shuffle.as_crd(_channels(data), scale) if order == "DCR" else None
    return RegionStep(fold_pixel_shuffle.NAME, axes, (data,), None, scale, wanted)


def _beside_constant(call: relax.Call) -> tuple[relax.Expr, np.ndarray]:
    """Return the tensor and the numbers, one a channel, of arithmetic with a constant.

    Raises:
        _No: There is no such constant.
    """
    for data, other in ((0, 1), (1, 0)):
        numbers = per_channel(call.args[other], call.args[data])
        if numbers is not None and same(dims(call), dims(call.args[data])):
            return call.args[data], numbers
    raise _No("only arithmetic with one constant number a channel streams")


def _channels(expr: relax.Expr) -> int:
    shape = dims(expr)
    channels = static(shape[1]) if shape is not None and len(shape) == 4 else None
    if channels is None:
        raise _No("a tensor without a known number of channels")
    return channels


READERS: dict[str, Callable[[relax.Call], tuple[tuple[relax.Var, ...], Make]]] = {
    "conv2d": _conv,
    "relu": lambda call: _pointwise(call.args[0], "relu"),
    "prelu": _prelu,
    "leakyrelu": lambda call: _pointwise(call.args[0], "prelu", np.array(float(call.attrs.alpha))),
    "clip": _clip,
    "relu6": lambda call: _pointwise(call.args[0], "clip", np.array(0.0), np.array(6.0)),
    "maximum": _limit,
    "minimum": _limit,
    "add": _sum,
    "subtract": _sum,
    "multiply": _scale,
    "divide": _scale,
    "concat": _concat,
}


def with_bias(conv: Conv, shift: Pointwise) -> Conv:
    """Join a convolution and the shift after it into one convolution.

    Args:
        conv: Of any bias.
        shift: A :class:`Pointwise` of function ``shift`` that reads it.

    Returns:
        The convolution with both biases, under the shift's name.
    """
    return replace(conv, name=shift.name, bias=conv.bias + shift.parameters[0])
