"""One row of a convolution: sums of several outputs in registers, the rows above and below by a table of places."""

from __future__ import annotations

from dataclasses import dataclass

from tvm import tirx

from sr_tvm.codegen.builder import Expr, Register
from sr_tvm.targets.hexagon.hvx.code import GROUP, LANES, PAIR, HvxBuilder

READY = 1  # doublewords of a turn's weights that are read in the turn before: without, each turn begins with a wait
# What becomes of the sums. A narrowed one is bytes of halfwords that have a fraction.
BYTES, HALFWORDS, NARROWED, RESIDUAL, SUM = "bytes", "halfwords", "narrowed", "residual", "sum"


@dataclass(frozen=True)
class Form:
    """What tells one row function of a convolution from another: all else is an argument.

    Attributes:
        kernel: Taps along a row.
        rows: Taps along a column.
        inputs: Groups of four channels that are read.
        outputs: Channels made, a multiple of four; with ``tiles`` no more sums than decided.
        tiles: How many tiles of 32 pixels, side by side, are made together.
        row: Groups of four channels in a row of what is written, or in a shuffled result's 2 or 4.
        end: One of BYTES, HALFWORDS, NARROWED, RESIDUAL, SUM.
        multiplier: Whether sums are multiplied after they were divided.
        saturates: Whether a residual's sum may leave 16 bits.
        shuffle: Factor of the pixel shuffle that the result is stored by; 0: it goes to a line buffer. Of a factor of 3
            a group of four channels is three pixels of a line and nothing.
        slope: Whether a PReLU follows.
        before: Whether outputs' sums are shifted by a number of their own first.
        kept: Whether a NARROWED value's or a SUM's halfwords are stored beside the bytes that are made of them.
        skipped: Taps along a row, as their place in ``near``, and outputs, all of whose weights are 0.
        ready: Doublewords of a turn's weights that are read in the turn before.
        order: Which changes first from product to product, "tiles" or "outputs", of four.
        read: When the vectors of the next turn are read, "early" or "late".
        packed: Of how many channels, 1 or 2, the last group holds rows before as well; 0: of none. See stages.py.
        stride: Groups from tile to tile of what is read.
    """

    kernel: int
    rows: int
    inputs: int
    outputs: int
    tiles: int
    row: int
    end: str
    multiplier: bool = False
    saturates: bool = False
    shuffle: int = 0
    slope: bool = False
    before: bool = False
    kept: bool = False
    skipped: frozenset[tuple[int, int]] = frozenset()
    ready: int = READY
    order: str = "tiles"
    read: str = "late"
    packed: int = 0
    stride: int = 0

    @property
    def near(self) -> list[int]:
        """The taps of a row in the order of the weights: the middle, then from near to far."""
        return sorted(range(-(self.kernel // 2), self.kernel // 2 + 1), key=lambda d: (abs(d), d))

    @property
    def steps(self) -> int:
        """Vectors of four channels of one row that are read for each tile, one in a turn of the inner loop."""
        return self.rows * (self.inputs - (self.packed > 0)) + self.packed


NUMBERS = ("table", "zeros", "other", "out", "weight", "bias", "turns", "shift", "factor", "last", "line",
           "kept")  # fmt: skip


def function(name: str, form: Form) -> tirx.PrimFunc:
    """Write the function that makes one row of a convolution.

    Its parameters are the workspace three times, as what is read, what is read beside it and what is written, the
    weights, the biases, and the integers NUMBERS: the word at which the table of places begins, that of the zeros,
    places of the other value's row and of the row to write, the first doubleword of weights, the first vector of
    biases, how often ``tiles`` tiles are made, shift of the sums, factor of a residual or, twice in a word, what is
    added behind a PReLU, shift of the last sum or of a PReLU, vectors from one line of a shuffled result to the next,
    and the place of the row of halfwords that is kept.

    Args:
        name: Of the function.
        form: What tells it from others.

    Returns:
        The function, private to its module.
    """
    return _Row(form).function(name)


class _Row:
    def __init__(self, form: Form) -> None:
        self.form, self.c = form, HvxBuilder()
        c = self.c
        self.source = c.aligned("s", "S")
        self.other_row = c.aligned("x", "X")
        self.target = c.aligned("y", "Y")
        self.weights = c.aligned("w", "W", "int64")
        self.biases = c.aligned("b", "B")
        self.at = {name: c.parameter(name) for name in NUMBERS}

    def function(self, name: str) -> tirx.PrimFunc:
        c, form, at = self.c, self.form, self.at
        tiles = range(form.tiles)
        sums = [[c.register(f"a{t}_{o}") for o in range(form.outputs)] for t in tiles]
        taps = [[c.register(f"t{t}_{d}") for d in form.near] for t in tiles]
        for t in tiles:
            for o in range(form.outputs):
                sums[t][o].set(c.vector(self.biases, at["bias"] + o))
        self._fetch(taps, at["table"], c.integer(0))
        each = form.kernel * form.outputs // 2
        ready = [c.doubleword("r") for _ in range(min(form.ready, each))]
        with c.loop("v", at["turns"]) as v:
            # A zero that LLVM does not know: else it moves the loads of all biases out of the loop, and spills them.
            zero = c.bind("zero", c.scalar(self.source, at["zeros"] + v))
            first = c.bind("first", at["weight"] + zero)
            bias = c.bind("bias", at["bias"] + zero)
            tile = c.bind("tile", v * form.tiles)
            c.read_ahead(ready, self.weights, first)
            if form.steps > 1:
                with c.loop("n", form.steps - 1) as n:
                    entry = c.bind("entry", c.scalar(self.source, at["table"] + (n + 1)))
                    words = c.words(self.weights, first + n * each, 2 * each, ready)
                    raw = self._raw(entry, tile) if form.read == "early" else {}
                    for d in range(form.kernel):
                        read = [taps[t][d].get() for t in tiles]
                        for o, t in self._order(range(form.outputs)):
                            if (d, o) not in form.skipped:
                                c.add_products(sums[t][o], read[t], words[d * form.outputs + o])
                    raw = raw or self._raw(entry, tile)
                    c.read_ahead(ready, self.weights, first + (n + 1) * each)
                    self._taps(taps, raw)
            words = c.words(self.weights, first + (form.steps - 1) * each, 2 * each, ready)
            for j in range(form.outputs // GROUP):
                for d in range(form.kernel):
                    for o, t in self._order(range(GROUP * j, GROUP * (j + 1))):
                        if (d, o) not in form.skipped:
                            c.add_products(sums[t][o], taps[t][d].get(), words[d * form.outputs + o])
                self._end(j, [row[GROUP * j : GROUP * (j + 1)] for row in sums], tile, v, bias)
                for t in tiles:  # the next tiles begin while these end
                    for o in range(GROUP * j, GROUP * (j + 1)):
                        sums[t][o].set(c.vector(self.biases, bias + o))
            self._fetch(taps, at["table"] + zero, tile + form.tiles)
        return c.private(name)

    def _order(self, outputs: range) -> list[tuple[int, int]]:
        """Return the order in which products are added: pairs of an output and a tile."""
        tiles = range(self.form.tiles)
        if self.form.order == "tiles":
            return [(o, t) for o in outputs for t in tiles]
        fours = [outputs[i : i + GROUP] for i in range(0, len(outputs), GROUP)]
        return [(o, t) for four in fours for t in tiles for o in four]

    def _fetch(self, taps: list[list[Register]], entry: Expr, tile: Expr) -> None:
        """Read the tiles of one group of one row, and make the vectors of their neighbours."""
        self._taps(taps, self._raw(self.c.scalar(self.source, entry), tile))

    def _raw(self, entry: Expr, tile: Expr) -> dict[int, Expr]:
        """Return the tiles of one group of one row, and those beside them, by their numbers."""
        c, form = self.c, self.form
        place = c.bind("place", entry + tile * form.stride)
        reach = 1 if form.kernel > 1 else 0
        return {
            t: c.bind("v", c.vector(self.source, place + t * form.stride)) for t in range(-reach, form.tiles + reach)
        }

    def _taps(self, taps: list[list[Register]], read: dict[int, Expr]) -> None:
        """Make the vectors of each tap of what is read."""
        c, form = self.c, self.form
        for t in range(form.tiles):
            for register, d in zip(taps[t], form.near, strict=True):
                if d == 0:
                    register.set(read[t])
                elif abs(d) == 1:
                    name, pair = (
                        ("valignbi", (read[t + 1], read[t])) if d > 0 else ("vlalignbi", (read[t], read[t - 1]))
                    )
                    register.set(c.hvx(name, *pair, c.integer(4)))
                else:
                    name, pair = ("valignb", (read[t + 1], read[t])) if d > 0 else ("vlalignb", (read[t], read[t - 1]))
                    register.set(c.hvx(name, *pair, c.integer(4 * abs(d))))

    def _end(self, j: int, sums: list[list[Register]], tile: Expr, v: Expr, bias: Expr) -> None:
        """Narrow the sums of a group of outputs, and store them."""
        c, form, at = self.c, self.form, self.at
        factors = self._words(bias, j, 0) if form.multiplier else None
        slopes = self._words(bias, j, int(form.multiplier)) if form.slope else None
        made = []
        if form.before:
            self._shift(j, sums, bias)
        for t, totals in enumerate(sums):
            even, odd = c.halves([total.get() for total in totals], at["shift"], factors)
            place = tile + t
            if form.end == HALFWORDS:
                self._put_halves(at["out"], place, j, even, odd)
                continue
            if form.end == RESIDUAL:
                made.append(self._residual(even, odd, c.vector(self.other_row, at["other"] + place * form.row + j)))
            elif form.end == SUM:
                first = at["other"] + (place * form.row + j) * 2
                even = c.bind("even", c.hvx("vaddhsat", even, c.vector(self.other_row, first)))
                odd = c.bind("odd", c.hvx("vaddhsat", odd, c.vector(self.other_row, first + 1)))
                made.append(c.to_bytes(even, odd, at["last"]))
            elif slopes is not None:
                zero = c.splat(at["factor"])
                halves = (c.bent(half, slope) for half, slope in zip((even, odd), slopes, strict=True))
                even, odd = (c.hvx("vaddhsat", half, zero) for half in halves)
                made.append(c.to_bytes(even, odd, at["last"]))
            else:
                made.append(c.to_bytes(even, odd, at["last"] if form.end == NARROWED else None))
            if form.kept:
                self._put_halves(at["kept"], place, j, even, odd)
        if form.end == HALFWORDS:
            return
        if form.shuffle:
            c.put_lines(self.target, made, form.shuffle, at["out"], at["line"], j, v)
            return
        for t, vector in enumerate(made):
            c.put(self.target, vector, at["out"] + (tile + t) * form.row + j)

    def _put_halves(self, out: Expr, place: Expr, j: int, even: Expr, odd: Expr) -> None:
        for i, half in enumerate((even, odd)):
            self.c.put(self.target, half, out + (place * self.form.row + j) * 2 + i)

    def _shift(self, j: int, sums: list[list[Register]], bias: Expr) -> None:
        """Shift each output's sums by its own number: the words behind multipliers and slopes."""
        c, form = self.c, self.form
        word = (bias + form.outputs) * LANES + (form.outputs // 2 * (form.multiplier + form.slope) + GROUP * j)
        for o in range(GROUP):
            by = c.bind("by", c.scalar(self.biases, word + o))
            for totals in sums:
                totals[o].set(c.hvx("vasrw", totals[o].get(), by))

    def _words(self, bias: Expr, j: int, number: int) -> list[Expr]:
        """Return the multipliers of a group of outputs, or the slopes behind them: of outputs 0 and 2, and 1 and 3."""
        c, each = self.c, self.form.outputs // GROUP * 2
        word = (bias + self.form.outputs) * LANES + (number * each + 2 * j)
        return [c.bind("m", c.scalar(self.biases, word + i)) for i in (0, 1)]

    def _residual(self, even: Expr, odd: Expr, byte: Expr) -> Expr:
        c, at = self.c, self.at
        if self.form.saturates:
            product = c.bind("product", c.hvx("vmpybus", byte, at["factor"], dtype=PAIR))
            even = c.hvx("vaddhsat", even, c.hvx("lo", product))
            odd = c.hvx("vaddhsat", odd, c.hvx("hi", product))
        else:
            both = c.hvx("vcombine", odd, even, dtype=PAIR)
            both = c.bind("both", c.hvx("vmpybus.acc", both, byte, at["factor"], dtype=PAIR))
            even, odd = c.hvx("lo", both), c.hvx("hi", both)
        return c.to_bytes(even, odd, at["last"])
