"""The function of one stage: its layers, tile by tile, over the column blocks of a row or a pair of rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tvm import tirx

from sr_tvm.regions.region import Conv, Pointwise, taps
from sr_tvm.targets.cpu.rows import winograd
from sr_tvm.targets.cpu.rows.code import StageCode, StageNumbers
from sr_tvm.targets.cpu.rows.decisions import Tiles
from sr_tvm.targets.cpu.rows.direct import TileInput, emit_direct, skips
from sr_tvm.targets.cpu.rows.layout import SLOTS, RowLayout
from sr_tvm.targets.cpu.rows.memory import ResultStore, emit_source
from sr_tvm.targets.cpu.rows.prepared import Prepared, Scratch, prepare
from sr_tvm.targets.cpu.rows.stages import RowLayer, RowStage

Finish = Callable[[Any, int, int, Any], None]
Init = Callable[[Any, int, int], Any]


@dataclass
class StageFunction:
    """A stage's code: how a call is made, its numbers, and what makes two stages share one function.

    Attributes:
        stage: what it makes.
        rows: rows that a call handles.
        code: the written function.
        packed: the numbers that it reads.
        scratch: elements of the workspace that it needs behind the line buffers.
        key: equal for stages whose functions are equal, but for the numbers.
    """

    stage: RowStage
    rows: int
    code: StageCode
    packed: StageNumbers
    scratch: int
    key: Any

    def prim_func(self, name: str) -> tirx.PrimFunc:
        """Give the code as a function of a module.

        Args:
            name: That others call it by.

        Returns:
            A private function.
        """
        return self.code.e.private(name)


def winograd_pays(conv: Conv, layout: RowLayout) -> bool:
    """Tell whether F(2x2, 3x3) has fewer operations than the definition, transforms included.

    Args:
        conv: The convolution.
        layout: Of the rows; the products need two phases and two rows a step.

    Returns:
        True where it has; never for a kernel other than 3x3.
    """
    outputs, channels, kh, kw = conv.weight.shape
    outputs //= conv.groups
    if (layout.phases, layout.rows, kh, kw) != (2, 2, 3, 3):
        return False
    # The transforms of an input and of an output as so many products, measured on Zen 4.
    return 16 * channels * outputs + 90 * channels + 44 * outputs < 36 * channels * outputs


class _Emitter:
    def __init__(self, stage: RowStage, layout: RowLayout, tiles: Tiles, scratch: int, widths: dict[str, int]) -> None:
        self.stage, self.layout, self.tiles = stage, layout, tiles
        terms = stage.layers[0].terms if stage.layers else ()
        paying = [term.name for term in terms if tiles.winograd and winograd_pays(term, layout)]
        self.chosen = paying[0] if paying else None
        computes = any(layer.terms for layer in stage.layers)
        rows = layout.rows if self.chosen or (tiles.pairs and computes) else 1
        self.code = StageCode(stage, layout, rows, scratch, widths)
        self.packed, self.scratch = StageNumbers(), Scratch(scratch)

    def address(self, base: int, channel: Any, row: int, slot: int) -> Any:
        return base + ((channel * self.code.rows + row) * SLOTS + slot) * self.layout.lanes

    def run(self) -> StageFunction:
        code, e = self.code, self.code.e
        if self.stage.source is not None:
            emit_source(code, self.packed)
        elif self.stage.parts:
            self._join()
        else:
            store = None
            if self.stage.result is not None:
                store = ResultStore(code, self.scratch.tile(code, self.stage.channels))
            layers = self.stage.layers
            plain = self.chosen is None and all(term.groups == 1 for term in layers[0].terms)
            chunked = len(layers) == 2 and plain and layers[0].channels > self.tiles.chunk
            prepared = [
                prepare(layer, code, self.tiles, self.packed, self.scratch, self.chosen, chunked and i == 0)
                for i, layer in enumerate(layers)
            ]
            middle = [self.tiles.chunk if chunked else layer.channels for layer in layers[:-1]]
            bases = [self.scratch.tile(code, channels) for channels in middle]
            partial = self.scratch.tile(code, layers[-1].channels) if chunked else 0
            with e.loop("block", code.blocks) as block:
                code.column = self.layout.column(block)
                if chunked:
                    self._chunks(layers, prepared, bases[0], partial, store.base if store else None)
                else:
                    for i, layer in enumerate(layers):
                        target = bases[i] if i < len(bases) else (store.base if store else None)
                        source = self._tile_input(layers[i - 1].channels, bases[i - 1]) if i else None
                        self._layer(layer, prepared[i], source, target)
                if store is not None:
                    store.emit(block)
        return StageFunction(
            self.stage, code.rows, code, self.packed, self.scratch.top - self.scratch.base, self._key()
        )

    def _tile_input(self, count: int, base: int, first: Any = 0) -> TileInput:
        return TileInput(first, count, lambda c, row, slot: self.address(base, c, row, slot))

    def _join(self) -> None:
        """Copy the parts, one after another, into the line buffer of their concatenation."""
        code, e = self.code, self.code.e
        first = 0
        for name in self.stage.parts:
            count = code.widths[name]
            with e.loop("c", count) as c, e.loop("block", code.blocks) as block:
                code.column = self.layout.column(block)
                for slot in range(SLOTS):
                    value = e.load(code.ws, code.address(code.inputs[name][0], c, slot))
                    e.store(code.ws, value, code.address(code.outputs[0], first + c, slot))
            first += count

    def _finish(self, plan: Prepared, target: int | None, shift: Any = 0) -> Finish:
        """Return what ends a sum: its steps, and the store to line buffer or tile (from channel ``shift``)."""
        code, e = self.code, self.code.e

        def finish(channel: Any, row: int, slot: int, value: Any) -> None:
            value = code.apply(plan.steps, value, channel, row, slot)
            if target is None:
                e.store(code.ws, value, code.address(code.outputs[row], channel, slot))
            else:
                e.store(code.ws, value, self.address(target, channel - shift, row, slot))

        return finish

    def _layer(self, layer: RowLayer, plan: Prepared, source: TileInput | None, target: int | None) -> None:
        e, finish = self.code.e, self._finish(plan, target)
        init: Init | None = None
        if plan.products is not None:
            done = finish
            if plan.products.total is not None:
                init, done = self._kept(plan.products.total)
            self._winograd(layer, plan.products, plan.bias, done)
            if plan.products.total is None:
                return
        with e.loop("group", plan.groups) as group:
            self._direct(layer, plan, group, 0, layer.channels // plan.groups, source, init, finish)

    def _kept(self, base: int) -> tuple[Init, Finish]:
        """Return how sums that wait in a tile are taken up again, and how they are put there."""
        e, ws = self.code.e, self.code.ws
        return (
            lambda channel, row, slot: e.load(ws, self.address(base, channel, row, slot)),
            lambda channel, row, slot, value: e.store(ws, value, self.address(base, channel, row, slot)),
        )

    def _winograd(self, layer: RowLayer, products: winograd.Products, bias: int, done: Finish) -> None:
        code, term = self.code, products.term
        with code.e.loop("group", term.groups) as group:
            winograd.emit_input(code, term, group, products.input)
            for first, size in products.tiles.visit(code.e):
                start = group * (layer.channels // term.groups) + first
                winograd.emit_products(code, products, bias, group, first, size, _shifted(done, start))

    def _direct(
        self, layer: RowLayer, plan: Prepared, group: Any, begin: Any, count: int,
        source: TileInput | None, init: Init | None, finish: Finish,
    ) -> None:  # fmt: skip
        """Channels ``begin`` up to ``begin + count`` of a group, by definition."""
        code, e = self.code, self.code.e
        unroll = any(skips(term) for term, _ in plan.direct)
        places = [(row, slot) for row in range(code.rows) for slot in range(SLOTS)]
        for first, size in plan.blocks[count].visit(e, unroll):
            start = group * (layer.channels // plan.groups) + (begin + first)
            tile = [{place: e.register("a") for place in places} for _ in range(size)]
            for output in range(size):
                bias = None if init else e.bind("b", code.number(plan.bias + (start + output)))
                for place in places:
                    tile[output][place].set(init(start + output, *place) if init else bias)
            for term, offset in plan.direct:
                emit_direct(code, term, offset, group, begin + first, tile, source, self.tiles.unroll)
            for output in range(size):
                for place in places:
                    finish(start + output, *place, tile[output][place].get())

    def _chunks(
        self, layers: tuple[RowLayer, ...], plans: list[Prepared], base: int, partial: int, target: int | None
    ) -> None:
        """Write a chain, a chunk of its middle channels at a time, so that they and the weights stay in L1."""
        code, e = self.code, self.code.e
        (wide, last), places = layers, [(row, slot) for row in range(code.rows) for slot in range(SLOTS)]
        init, keep = self._kept(partial)
        with e.loop("o", last.channels) as output:
            bias = e.bind("b", code.number(plans[1].bias + output))
            for place in places:
                keep(output, *place, bias)
        for begin, count in plans[0].chunks.visit(e):
            self._direct(wide, plans[0], 0, begin, count, None, None, self._finish(plans[0], base, begin))
            source = self._tile_input(count, base, begin)
            self._direct(last, plans[1], 0, 0, last.channels, source, init, keep)
        finish = self._finish(plans[1], target)
        with e.loop("o", last.channels) as output:
            for place in places:
                finish(output, *place, init(output, *place))

    def _key(self) -> Any:
        stage = self.stage
        reads = {name: i for i, name in enumerate(stage.reads)}
        layers = []
        for layer in stage.layers:
            terms = tuple(
                (t.weight.shape, t.groups, tuple((reads.get(n), self.code.widths.get(n)) for n in t.inputs), _mask(t))
                for t in layer.terms
            )
            steps = tuple((s.function,) if isinstance(s, Pointwise) else (reads[s.value],) for s in layer.steps)
            layers.append((terms, steps, layer.channels))
        parts = tuple((reads[p], self.code.widths[p]) for p in stage.parts)
        shuffle = stage.result.shuffle if stage.result else 0
        return (stage.source is not None, stage.channels, tuple(layers), tuple(stage.reads.values()), parts, shuffle)


def _shifted(done: Finish, start: Any) -> Finish:
    return lambda output, row, slot, value: done(start + output, row, slot, value)


def _mask(conv: Conv) -> bytes:
    return taps(conv.weight).tobytes() if skips(conv) else b""


def emit_stage(stage: RowStage, layout: RowLayout, tiles: Tiles, scratch: int, widths: dict[str, int]) -> StageFunction:
    """Write the function of a stage.

    Args:
        stage: What is to be made.
        layout: Of the rows of a strip.
        tiles: The decisions on its code.
        scratch: Offset in the workspace where its scratch begins.
        widths: Channels of every value that lies in a line buffer, by name.

    Returns:
        The code with its numbers and the scratch that it needs.
    """
    return _Emitter(stage, layout, tiles, scratch, widths).run()
