"""The numbers of Winograd's convolution F(m x m, 3 x 3): its matrices, exact, and the weights transformed by them.

Of each axis, m results come from m + 2 inputs by m + 2 products: y = A^T ((G g) * (B^T x)). The matrices are Cook's and
Toom's for :data:`POINTS` and infinity (Lavin and Gray, 2015). Points come in pairs of opposite sign, which halves the
additions. 3/4 and 3/2 round better than the usual 1 and 2: with 512 channels the error is 4e-6 of the peak, not 1.2e-5.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from functools import cache

import numpy as np

TAPS = 3  # of the kernel, along each axis
POINTS = {
    2: tuple(map(Fraction, ("0", "1", "-1"))),
    4: tuple(map(Fraction, ("0", "3/4", "-3/4", "3/2", "-3/2"))),
    6: tuple(map(Fraction, ("0", "1/2", "-1/2", "1", "-1", "2", "-2"))),
}
Matrix = tuple[tuple[Fraction, ...], ...]


@cache
def matrices(m: int) -> tuple[Matrix, Matrix, Matrix]:
    """Compute the matrices of Winograd's F(m, 3), exact, as the module's head says.

    Args:
        m: Results that are made at a time along an axis: 2, 4 or 6, a key of :data:`POINTS`.

    Returns:
        A^T (m, n), G (n, 3) and B^T (n, n), where n = m + 2.

    Raises:
        KeyError: There are no points for ``m``.
    """
    points = POINTS[m]
    a = [[p**i for p in points] + [Fraction(i == m - 1)] for i in range(m)]
    norm = [_product(p - q for q in points if q != p) for p in points]
    g = [[p**j / f for j in range(TAPS)] for p, f in zip(points, norm, strict=True)]
    g.append([Fraction(j == TAPS - 1) for j in range(TAPS)])
    b = [_coefficients([q for q in points if q != p]) + [Fraction(0)] for p in points]
    b.append(_coefficients(list(points)))
    return _fixed(a), _fixed(g), _fixed(b)


def transform_weight(weight: np.ndarray, m: int) -> np.ndarray:
    """Transform the weights of 3 x 3 convolutions for F(m x m, 3 x 3): G g G^T of each kernel g, computed in float64.

    Args:
        weight: (O, I, 3, 3), of a float type.
        m: Results that are made at a time along each axis: 2, 4 or 6.

    Returns:
        (n * n, I, O) float32, n = m + 2, one (I, O) matrix for each place of the transformed kernel.
    """
    g = np.array([[float(v) for v in row] for row in matrices(m)[1]])
    o, i = weight.shape[:2]
    taps = weight.transpose(2, 3, 1, 0).reshape(TAPS * TAPS, i * o)
    return (np.kron(g, g) @ taps.astype(np.float64)).astype(np.float32).reshape(-1, i, o)


def _fixed(rows: list[list[Fraction]]) -> Matrix:
    return tuple(map(tuple, rows))


def _product(values: Iterable[Fraction]) -> Fraction:
    result = Fraction(1)
    for v in values:
        result *= v
    return result


def _coefficients(roots: list[Fraction]) -> list[Fraction]:
    """Return the coefficients of the polynomial with these roots, the constant first."""
    result = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *result]
        result = [s - root * r for s, r in zip(shifted, [*result, Fraction(0)], strict=True)]
    return result
