"""The function of one stage: its layers, tile by tile, over the column blocks of a row or a pair of rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tvm import tirx

from sr_tvm.streaming.region import Conv, Pointwise, taps
from sr_tvm.streaming.rows import winograd
from sr_tvm.streaming.rows.blocks import Blocks
from sr_tvm.streaming.rows.code import Packed, StageCode, pack_steps
from sr_tvm.streaming.rows.direct import emit_direct, pack_direct, skips
from sr_tvm.streaming.rows.emit import private
from sr_tvm.streaming.rows.layout import SLOTS, Layout
from sr_tvm.streaming.rows.memory import ResultStore, emit_source
from sr_tvm.streaming.rows.stages import Addend, Layer, Stage


@dataclass(frozen=True)
class Tiles:
    """Decisions on a stage's code: most output channels of a direct and of a Winograd register tile; whether a 3x3 is Winograd."""

    direct: int
    winograd: int
    use_winograd: bool = True


@dataclass
class Function:
    """A stage's code: how a call is made, its numbers, and what makes two stages share one function."""

    stage: Stage
    rows: int
    code: StageCode
    packed: Packed
    scratch: int
    key: Any
    extra: tuple[str, ...] = field(default=())

    def prim_func(self) -> tirx.PrimFunc:
        return private(self.code.params, self.code.e.body())


def winograd_pays(conv: Conv, layout: Layout) -> bool:
    """Whether F(2x2, 3x3) has fewer operations than the definition, transforms included, for four pixels of a group."""
    outputs, channels, kh, kw = conv.weight.shape
    outputs //= conv.groups
    if (layout.phases, layout.rows, kh, kw) != (2, 2, 3, 3):
        return False
    # An addition and a store each are taken for one product; so are the loads that go with them.
    return 16 * channels * outputs + 48 * channels + 44 * outputs < 36 * channels * outputs


