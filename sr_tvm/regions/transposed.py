"""A transposed convolution as a plain one whose outputs a pixel shuffle puts in place: the weights.

Of stride s, input pixel i and tap k of a transposed convolution meet in output pixel s i + k - p (p the padding at the
start). Output s q + a, for a in 0 .. s - 1, therefore gathers the inputs q + d whose tap k = a + p - s d exists: a
convolution for each a, all of them over q. Together they are one convolution of s^2 as many outputs, with the weights
of the taps that exist and zeros elsewhere, and a shuffle. Inputs outside the picture are absent in the one and zero in
the other, so the border is exact too.
"""

from __future__ import annotations

import numpy as np


def as_convolution(weight: np.ndarray, groups: int, stride: int, top: int, left: int) -> np.ndarray:
    """Rearrange the weights of a transposed convolution to those of the plain one that a pixel shuffle follows.

    Args:
        weight: (I, O / groups, kh, kw), of any element type.
        groups: Of the convolution, both of the given and of the made one.
        stride: Output pixels for each input pixel along both axes, the factor of the shuffle.
        top: Rows that the transposed convolution pads, or rather cuts off, before its first output row.
        left: Columns that it cuts off before its first output column.

    Returns:
        (O stride^2, I / groups, kh', kw') of the same element type, with odd kh' and kw' and zeros where no tap exists.
    """
    inputs, _, kh, kw = weight.shape
    rows, columns = _taps(kh, stride, top), _taps(kw, stride, left)
    up, side = (max(abs(d) for _, d, _ in taps) for taps in (rows, columns))
    by_group = weight.reshape(groups, inputs // groups, -1, kh, kw)
    shape = (groups, by_group.shape[2], stride, stride, inputs // groups, 2 * up + 1, 2 * side + 1)
    made = np.zeros(shape, weight.dtype)
    for a, dy, ky in rows:
        for b, dx, kx in columns:
            made[:, :, a, b, :, up + dy, side + dx] = by_group[:, :, :, ky, kx].transpose(0, 2, 1)
    return made.reshape(-1, *shape[4:])


def _taps(kernel: int, stride: int, before: int) -> list[tuple[int, int, int]]:
    """Return (place a in the cell, offset d of the input, tap k) along one axis: a + p - s d = k."""
    cells = ((a, k, a + before - k) for a in range(stride) for k in range(kernel))
    return [(a, far // stride, k) for a, k, far in cells if far % stride == 0]
