"""The entry function: bands of rows over TVM's threads, strips of columns, and in each strip the stages row by row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tvm
from tvm import tirx

from sr_tvm.streaming.lowering import Shape
from sr_tvm.streaming.region import Region
from sr_tvm.streaming.rows.emit import FLOAT, Emitter
from sr_tvm.streaming.rows.layout import Layout
from sr_tvm.streaming.rows.plan import Plan
from sr_tvm.streaming.rows.stage import Function

MIN_BAND = 8  # steps: a thread's band repeats the halo above and below it


def _int32(value: Any) -> Any:
    return tirx.const(value, "int32") if isinstance(value, int) else value


class Driver:
    """Builds the entry. ``functions[i]`` is the code of stage i, called by ``names[i]``; ``weights[i]`` the offset of its numbers."""

    def __init__(
        self,
        region: Region,
        shape: Shape,
        layout: Layout,
        plan: Plan,
        functions: Sequence[Function],
        names: Sequence[str],
        weights: Sequence[int],
        sizes: tuple[int, int],
        bands: int | None,
    ) -> None:
        self.layout, self.plan, self.functions = layout, plan, functions
        self.names = [tvm.ir.GlobalVar(name) for name in dict.fromkeys(names)]
        self.of = [next(v for v in self.names if v.name_hint == name) for name in names]
        self.clear = tvm.ir.GlobalVar(f"{names[0].rsplit('_', 1)[0]}_clear") if names else None
        self.weights, self.bands, self.region = weights, bands, region
        self.e = Emitter(layout.lanes)
        dims = [tirx.Var(n, "int64") if s is None else s for n, s in zip("nhw", shape, strict=True)]
        self.dims = dims

        def tensor(name: str, channels: int, r: int = 1) -> Any:
            return tirx.decl_buffer((dims[0], channels, dims[1] * r, dims[2] * r), FLOAT, name=name)

        self.sources = {s.name: tensor(f"x{i}", s.channels) for i, s in enumerate(region.sources)}
        self.packed = tirx.decl_buffer((sizes[0],), FLOAT, name="weights", data_alignment=64)
        self.results = {
            (r.value, r.shuffle): tensor(f"y{i}", region.by_name[r.value].channels // r.shuffle**2, r.shuffle)
            for i, r in enumerate(region.results)
        }
        self.workspace = sizes[1]
        self.n, self.h, self.w = (d if isinstance(d, int) else tirx.Cast("int32", d) for d in dims)

    def build(self) -> tirx.PrimFunc:
        e, plan, layout = self.e, self.plan, self.layout
        self.steps = self._bind("steps", tirx.floordiv(_int32(self.h) + (layout.rows - 1), layout.rows))
        threads = self.bands
        if threads is None:
            threads = e.bind("threads", tirx.Cast("int32", tirx.call_packed("runtime.NumThreads")))
        bands = e.bind("bands", tirx.Max(tirx.Min(_int32(threads), tirx.floordiv(self.steps, MIN_BAND)), 1))
        tasks = e.bind("tasks", _int32(self.n) * bands)
        with e.loop("task", tasks, tirx.ForKind.PARALLEL) as task:
            workspace = tirx.decl_buffer((self.workspace,), FLOAT, name="rings", data_alignment=64, layout=None)
            e.add(tirx.AllocBuffer(workspace))
            self.ws = tirx.buffer_data(workspace)
            with e.loop("i", self.workspace) as i:  # LLVM makes it a memset
                e.store_scalar(workspace, i, tirx.const(0.0, FLOAT))
            self.image = tirx.Cast("int64", tirx.floordiv(task, bands))
            band = e.bind("band", tirx.floormod(task, bands))
            self.first = e.bind("first", tirx.floordiv(self.steps * band, bands))
            self.last = e.bind("last", tirx.floordiv(self.steps * (band + 1), bands))
            self._strips()
        buffers = [*self.sources.values(), self.packed, *self.results.values()]
        func = tirx.PrimFunc(buffers, e.body())
        return func.with_attr({"s_tir": True, "tirx.noalias": True, "tirx.is_scheduled": True})

    def _bind(self, name: str, value: Any) -> Any:
        value = _int32(value)
        return (
            value
            if isinstance(value, tvm.ir.IntImm if hasattr(tvm.ir, "IntImm") else tirx.IntImm)
            else self.e.bind(name, value)
        )

    def _strips(self) -> None:
        """Strips overlap by the halo on both sides; the last one is moved left so that it ends with the picture."""
        e, layout, halo = self.e, self.layout, self.plan.halo
        width, w = layout.width, _int32(self.w)
        even = self._bind("even", w + tirx.floormod(w, layout.phases) if layout.phases == 2 else w)
        more = tirx.floordiv(tirx.Max(even - width, 0) + (width - 2 * halo - 1), width - 2 * halo)
        count = self._bind("strips", more + 1)
        share = tirx.floordiv(even + 2 * halo * (count - 1) + (count - 1), count)
        width = self._bind("width", tirx.floordiv(share + (layout.block - 1), layout.block) * layout.block)
        with e.loop("strip", count) as strip:
            last = tirx.EQ(strip, count - 1)
            self.left = self._bind("left", tirx.Max(tirx.Min(strip * (width - 2 * halo), even - width), 0))
            self.valid = self._bind("valid", tirx.Min(w - self.left, width))
            self.blocks = self._bind("blocks", tirx.floordiv(self.valid + (layout.block - 1), layout.block))
            self.low = self._bind(
                "low", tirx.Select(tirx.EQ(strip, 0), tirx.const(0, "int32"), tirx.const(halo, "int32"))
            )
            self.high = self._bind("high", tirx.Select(last, self.valid, width - halo))
            plan = self.plan
            ahead = max(r - d for r, d in zip(plan.reach, plan.delay, strict=True))
            extent = e.bind("extent", self.last - self.first + (ahead + max(plan.delay)))
            with e.loop("t", extent) as t:
                for i in range(len(self.functions)):
                    at = e.bind("q", self.first + t - (ahead + plan.delay[i]))
                    low = tirx.Max(self.first - plan.reach[i], 0)
                    high = tirx.Min(self.last + plan.reach[i], self.steps)
                    with e.when(tirx.And(low <= at, at < high)):
                        self._stage(i, at)

    def _row(self, value: str, y: Any) -> Any:
        ring = self.plan.rings[value]
        return ring.base + tirx.floormod(y, ring.rows) * ring.floats

    def _row_or_zero(self, value: str, y: Any) -> Any:
        inside = tirx.And(y >= 0, y < self.h)
        return tirx.Select(inside, self._row(value, y), tirx.const(self.plan.zero, "int32"))

    def _stage(self, i: int, at: Any) -> None:
        """The calls of one stage in one step: one for a pair of rows, or one for each row inside the picture."""
        e, function, rows = self.e, self.functions[i], self.layout.rows
        if function.rows == rows:
            self._call(i, at * rows if rows > 1 else at)
            return
        for r in range(rows):
            y = e.bind("y", at * rows + r)
            if r == 0:
                self._call(i, y)
            else:
                with e.when(y < self.h):
                    self._call(i, y)

    def _call(self, i: int, y: Any) -> None:
        e, function, stage = self.e, self.functions[i], self.functions[i].stage
        args: list[Any] = [self.ws, tirx.buffer_data(self.packed)]
        memory = None
        if stage.source is not None:
            memory = self.sources[stage.source.name]
        elif stage.result is not None:
            memory = self.results[stage.result.value, stage.result.shuffle]
        if memory is not None:
            args.append(tirx.buffer_data(memory))
        args += [tirx.const(self.weights[i], "int32"), self.blocks]
        for value, halo in stage.reads.items():
            for dy in range(-halo, function.rows + halo):
                row = self._row_or_zero(value, y + dy) if dy < 0 or dy > 0 else self._row(value, y)
                args.append(e.bind("row", row))
        if stage.result is None:
            args += [e.bind("row", self._row(stage.value, y + r)) for r in range(function.rows)]
        h, w = (d if not isinstance(d, int) else tirx.const(d, "int64") for d in self.dims[1:])
        left, top = tirx.Cast("int64", self.left), tirx.Cast("int64", y)
        if stage.source is not None:
            origin = (self.image * stage.source.channels * h + top) * w + left
            args += [self.valid, origin, h * w]
        if stage.result is not None:
            r = stage.result.shuffle
            plane, line = h * w * (r * r), w * r
            origin = self.image * (stage.channels // (r * r)) * plane + top * r * line + left * r
            count = tirx.Min(tirx.const(function.rows, "int32"), self.h - y)
            args += [self.low, self.high, count, origin, plane, line]
        e.add(tirx.Evaluate(tvm.ir.Call(self.of[i], args)))
        if stage.result is None and stage.source is None:
            with e.when(self.valid < self.blocks * self.layout.block):
                for r in range(function.rows):
                    args = [
                        self.ws,
                        self._row(stage.value, y + r),
                        tirx.const(stage.channels, "int32"),
                        self.valid,
                        self.blocks,
                    ]
                    e.add(tirx.Evaluate(tvm.ir.Call(self.clear, args)))


def clear_function(layout: Layout) -> tirx.PrimFunc:
    """Zero the pixels of a ring's row that lie right of the picture: the padding of what reads them."""
    from sr_tvm.streaming.rows.emit import POINTER, private

    e = Emitter(layout.lanes)
    ws = tirx.Var("ws", POINTER)
    row, channels, valid, blocks = (tirx.Var(n, "int32") for n in ("row", "channels", "valid", "blocks"))
    buffer = e.buffer("W", ws)
    with e.loop("c", channels) as c, e.loop("x", blocks * layout.block - valid) as x:
        e.store_scalar(buffer, row + c * layout.channel + layout.pixel(valid + x), tirx.const(0.0, FLOAT))
    return private([ws, row, channels, valid, blocks], e.body())
