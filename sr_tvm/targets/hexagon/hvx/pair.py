"""One row of two 1x1 convolutions with a ReLU between: four hidden channels at a time, which never leave registers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm import tirx

from sr_tvm.codegen.builder import Expr, Register
from sr_tvm.targets.hexagon.hvx.code import GROUP, HvxBuilder

READY = 2  # doublewords of a turn's weights for hidden channels that are read in the turn before
REGISTERS = 31  # of 32 that inputs, sums and the hidden bytes may take


@dataclass(frozen=True)
class PairForm:
    """What tells one such function from another: groups of four channels read, and channels made, a multiple of 4.

    Attributes:
        ready: doublewords of a turn's weights for hidden channels that are read in the turn before.
        shared: the same of those for outputs.
        spread: where the products for outputs stand among the others: "spread", "first" or "last".
    """

    inputs: int
    outputs: int
    ready: int = READY
    shared: int = 1
    spread: str = "spread"

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
        self.form, self.c = form, HvxBuilder()
        c = self.c
        self.source = c.aligned("s", "S")
        self.target = c.aligned("y", "Y")
        self.weights = c.aligned("w", "W", "int64")
        self.biases = c.aligned("b", "B")
        self.at = {name: c.parameter(name) for name in NUMBERS}

    def function(self, name: str) -> tirx.PrimFunc:
        c, form, at = self.c, self.form, self.at
        sums = [c.register(f"p{o}") for o in range(form.outputs)]
        self.hidden = [c.register(f"e{o}") for o in range(GROUP)]
        made = c.register("h")
        inputs = [c.register(f"x{k}") for k in range(form.inputs)]
        self._read(inputs, c.integer(0))
        for o, total in enumerate(sums):
            total.set(c.vector(self.biases, at["bias"] + o))
        self._begin(at["bias"] + form.outputs)
        for product in self._expand(inputs, c.words(self.weights, at["expand"], form.inputs * GROUP)):
            c.add_products(*product)
        made.set(self._narrowed())
        each, share = 2 * form.inputs, form.outputs // 2
        ready = [c.doubleword("r") for _ in range(min(form.ready, each))]
        shared = [c.doubleword("r") for _ in range(min(form.shared, share))]
        c.read_ahead(ready, self.weights, at["expand"] + each)
        c.read_ahead(shared, self.weights, at["project"])
        with c.loop("v", at["turns"]) as v:
            # A zero that LLVM does not know: else it moves the loads of all biases out of the loop, and spills them.
            zero = c.bind("zero", c.scalar(self.source, at["zeros"] + v))
            expand, project = c.bind("expand", at["expand"] + zero), c.bind("project", at["project"] + zero)
            bias = c.bind("bias", at["bias"] + zero)
            first = c.bind("first", bias + form.outputs)
            with c.loop("g", at["hidden"]) as g:
                words = c.words(self.weights, expand + (g + 1) * each, form.inputs * GROUP, ready)
                shares = c.words(self.weights, project + g * share, form.outputs, shared)
                c.read_ahead(ready, self.weights, expand + (g + 2) * each)
                c.read_ahead(shared, self.weights, project + (g + 1) * share)
                self._products(words, inputs, sums, made, shares, first + (g + 1) * GROUP)
                made.set(self._narrowed())
            # The last hidden channels of this tile together with the first of the next.
            self._read(inputs, v + 1)
            words = c.words(self.weights, expand, form.inputs * GROUP, ready)
            shares = c.words(self.weights, project + at["hidden"] * share, form.outputs, shared)
            c.read_ahead(ready, self.weights, expand + each)
            c.read_ahead(shared, self.weights, project)
            self._products(words, inputs, sums, made, shares, first)
            for j in range(form.outputs // GROUP):
                even, odd = c.halves(sums[GROUP * j : GROUP * (j + 1)], at["last"])
                c.put(self.target, c.to_bytes(even, odd), at["out"] + v * (form.outputs // GROUP) + j)
                for o in range(GROUP * j, GROUP * (j + 1)):
                    sums[o].set(c.vector(self.biases, bias + o))
            made.set(self._narrowed())
        return c.private(name)

    def _read(self, inputs: list[Register], tile: Expr) -> None:
        for k, register in enumerate(inputs):
            register.set(self.c.vector(self.source, self.at["read"] + tile * self.form.inputs + k))

    def _begin(self, bias: Expr) -> None:
        for o, total in enumerate(self.hidden):
            total.set(self.c.vector(self.biases, bias + o))

    def _expand(self, inputs: list[Register], words: list[Expr]) -> list[tuple[Register, Expr, Expr]]:
        return [
            (self.hidden[o], read.get(), words[k * GROUP + o]) for k, read in enumerate(inputs) for o in range(GROUP)
        ]

    def _products(
        self, words: list[Expr], inputs: list[Register], sums: list[Register], made: Register, shares: list[Expr],
        bias: Expr,
    ) -> None:  # fmt: skip
        """The next four hidden channels and the outputs' share of the last four, one product of each in turn."""
        c, form = self.c, self.form
        read = c.bind("h", made.get())
        self._begin(bias)
        others: list[Any] = [(total, read, word) for total, word in zip(sums, shares, strict=True)]
        rows = self._expand(inputs, words)
        done = 0
        if form.spread != "spread":
            first, second = (others, rows) if form.spread == "first" else (rows, others)
            for product in (*first, *second):
                c.add_products(*product)
            return
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
