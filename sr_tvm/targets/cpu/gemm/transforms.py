"""The input's and the result's transforms of Winograd's convolution on vectors of channels, written out as TIR."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

from sr_tvm.codegen.builder import Expr, FunctionBuilder
from sr_tvm.codegen.winograd import matrices

Transform = Callable[[FunctionBuilder, Sequence[Expr], int], list[Expr]]


def input_transform(w: FunctionBuilder, d: Sequence[Expr], m: int) -> list[Expr]:
    """Write the input's transform B^T d along one axis of a tile.

    It is that of Winograd's F(m, 3), whose matrices are in :mod:`sr_tvm.codegen.winograd`. Points come in pairs of
    opposite sign: the rows of p and -p are E + p O and E - p O, with E the even terms and O the odd, which halves the
    additions.

    Args:
        w: The function that is being written.
        d: The m + 2 inputs of the axis, each a vector of channels, float32.
        m: Results of a tile along the axis.

    Returns:
        The m + 2 transformed vectors.
    """
    rows = matrices(m)[2]
    result = [_combine(w, rows[0], d)]
    for row in rows[1:-1:2]:
        even = [c if j % 2 == 0 else Fraction(0) for j, c in enumerate(row)]
        odd = [c if j % 2 else Fraction(0) for j, c in enumerate(row)]
        point = next(c for c in reversed(odd) if c)
        e = _combine(w, even, d)
        o = _combine(w, [c / point for c in odd], d)
        p = w.splat(float(point))
        result += [w.bind("x", e + p * o), w.bind("x", e - p * o)]
    return [*result, _combine(w, rows[-1], d)]


def output_transform(w: FunctionBuilder, v: Sequence[Expr], m: int) -> list[Expr]:
    """Write the result's transform A^T v along one axis of a tile.

    It is that of Winograd's F(m, 3), whose matrices are in :mod:`sr_tvm.codegen.winograd`. The columns of the points p
    and -p differ in the sign of every other row, so sums and differences of pairs are shared by all results.

    Args:
        w: The function that is being written.
        v: The m + 2 sums of products of the axis, each a vector of channels, float32.
        m: Results of a tile along the axis.

    Returns:
        The m result vectors.
    """
    a = matrices(m)[0]
    pairs = range(1, m, 2)
    sums = [w.bind("x", v[j] + v[j + 1]) for j in pairs]
    differences = [w.bind("x", v[j] - v[j + 1]) for j in pairs]
    result = []
    for i, row in enumerate(a):
        terms = [v[0], *(differences if i % 2 else sums), v[-1]]
        result.append(_combine(w, [row[0], *(row[j] for j in pairs), row[-1]], terms))
    return result


def square(w: FunctionBuilder, values: Sequence[Sequence[Expr]], m: int, transform: Transform) -> list[list[Expr]]:
    """Transform a square tile along its columns, then along its rows.

    Args:
        w: The function that is being written.
        values: The (m + 2) x (m + 2) vectors of a tile, row by row.
        m: Results of a tile along each axis.
        transform: :func:`input_transform` or :func:`output_transform`.

    Returns:
        Rows of vectors: (m + 2) x (m + 2) after the input's transform, m x m after the result's.
    """
    columns = [transform(w, column, m) for column in zip(*values, strict=True)]
    return [transform(w, row, m) for row in zip(*columns, strict=True)]


def _combine(w: FunctionBuilder, coefficients: Sequence[Fraction], values: Sequence[Expr]) -> Expr:
    """Return the sum of coefficients times vectors; a product with 1 costs nothing, others fuse with an addition."""
    terms = [(c, v) for c, v in zip(coefficients, values, strict=True) if c]
    terms.sort(key=lambda term: term[0] != 1)
    c, v = terms[0]
    total = v if c == 1 else w.splat(float(c)) * v
    for c, v in terms[1:]:
        total = total + v if c == 1 else total + w.splat(float(c)) * v
    return w.bind("x", total)
