"""Orders of the elements of several vectors: zipped, split, transposed, all of it in registers."""

from __future__ import annotations

from collections.abc import Sequence

from tvm import tirx

from sr_tvm.codegen.builder import Expr, FunctionBuilder


def zip_vectors(a: Expr, b: Expr, lanes: int) -> list[Expr]:
    """Give a0 b0 a1 b1 ... as two vectors."""
    order = [i // 2 + (lanes if i % 2 else 0) for i in range(2 * lanes)]
    return [tirx.Shuffle([a, b], order[half : half + lanes]) for half in (0, lanes)]


def split_vectors(a: Expr, b: Expr, lanes: int) -> list[Expr]:
    """Give the even and the odd elements of two neighbouring vectors."""
    return [tirx.Shuffle([a, b], list(range(phase, 2 * lanes, 2))) for phase in (0, 1)]


def interleave(b: FunctionBuilder, vectors: Sequence[Expr]) -> list[Expr]:
    """Give vectors v0 .. vK-1 (K a power of two) as v0[0] v1[0] .. vK-1[0] v0[1] ..., in K vectors."""
    if len(vectors) == 1:
        return list(vectors)
    even, odd = interleave(b, vectors[::2]), interleave(b, vectors[1::2])
    return [b.bind("z", v) for pair in zip(even, odd, strict=True) for v in zip_vectors(*pair, b.lanes)]


def transpose(b: FunctionBuilder, rows: Sequence[Expr]) -> list[Expr]:
    """Give ``lanes`` vectors as the columns of a square, lanes a power of two, by log2(lanes) steps of shuffles."""
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
