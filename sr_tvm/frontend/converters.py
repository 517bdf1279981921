"""Converters that replace TVM's: same meaning, but high-level Relax operators, which the passes can read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from tvm import relax

Converter = Callable[[relax.BlockBuilder, list[Any], dict[str, Any]], relax.Expr]


def _clip(bb: relax.BlockBuilder, inputs: list[Any], attrs: dict[str, Any]) -> relax.Expr:
    """Return one operator, where TVM emits two TIR functions; as in ONNX Runtime, max is the result where min > max.

    A bound that is NaN is no bound, as there.
    """
    result, bounds = inputs[0], []
    for index, none in ((1, -np.inf), (2, np.inf)):
        bound = inputs[index] if index < len(inputs) else None
        value = none if bound is None else float(bound.value.numpy())
        bounds.append(none if np.isnan(value) else value)
    low, high = min(bounds), bounds[1]
    if np.isfinite(low) and np.isfinite(high):
        return relax.op.clip(result, low, high)
    if np.isfinite(low):
        result = relax.op.maximum(result, relax.const(low, "float32"))
    if np.isfinite(high):
        result = relax.op.minimum(result, relax.const(high, "float32"))
    return result


def _pad(bb: relax.BlockBuilder, inputs: list[Any], attrs: dict[str, Any]) -> relax.Expr:
    """Return ``relax.op.nn.pad``, which fuses, where TVM emits a TIR function."""
    before, after = np.split(inputs[1].value.numpy(), 2)
    mode = {b"constant": "constant", b"reflect": "reflect", b"edge": "replicate", b"wrap": "circular"}[
        attrs.get("mode", b"constant")
    ]
    width = [int(n) for pair in zip(before, after, strict=True) for n in pair]
    return relax.op.nn.pad(inputs[0], width, mode, float(inputs[2].value.numpy()))


def _pairwise(op: Callable) -> Converter:
    """Return a converter of Max or Min of two inputs, which TVM would stack along a new axis and reduce."""
    return lambda bb, inputs, attrs: op(inputs[0], inputs[1])


def _gather(bb: relax.BlockBuilder, inputs: list[Any], attrs: dict[str, Any]) -> relax.Expr:
    """Return a take that does not warn of out-of-range indices at each build, as TVM's does; ours were checked."""
    return relax.op.take(inputs[0], inputs[1], attrs.get("axis", 0), mode="clip")


def _resize(bb: relax.BlockBuilder, inputs: list[Any], attrs: dict[str, Any]) -> relax.Expr:
    """Return a resize by sizes, or by whole scales of a variable size, which TVM would read as floats."""
    x = inputs[0]
    if inputs[2] is not None:
        size = [n * int(s) for n, s in zip(x.ty.shape, inputs[2].value.numpy(), strict=True)]
    else:
        size = inputs[3].value.numpy().tolist()
    mode = attrs["mode"].decode()
    return relax.op.image.resize2d(
        x,
        size=relax.ShapeExpr(size[2:]),
        roi=[0.0] * 4,
        layout="NCHW",
        method="nearest_neighbor" if mode == "nearest" else mode,
        coordinate_transformation_mode=attrs["coordinate_transformation_mode"].decode(),
        rounding_method=attrs["nearest_mode"].decode(),
        cubic_alpha=attrs["cubic_coeff_a"],
        cubic_exclude=attrs["exclude_outside"],
    )


CONVERTERS: dict[str, Converter] = {
    "Clip": _clip,
    "Gather": _gather,
    "Pad": _pad,
    "Max": _pairwise(relax.op.maximum),
    "Min": _pairwise(relax.op.minimum),
    "Resize": _resize,
}
