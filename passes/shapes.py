"""Shapes whose batch, height and width may be runtime values: dimensions are ints or TVM's symbolic expressions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod
from typing import TypeAlias

import tvm
from tvm import relax
from tvm.sym import Analyzer

Dim: TypeAlias = "int | tvm.ir.Expr"


def dims(expr: relax.Expr) -> tuple[Dim, ...] | None:
    """List the dimensions of a tensor.

    Args:
        expr: An expression that has a type.

    Returns:
        Ints where they are known, else TVM's symbolic expressions; None for what has no shape, such as a tuple.
    """
    return type_dims(expr.ty)


def type_dims(kind: tvm.ir.Type) -> tuple[Dim, ...] | None:
    """List the dimensions of a tensor type, like :func:`dims`.

    Args:
        kind: Any type of Relax.

    Returns:
        Ints where they are known, else TVM's symbolic expressions; None for what has no shape.
    """
    if not isinstance(kind, relax.TensorType) or not isinstance(kind.shape, relax.ShapeExpr):
        return None
    return tuple(int(n) if isinstance(n, tvm.tirx.IntImm | int) else n for n in kind.shape)


def static(dim: Dim) -> int | None:
    """Return a dimension's number.

    Args:
        dim: One of those that :func:`dims` lists.

    Returns:
        The number; None where only the run tells it.
    """
    return dim if isinstance(dim, int) else None


def same(first: Sequence[Dim] | None, second: Sequence[Dim] | None) -> bool:
    """Tell whether two shapes are equal at every run; ``2 * h`` and ``h + h`` are.

    Args:
        first: Dimensions, None where the shape is unknown.
        second: Dimensions, None where the shape is unknown.

    Returns:
        False also where one of the two is unknown, or where TVM can't prove that they are equal.
    """
    if first is None or second is None or len(first) != len(second):
        return False
    analyzer = None
    for a, b in zip(first, second, strict=True):
        if isinstance(a, int) and isinstance(b, int):
            if a != b:
                return False
            continue
        analyzer = analyzer or Analyzer()
        if not analyzer.can_prove_equal(a, b):
            return False
    return True


def symbols(kinds: Iterable[tvm.ir.Type], bare: bool = False) -> set[tvm.tirx.Var]:
    """Collect the symbols in the dimensions of tensors.

    Args:
        kinds: Types of the tensors.
        bare: Collect only those symbols that are a dimension by themselves: of ``2 * h`` nothing.

    Returns:
        The symbols.
    """
    if not bare:
        return {symbol for kind in kinds for symbol in relax.analysis.tir_vars_in_type(kind)}
    return {n for kind in kinds for n in type_dims(kind) or () if isinstance(n, tvm.tirx.Var)}


def has_symbols(function: relax.Function) -> bool:
    """Tell whether a parameter of a function has a dimension that only the run tells.

    Args:
        function: Of Relax.

    Returns:
        False where all shapes of all parameters are known.
    """
    shapes = [dims(param) or () for param in function.params]
    return any(not isinstance(n, int) for shape in shapes for n in shape)


def tensor_bytes(kind: tvm.ir.Type) -> int:
    """Count the bytes of a tensor, or of all tensors of a tuple.

    Args:
        kind: Its type. A symbol counts as 1, so what depends on the input's size is bytes for each pixel of it.

    Returns:
        Bytes.
    """
    if isinstance(kind, relax.TupleType):
        return sum(tensor_bytes(field) for field in kind.fields)
    shape = type_dims(kind)
    assert shape is not None
    return prod(_at_one(n) for n in shape) * tvm.runtime.DataType(str(kind.dtype)).itemsize


def _at_one(dim: Dim) -> int:
    if isinstance(dim, int):
        return dim
    analyzer = Analyzer()
    for symbol in symbols([relax.TensorType(relax.ShapeExpr([dim]), "float32")]):
        analyzer.bind(symbol, tvm.tirx.IntImm("int64", 1))
    number = analyzer.simplify(dim)
    return int(number) if isinstance(number, tvm.tirx.IntImm) else 1