class _Emitter:
    def __init__(self, stage: Stage, layout: Layout, tiles: Tiles, scratch: int, widths: dict[str, int]) -> None:
        self.stage, self.layout, self.tiles, self.base = stage, layout, tiles, scratch
        self.chosen = {
            term.name
            for term in (stage.layers[0].terms if stage.layers else ())
            if tiles.use_winograd and winograd_pays(term, layout)
        }
        self.chosen = set(list(self.chosen)[:1]) if len(self.chosen) < 2 else {min(self.chosen)}
        self.code = StageCode(stage, layout, 2 if self.chosen else 1, scratch, widths)
        self.packed = Packed()
        self.top = scratch

    def reserve(self, floats: int) -> int:
        base, self.top = self.top, self.top + floats
        return base

    def tile(self, channels: int) -> int:
        return self.reserve(channels * self.code.rows * SLOTS * self.layout.lanes)

    def run(self) -> Function:
        code, e = self.code, self.code.e
        extra: tuple[str, ...] = ()
        if self.stage.source is not None:
            emit_source(code, self.packed)
        elif self.stage.parts:
            self._join()
        else:
            store = None
            if self.stage.result is not None:
                store = ResultStore(code, self.tile(self.stage.channels))
            prepared = [self._prepare(layer) for layer in self.stage.layers]
            bases = [self.tile(layer.channels) for layer in self.stage.layers[:-1]]
            with e.loop("block", code.blocks) as block:
                code.column = self.layout.column(block)
                for i, layer in enumerate(self.stage.layers):
                    source = bases[i - 1] if i else None
                    target = bases[i] if i < len(bases) else (store.base if store else None)
                    self._layer(layer, prepared[i], source, target)
                if store is not None:
                    store.emit(block)
        return Function(self.stage, code.rows, code, self.packed, self.top - self.base, self._key(), extra)

    def _join(self) -> None:
        """Copy the parts, one after another, into the ring of their concatenation."""
        code, e = self.code, self.code.e
        first = 0
        for name in self.stage.parts:
            count = code.widths[name]
            with e.loop("c", count) as c, e.loop("block", code.blocks) as block:
                code.column = self.layout.column(block)
                for slot in range(SLOTS):
                    value = e.load(code.ws, code.address(code.inputs[name][0], c, slot))
                    e.store(code.ws, code.address(code.outputs[0], first + c, slot), value)
            first += count

    def _prepare(self, layer: Layer) -> dict[str, Any]:
        """Pack a layer's numbers and reserve its scratch."""
        groups = {term.groups for term in layer.terms}
        per_group = layer.channels // max(groups, default=1)
        plan: dict[str, Any] = {"blocks": Blocks.of(per_group if len(groups) == 1 else layer.channels, self.tiles.direct)}
        bias = sum((term.bias.astype("float64") for term in layer.terms), np.zeros(layer.channels))
        plan["bias"] = self.packed.add(bias)
        for term in layer.terms:
            if term.name in self.chosen:
                blocks = Blocks.of(layer.channels // term.groups, self.tiles.winograd)
                plan["winograd"] = (term, blocks, winograd.pack_winograd(self.packed, term, blocks))
                plan["input"] = self.reserve(winograd.tile_floats(term, self.layout.lanes))
                plan["partial"] = self.reserve(winograd.partial_floats(blocks, self.layout.lanes))
            else:
                plan.setdefault("direct", []).append((term, pack_direct(self.packed, term, plan["blocks"])))
        if "winograd" in plan and "direct" in plan:
            plan["sum"] = self.tile(layer.channels)
        plan["steps"] = pack_steps(self.packed, layer.steps)
        return plan

    def _tile_address(self, base: int, channel: Any, row: int, slot: int) -> Any:
        return base + ((channel * self.code.rows + row) * SLOTS + slot) * self.layout.lanes

    def _layer(self, layer: Layer, plan: dict[str, Any], source: int | None, target: int | None) -> None:
        code, e = self.code, self.code.e

        def finish(channel: Any, row: int, slot: int, value: Any) -> None:
            value = code.apply(plan["steps"], value, channel, row, slot)
            if target is None:
                e.store(code.ws, code.address(code.outputs[row], channel, slot), value)
            else:
                e.store(code.ws, self._tile_address(target, channel, row, slot), value)

        direct = plan.get("direct", [])
        if "winograd" in plan:
            term, blocks, offset = plan["winograd"]

            def done(channel: Any, row: int, slot: int, value: Any) -> None:
                if direct:
                    e.store(code.ws, self._tile_address(plan["sum"], channel, row, slot), value)
                else:
                    finish(channel, row, slot, value)

            with e.loop("group", term.groups) as group:
                winograd.emit_input(code, term, group, plan["input"])
                for first, size in blocks.visit(e):
                    start = group * (layer.channels // term.groups) + first
                    winograd.emit_products(
                        code, term, offset, plan["bias"], group, first, size, plan["input"], plan["partial"],
                        lambda o, r, s, v, start=start: done(start + o, r, s, v),
                    )  # fmt: skip
            if not direct:
                return
        self._direct(layer, plan, source, finish)

    def _direct(self, layer: Layer, plan: dict[str, Any], source: int | None, finish: Any) -> None:
        code, e = self.code, self.code.e
        terms = plan.get("direct", [])
        groups = terms[0][0].groups if len({term.groups for term, _ in terms}) == 1 else 1
        unroll = any(skips(term) for term, _ in terms)

        def tile_input(channel: Any, row: int, slot: int) -> Any:
            return self._tile_address(source, channel, row, slot)

        with e.loop("group", groups) as group:
            for row in range(code.rows):
                for first, size in plan["blocks"].visit(e, unroll):
                    start = group * (layer.channels // groups) + first
                    tile = [[e.register("a") for _ in range(SLOTS)] for _ in range(size)]
                    for output in range(size):
                        bias = None
                        for slot in range(SLOTS):
                            if "sum" in plan:
                                value = e.load(code.ws, self._tile_address(plan["sum"], start + output, row, slot))
                            else:
                                bias = bias if bias is not None else e.bind("b", code.number(plan["bias"] + (start + output)))
                                value = bias
                            tile[output][slot].set(value)
                    for term, offset in terms:
                        emit_direct(code, term, offset, group, first, tile, row, tile_input)
                    for output in range(size):
                        for slot in range(SLOTS):
                            finish(start + output, row, slot, tile[output][slot].get())

    def _key(self) -> Any:
        stage = self.stage
        reads = {name: i for i, name in enumerate(stage.reads)}
        layers = []
        for layer in stage.layers:
            terms = tuple(
                (t.weight.shape, t.groups, tuple((reads.get(n), self.code.widths.get(n)) for n in t.inputs), _mask(t))
                for t in layer.terms
            )
            steps = tuple(
                (s.function,) if isinstance(s, Pointwise) else (reads[s.value],) for s in layer.steps
            )
            layers.append((terms, steps, layer.channels))
        parts = tuple((reads[p], self.code.widths[p]) for p in stage.parts)
        shuffle = stage.result.shuffle if stage.result else 0
        return (stage.source is not None, stage.channels, tuple(layers), tuple(stage.reads.values()), parts, shuffle)


def _mask(conv: Conv) -> bytes:
    return taps(conv.weight).tobytes() if skips(conv) else b""


def emit_stage(stage: Stage, layout: Layout, tiles: Tiles, scratch: int, widths: dict[str, int]) -> Function:
    """The code of ``stage``; its scratch begins at ``scratch`` of the workspace. ``widths``: channels of every ring."""
    return _Emitter(stage, layout, tiles, scratch, widths).run()
