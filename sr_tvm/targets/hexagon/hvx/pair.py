"""One row of two 1x1 convolutions with a ReLU between: four hidden channels at a time, which never leave registers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm import tirx

from sr_tvm.codegen.builder import Expr, Register
from sr_tvm.targets.hexagon.hvx.code import GROUP, Code

REGISTERS = 31  # of 32 that inputs, sums and the hidden bytes may take


@dataclass(frozen=True)
class PairForm:
    """What tells one such function from another: groups of four channels read, and channels made, a multiple of 4."""

    inputs: int
    outputs: int

    @property
    def fits(self) -> bool:
        return self.inputs + self.outputs + GROUP + 1 <= REGISTERS


NUMBERS = ("zeros", "read", "out", "expand", "project", "bias", "hidden", "turns", "shift", "last")


def function(name: str, form: PairForm) -> tirx.PrimFunc:
    """Write the function of one row.

    Its parameters are the workspace, as what is read and what is written, the weights, the biases, and the integers
    NUMBERS: the word at which the zeros begin, places of the row to read and of that to write, the first doublewords of
    the weights of either convolution, the first vector of biases, those of the outputs first, groups of hidden channels
    but one, tiles, and both shifts.
    """
    return _Row(form).function(name)


class _Row:
    def __init__(self, form: PairForm) -> None:
        self.form, self.c = form, Code()
        c = self.c
        self.source = c.view("S", c.pointer("s"))
        self.target = c.view("Y", c.pointer("y"))
        self.weights = c.view("W", c.pointer("w", "int64"))
        self.biases = c.view("B", c.pointer("b"))
        self.at = {name: c.parameter(name) for name in NUMBERS}

    def function(self, name: str) -> tirx.PrimFunc:
        c, form, at = self.c, self.form, self.at
        sums = [c.register(f"p{o}") for o in range(form.outputs)]
        self.hidden = [c.register(f"e{o}") for o in range(GROUP)]
        made = c.register("h")
        with c.loop("v", at["turns"]) as v:
            zero = c.bind("zero", c.scalar(self.source, at["zeros"] + v))
            expand, project = c.bind("expand", at["expand"] + zero), c.bind("project", at["project"] + zero)
            bias = c.bind("bias", at["bias"] + zero)
            place = c.bind("place", at["read"] + v * form.inputs)
            inputs = [c.bind("x", c.vector(self.source, place + k)) for k in range(form.inputs)]
            for o, total in enumerate(sums):
                total.set(c.vector(self.biases, bias + o))
            first = bias + form.outputs
            self._begin(first)
            words = c.words(self.weights, expand, form.inputs * GROUP)
            for product in self._expand(inputs, words):
                c.add_products(*product)
            made.set(self._narrowed())
            with c.loop("g", at["hidden"]) as g:
                words = c.words(self.weights, expand + (g + 1) * (2 * form.inputs), form.inputs * GROUP)
                self._products(words, inputs, sums, made, project, g, first)
                made.set(self._narrowed())
            words = c.words(self.weights, project + at["hidden"] * (form.outputs // 2), form.outputs)
            last = c.bind("h", made.get())
            for total, word in zip(sums, words, strict=True):
                c.add_products(total, last, word)
            for j in range(form.outputs // GROUP):
                even, odd = c.halves(sums[GROUP * j : GROUP * (j + 1)], at["last"])
                c.put(self.target, c.to_bytes(even, odd), at["out"] + v * (form.outputs // GROUP) + j)
        return c.private(name)

    def _begin(self, bias: Expr) -> None:
        for o, total in enumerate(self.hidden):
            total.set(self.c.vector(self.biases, bias + o))

    def _expand(self, inputs: list[Expr], words: list[Expr]) -> list[tuple[Register, Expr, Expr]]:
        return [
            (self.hidden[o], read, words[k * GROUP + o]) for k, read in enumerate(inputs) for o in range(GROUP)
        ]

    def _products(
        self, words: list[Expr], inputs: list[Expr], sums: list[Register], made: Register, project: Expr, g: Expr,
        bias: Expr,
    ) -> None:  # fmt: skip
        """The next four hidden channels and the outputs' share of the last four, one product of each in turn."""
        c, form = self.c, self.form
        shares = c.words(self.weights, project + g * (form.outputs // 2), form.outputs)
        read = c.bind("h", made.get())
        self._begin(bias + (g + 1) * GROUP)
        others: list[Any] = [(total, read, word) for total, word in zip(sums, shares, strict=True)]
        rows = self._expand(inputs, words)
        done = 0
        for k in range(form.inputs):
            for product in rows[k * GROUP : (k + 1) * GROUP]:
                c.add_products(*product)
            until = -(-len(others) * (k + 1) // form.inputs)
            for product in others[done:until]:
                c.add_products(*product)
            done = until

    def _narrowed(self) -> Expr:
        even, odd = self.c.halves(self.hidden, self.at["shift"])
        return self.c.to_bytes(even, odd)
