"""Orders of the elements of several vectors: zipped, split, transposed, all of it in registers."""

from __future__ import annotations

from collections.abc import Sequence

from tvm import tirx

from sr_tvm.codegen.builder import Expr, FunctionBuilder


def zip_vectors(a: Expr, b: Expr, lanes: int) -> list[Expr]:
    """Interleave two vectors element by element: a0 b0 a1 b1 ...

    Args:
        a: A vector of ``lanes`` elements.
        b: Another of the same type.
        lanes: Elements of each.

    Returns:
        Two vectors of ``lanes`` elements, the first half of the sequence and the second.
    """
    order = [i // 2 + (lanes if i % 2 else 0) for i in range(2 * lanes)]
    return [tirx.Shuffle([a, b], order[half : half + lanes]) for half in (0, lanes)]


def split_vectors(a: Expr, b: Expr, lanes: int) -> list[Expr]:
    """Separate the even and the odd elements of two vectors that lie side by side, the inverse of :func:`zip_vectors`.

    Args:
        a: A vector of ``lanes`` elements.
        b: The one that follows it.
        lanes: Elements of each.

    Returns:
        Two vectors of ``lanes`` elements, the even ones and the odd ones.
    """
    return [tirx.Shuffle([a, b], list(range(phase, 2 * lanes, 2))) for phase in (0, 1)]


def interleave(b: FunctionBuilder, vectors: Sequence[Expr]) -> list[Expr]:
    """Interleave several vectors element by element: v0[0] v1[0] .. vK-1[0] v0[1] ...

    Args:
        b: Of as many lanes as the vectors have; names the vectors in between.
        vectors: v0 .. vK-1, K a power of two.

    Returns:
        K vectors of the same type, the sequence from its beginning.
    """
    if len(vectors) == 1:
        return list(vectors)
    even, odd = interleave(b, vectors[::2]), interleave(b, vectors[1::2])
    return [b.bind("z", v) for pair in zip(even, odd, strict=True) for v in zip_vectors(*pair, b.lanes)]


def transpose(b: FunctionBuilder, rows: Sequence[Expr]) -> list[Expr]:
    """Transpose a square in registers, by log2(lanes) steps of shuffles.

    Args:
        b: Of as many lanes, a power of two, as the square has rows; names the vectors in between.
        rows: As many vectors.

    Returns:
        The columns of the square, as many vectors.
    """
    lanes, rows = b.lanes, list(rows)
    half = lanes // 2
    while half:
        low = [lanes + j - half if j & half else j for j in range(lanes)]
        high = [lanes + j if j & half else j + half for j in range(lanes)]
        made = list(rows)
        for i in range(lanes):
            if not i & half:
                pair = [rows[i], rows[i + half]]
                made[i] = b.bind("t", tirx.Shuffle(pair, low))
                made[i + half] = b.bind("t", tirx.Shuffle(pair, high))
        rows = made
        half //= 2
    return rows
