"""Functions at the borders: bytes copied in and out, planes made to tiles, and what lies outside of the picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from tvm import tirx

from sr_tvm.targets.hexagon.hvx.code import LANES, ONE, PAIR, VECTOR, HvxBuilder


def copy(name: str) -> tirx.PrimFunc:
    """Write the function that copies bytes, aligned to nothing: whole vectors, the last of which ends with them.

    Its integers: where to read and where to write, in bytes, and how many.

    Args:
        name: Of the function.

    Returns:
        The function, private to its module.
    """
    c = HvxBuilder()
    source, target = c.pointer("s", "uint8"), c.pointer("y", "uint8")
    s, y = c.bytes_at("S", source), c.bytes_at("Y", target)
    read, out, count = (c.parameter(n) for n in ("read", "out", "count"))

    def move(at: tirx.Expr) -> None:
        vector = tirx.reinterpret(ONE, c.load(s, read + at, lanes=VECTOR))
        # LLVM knows the loop as a memcpy, whose code here moves bytes, unless it does not see what is moved.
        vector = tirx.reinterpret(f"uint8x{VECTOR}", c.hvx("vassign", vector))
        c.store(y, vector, out + at, lanes=VECTOR)

    with c.when(count >= VECTOR):
        with c.loop("i", tirx.floordiv(count, VECTOR)) as i:
            move(i * VECTOR)
        move(count - VECTOR)
    with c.otherwise():
        with c.loop("i", count) as i:
            c.store_scalar(y, c.scalar(s, read + i), out + i)
    return c.private(name)


def interleave(name: str, channels: int) -> tirx.PrimFunc:
    """Write the function that makes tiles of one row of up to four planes, 128 pixels a turn.

    Its integers: place of the first plane's row, vectors from one plane to the next, place to write, turns.

    Args:
        name: Of the function.
        channels: Planes, 1 to 4.

    Returns:
        The function, private to its module.
    """
    c = HvxBuilder()
    s, y = c.aligned("s", "S"), c.aligned("y", "Y")
    read, plane, out, turns = (c.parameter(n) for n in ("read", "plane", "out", "turns"))
    with c.loop("v", turns) as v:
        none = c.splat(c.integer(0))
        planes = [c.bind("p", c.vector(s, read + plane * k + v)) if k < channels else none for k in range(4)]
        below = [c.bind("b", c.hvx("vshuffvdd", planes[k + 1], planes[k], c.integer(-1), dtype=PAIR)) for k in (0, 2)]
        for i, half in enumerate(("lo", "hi")):
            one, two = (c.hvx(half, pair) for pair in below)
            both = c.bind("both", c.hvx("vshuffvdd", two, one, c.integer(-2), dtype=PAIR))
            c.put(y, c.hvx("lo", both), out + v * 4 + 2 * i)
            c.put(y, c.hvx("hi", both), out + v * 4 + 2 * i + 1)
    return c.private(name)


def columns(name: str, held: Sequence[tuple[int, int]]) -> tirx.PrimFunc:
    """Write the function that makes tiles whose "channels" are a pixel's neighbours in its row, 128 pixels a turn.

    Its integers are those of :func:`interleave`; the vectors before and behind a plane's row are read, too.

    Args:
        name: Of the function.
        held: For each "channel", its plane and how many pixels right of the tile's own it is.

    Returns:
        The function, private to its module.
    """
    c = HvxBuilder()
    s, y = c.aligned("s", "S"), c.aligned("y", "Y")
    read, plane, out, turns = (c.parameter(n) for n in ("read", "plane", "out", "turns"))
    whole = -(-len(held) // 4)
    with c.loop("v", turns) as v:
        none = c.splat(c.integer(0))
        rows = {
            k: [c.bind("p", c.vector(s, read + plane * k + v + i)) for i in (-1, 0, 1)] for k in {k for k, _ in held}
        }
        moved = []
        for k, d in held:
            before, here, after = rows[k]
            if d < 0:
                moved.append(c.bind("m", c.hvx("vlalignb", here, before, c.integer(-d))))
            else:
                moved.append(here if d == 0 else c.bind("m", c.hvx("valignb", after, here, c.integer(d))))
        moved += [none] * (4 * whole - len(held))
        for g in range(whole):
            four = moved[4 * g : 4 * g + 4]
            below = [c.bind("b", c.hvx("vshuffvdd", four[k + 1], four[k], c.integer(-1), dtype=PAIR)) for k in (0, 2)]
            for i, half in enumerate(("lo", "hi")):
                one, two = (c.hvx(half, pair) for pair in below)
                both = c.bind("both", c.hvx("vshuffvdd", two, one, c.integer(-2), dtype=PAIR))
                c.put(y, c.hvx("lo", both), out + (v * 4 + 2 * i) * whole + g)
                c.put(y, c.hvx("hi", both), out + (v * 4 + 2 * i + 1) * whole + g)
    return c.private(name)


def fill(name: str) -> tirx.PrimFunc:
    """Write the function that fills tiles with what stands for 0.

    Its integers: place to write, groups of a tile, tiles, and the word of the biases with the first group's bytes.

    Args:
        name: Of the function.

    Returns:
        The function, private to its module.
    """
    c = HvxBuilder()
    y, biases = c.aligned("y", "Y"), c.aligned("b", "B")
    out, groups, tiles, zero = (c.parameter(n) for n in ("out", "groups", "tiles", "zero"))
    with c.loop("g", groups) as g:
        vector = c.bind("z", tirx.Broadcast(c.scalar(biases, zero + g), LANES))
        with c.loop("t", tiles) as t:
            c.put(y, vector, out + t * groups + g)
    return c.private(name)


def below(name: str) -> tirx.PrimFunc:
    """Write the function that makes a group that holds rows before of the row below the picture's last.

    Its integers: place of that group in the last row's first tile, place to write, vectors from tile to tile, tiles,
    the word of the biases with the group's bytes of nothing, bits that bytes move up by from row to row, and a mask of
    so many.

    Args:
        name: Of the function.

    Returns:
        The function, private to its module.
    """
    c = HvxBuilder()
    s, y, biases = c.aligned("s", "S"), c.aligned("y", "Y"), c.aligned("b", "B")
    read, out, tile, turns, zero, bits, mask = (
        c.parameter(n) for n in ("read", "out", "tile", "turns", "zero", "bits", "mask")
    )
    vector = c.bind("z", tirx.Broadcast(c.scalar(biases, zero) & mask, LANES))
    with c.loop("t", turns) as t:
        c.put(y, c.hvx("vaslw.acc", vector, c.vector(s, read + t * tile), bits), out + t * tile)
    return c.private(name)


def seal(name: str) -> tirx.PrimFunc:
    """Write the function that puts what stands for 0 right of a row, into ``count`` pixels from pixel ``first``.

    Its other integers: place of the row, groups of a tile, and the word of the biases with the first group's bytes.

    Args:
        name: Of the function.

    Returns:
        The function, private to its module.
    """
    c = HvxBuilder()
    y, biases = c.aligned("y", "Y"), c.aligned("b", "B")
    out, groups, first, count, zero = (c.parameter(n) for n in ("out", "groups", "first", "count", "zero"))
    with c.loop("i", count) as i:
        x = c.bind("x", first + i)
        tile, lane = x >> c.integer(5), x & c.integer(LANES - 1)
        with c.loop("g", groups) as g:
            c.store_scalar(y, c.scalar(biases, zero + g), (out + tile * groups + g) * LANES + lane)
    return c.private(name)


def thirds() -> np.ndarray:
    """Compute the control of a vrdelta that moves the first three bytes of each four together.

    Returns:
        (128,) uint8.
    """
    control = np.zeros(VECTOR, np.uint8)
    for to in range(VECTOR * 3 // 4):
        place = to // 3 * 4 + to % 3
        for step in (1 << bit for bit in range(7)):  # the instruction's stages, from near to far
            moved = place & ~step | to & step
            control[moved] |= step if moved != place else 0
            place = moved
    return control


def squeeze(name: str) -> tirx.PrimFunc:
    """Write the function that keeps three bytes of each four of a line, in its place.

    Its integers: the line's first vector, how many there are, and the vector of the biases with :func:`thirds`.

    Args:
        name: Of the function.

    Returns:
        The function, private to its module.
    """
    c = HvxBuilder()
    y, biases = c.aligned("y", "Y"), c.aligned("b", "B")
    target = c.pointer("t", "uint8")  # the same memory, which is written at any byte
    bytes_ = c.bytes_at("T", target)
    line, count, control = (c.parameter(n) for n in ("line", "count", "control"))
    with c.loop("i", count) as i:
        near = c.hvx("vrdelta", c.vector(y, line + i), c.vector(biases, control))
        made = tirx.reinterpret(f"uint8x{VECTOR}", near)
        c.store(bytes_, made, line * VECTOR + i * (VECTOR * 3 // 4), lanes=VECTOR)
    return c.private(name)
