"""One row of bytes from bytes of other scales: sums of what no convolution makes, PReLUs and ReLUs by themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm import tirx

from sr_tvm.codegen.builder import Expr
from sr_tvm.quantize.network import BLEND_BITS, MOST_FRACTION
from sr_tvm.targets.hexagon.hvx.code import PAIR, HvxBuilder

SIXTY_FOUR = (1 << BLEND_BITS) * 0x01010101


@dataclass(frozen=True)
class BlendForm:
    """What tells one such function from another: all else is an argument.

    Attributes:
        inputs: 1 or 2.
        slope: Whether the larger of two products of the one input is taken.
        smaller: Whether the bits of some channels are turned round then.
        shuffle: Factor of the pixel shuffle that the result is stored by; 0: it goes to a line buffer.
    """

    inputs: int
    slope: bool
    smaller: bool = False
    shuffle: int = 0

    @property
    def tiles(self) -> int:
        """Tiles of 32 pixels that are made in a turn."""
        return 2 if self.shuffle == 2 else 1

    @property
    def words(self) -> int:
        """Words of numbers by group of four channels."""
        return 2 * (self.inputs + self.slope + self.smaller + 1)


NUMBERS = ("read", "other", "out", "words", "zero", "zero2", "groups", "turns", "last", "line")


def function(name: str, form: BlendForm) -> tirx.PrimFunc:
    """Write the function that makes one row of a blend.

    Its parameters are the workspace three times, as what is read, what is read beside it and what is written, the
    biases, and the integers NUMBERS: places of the rows to read and to write, the word of the biases at which the
    numbers begin, the words with the zero points of the inputs' first groups, groups of four channels, how often
    ``tiles`` tiles are made, the last shift, and vectors from one line of a shuffled result to the next.

    Args:
        name: Of the function.
        form: What tells it from others.

    Returns:
        The function, private to its module.
    """
    c = HvxBuilder()
    rows = [c.aligned("s", "S"), c.aligned("x", "X")][: form.inputs]
    target, biases = c.aligned("y", "Y"), c.aligned("b", "B")
    at = {number: c.parameter(number) for number in NUMBERS}
    with c.loop("g", at["groups"]) as g:
        words = [c.bind("m", c.scalar(biases, at["words"] + g * form.words + i)) for i in range(form.words)]
        splats = [c.bind("z", c.splat(c.scalar(biases, at[n] + g))) for n in ("zero", "zero2")[: form.inputs]]
        offsets = [c.bind("o", c.splat(word)) for word in words[-2:]]
        below = [_wide(c, zero) for zero in splats]
        with c.loop("v", at["turns"]) as v:
            made = []
            for t in range(form.tiles):
                place = (v * form.tiles + t) * at["groups"] + g
                read = [c.vector(row, at[n] + place) for row, n in zip(rows, ("read", "other"), strict=False)]
                halves = [_less(c, _wide(c, vector), zero) for vector, zero in zip(read, below, strict=True)]
                made.append(_blended(c, form, halves, words, offsets, at["last"]))
            if form.shuffle:
                c.put_lines(target, made, form.shuffle, at["out"], at["line"], g, v)
            else:
                c.put(target, made[0], at["out"] + v * at["groups"] + g)
    return c.private(name)


def _wide(c: HvxBuilder, vector: Expr) -> list[Expr]:
    """Return bytes * 64 as two vectors of halfwords: channels 0 and 2, and 1 and 3."""
    pair = c.bind("w", c.hvx("vmpybus", vector, c.integer(SIXTY_FOUR), dtype=PAIR))
    return [c.bind("h", c.hvx(half, pair)) for half in ("lo", "hi")]


def _less(c: HvxBuilder, value: list[Expr], zero: list[Expr]) -> list[Expr]:
    return [c.bind("h", c.hvx("vsubh", one, two)) for one, two in zip(value, zero, strict=True)]


def _blended(
    c: HvxBuilder, form: BlendForm, inputs: list[list[Expr]], words: list[Expr], offsets: list[Expr], last: Expr
) -> Expr:
    halves: list[Any] = []
    for i in (0, 1):
        parts = [c.hvx("vmpyhsrs", value[i], words[2 * n + i]) for n, value in enumerate(inputs)]
        total = parts[0] if len(parts) == 1 else c.hvx("vaddhsat", *parts)
        if form.slope:
            total = c.hvx("vmaxh", total, c.hvx("vmpyhsrs", inputs[0][i], words[2 + i]))
        if form.smaller:
            total = c.hvx("vxor", total, c.splat(words[4 + i]))
        halves.append(c.bind("h", c.hvx("vaddhsat", total, offsets[i])))
    return c.to_bytes(halves[0], halves[1], last)


assert MOST_FRACTION < 8  # the last shift of to_bytes has three bits
