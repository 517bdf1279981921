"""One row of two 1x1 convolutions with a ReLU between: four hidden channels at a time, which never leave registers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm import tirx

from sr_tvm.codegen.builder import Expr, Register
from sr_tvm.targets.hexagon.hvx.code import GROUP, HvxBuilder, groups

READY = 2  # doublewords of a turn's weights for hidden channels that are read in the turn before
REGISTERS = 31  # of 32 that inputs, sums and the hidden bytes may take


@dataclass(frozen=True)
class PairForm:
    """What tells one such function from another.

    Attributes:
        inputs: Groups of four channels that are read.
        outputs: Channels made; what fills up the last group of four is not computed.
        first: Hidden channels in the first group of four, which comes in the middle of the code: the others are full.
        packed: Of how many channels, 1 or 2, the last group holds rows before as well; 0: of none. See stages.py.
        ready: Doublewords of a turn's weights for hidden channels that are read in the turn before.
        shared: The same of those for outputs.
        spread: Where the products for outputs stand among the others: "spread", "first" or "last".
    """

    inputs: int
    outputs: int
    first: int = GROUP
    packed: int = 0
    ready: int = READY
    shared: int = 1
    spread: str = "spread"

    @property
    def fits(self) -> bool:
        """Whether inputs, sums and hidden bytes fit into the registers."""
        return self.inputs + self.outputs + GROUP + 1 <= REGISTERS

    @property
    def groups(self) -> int:
        """Groups of four channels that are written."""
        return groups(self.outputs)

    @property
    def share(self) -> int:
        """Doublewords of the outputs' weights for a group of hidden channels."""
        return -(-self.outputs // 2)


NUMBERS = ("zeros", "read", "out", "expand", "project", "bias", "hidden", "turns", "shift", "last", "above")


def function(name: str, form: PairForm) -> tirx.PrimFunc:
    """Write the function that makes one row of two fused 1x1 convolutions.

    Its parameters are the workspace, as what is read and what is written, the weights, the biases, and the integers
    NUMBERS: the word at which the zeros begin, places of the row to read and of that to write, the first doublewords of
    the weights of either convolution, the first vector of biases, those of the outputs first, groups of hidden channels
    but one, tiles, both shifts, and the place of the row above the one that is written.

    Args:
        name: Of the function.
        form: What tells it from others.

    Returns:
        The function, private to its module.
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
        self._begin(at["bias"] + form.outputs, form.first)
        words = c.words(self.weights, at["expand"], form.inputs * GROUP)
        for product in self._expand(inputs, words, form.first):
            c.add_products(*product)
        made.set(self._narrowed(form.first))
        each, share = 2 * form.inputs, form.share
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
                shares = c.words(self.weights, project + g * share, share * 2, shared)
                c.read_ahead(ready, self.weights, expand + (g + 2) * each)
                c.read_ahead(shared, self.weights, project + (g + 1) * share)
                self._products(words, inputs, sums, made, shares, first + (g + 1) * GROUP)
                made.set(self._narrowed())
            # The last hidden channels of this tile together with the first of the next.
            self._read(inputs, v + 1)
            words = c.words(self.weights, expand, form.inputs * GROUP, ready)
            shares = c.words(self.weights, project + at["hidden"] * share, share * 2, shared)
            c.read_ahead(ready, self.weights, expand + each)
            c.read_ahead(shared, self.weights, project)
            self._products(words, inputs, sums, made, shares, first, form.first)
            for j in range(form.groups):
                part = sums[GROUP * j : GROUP * (j + 1)]
                place = v * form.groups + j
                packed = form.packed if j == form.groups - 1 else 0
                vector = self._bytes([total.get() for total in part], at["last"], empty=packed > 0)
                if packed:
                    above = c.vector(self.target, at["above"] + place)
                    vector = c.hvx("vaslw.acc", vector, above, c.integer(8 * packed))
                c.put(self.target, vector, at["out"] + place)
                for o, total in enumerate(part):
                    total.set(c.vector(self.biases, bias + (GROUP * j + o)))
            made.set(self._narrowed(form.first))
        return c.private(name)

    def _read(self, inputs: list[Register], tile: Expr) -> None:
        for k, register in enumerate(inputs):
            register.set(self.c.vector(self.source, self.at["read"] + tile * self.form.inputs + k))

    def _begin(self, bias: Expr, count: int = GROUP) -> None:
        for o, total in enumerate(self.hidden[:count]):
            total.set(self.c.vector(self.biases, bias + o))

    def _expand(self, inputs: list[Register], words: list[Expr], count: int) -> list[tuple[Register, Expr, Expr]]:
        """Return the products for the first ``count`` of a group of hidden channels, whose weights lie together."""
        return [(self.hidden[o], x.get(), words[k * count + o]) for k, x in enumerate(inputs) for o in range(count)]

    def _products(
        self, words: list[Expr], inputs: list[Register], sums: list[Register], made: Register, shares: list[Expr],
        bias: Expr, count: int = GROUP,
    ) -> None:  # fmt: skip
        """Add up the next four hidden channels and the outputs' share of the last four, one product of each in turn."""
        c, form = self.c, self.form
        read = c.bind("h", made.get())
        self._begin(bias, count)
        others: list[Any] = [(total, read, word) for total, word in zip(sums, shares, strict=False)]
        rows = self._expand(inputs, words, count)
        done = 0
        if form.spread != "spread":
            first, second = (others, rows) if form.spread == "first" else (rows, others)
            for product in (*first, *second):
                c.add_products(*product)
            return
        for k in range(form.inputs):
            for product in rows[k * count : (k + 1) * count]:
                c.add_products(*product)
            until = -(-len(others) * (k + 1) // form.inputs)
            for product in others[done:until]:
                c.add_products(*product)
            done = until

    def _narrowed(self, count: int = GROUP) -> Expr:
        return self._bytes([total.get() for total in self.hidden[:count]], self.at["shift"])

    def _bytes(self, sums: list[Expr], shift: Expr, empty: bool = False) -> Expr:
        """Return the bytes of up to four sums: those not there are 0 if ``empty``, else any that cost nothing."""
        if len(sums) < GROUP:
            none = self.c.splat(self.c.integer(0)) if empty else sums[0]
            sums = sums + [none] * (GROUP - len(sums))
        even, odd = self.c.halves(sums, shift)
        return self.c.to_bytes(even, odd)
