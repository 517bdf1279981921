"""The entry function: bands of rows over TVM's threads, strips of columns, and in each strip the stages row by row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tvm
from tvm import tirx

from sr_tvm.codegen.kernel import Shape
from sr_tvm.errors import SrTvmError
from sr_tvm.regions.value import NHCW, Value
from sr_tvm.targets.cpu.rows.code import builder
from sr_tvm.targets.cpu.rows.layout import RowLayout
from sr_tvm.targets.cpu.rows.plan import RowPlan
from sr_tvm.targets.cpu.rows.stage import StageFunction

MIN_BAND = 8  # steps: a thread's band repeats the halo above and below it


@dataclass(frozen=True)
class StageCall:
    """A stage's code, the name of the function it is called by, and the offset of its numbers."""

    function: StageFunction
    name: str
    weights: int


@dataclass(frozen=True)
class DriverOptions:
    """What drives the rows of a region.

    Attributes:
        name: of the entry, a prefix of all others' names.
        inputs, outputs: the values it reads and writes, as they lie in memory.
        layout: of the rows.
        plan: where the line buffers lie, and the delays of the stages.
        stages: producers first.
        packed: how many numbers there are of all stages.
        workspace: elements of a thread's line buffers and scratch.
        bands: how many bands of rows there are; None for as many as TVM has threads.
    """

    name: str
    inputs: Sequence[Value]
    outputs: Sequence[Value]
    layout: RowLayout
    plan: RowPlan
    stages: Sequence[StageCall]
    packed: int
    workspace: int
    bands: int | None = None


class RowDriver:
    """Builds the entry of a kernel that streams rows, and the function of one strip that it calls.

    The entry takes the inputs in (N, C, H, W) or as their layout says, the packed weights and the outputs. Each
    parallel task is a band of rows of one image, which has a workspace of its own.

    Attributes:
        names: the variables of the stages' functions, which the strip's calls.
        strip, clear: the variables of the function of one strip, and of that of :func:`clear_function`.
    """

    def __init__(self, shape: Shape, options: DriverOptions) -> None:
        self.options = options
        self.layout, self.plan, self.stages = options.layout, options.plan, options.stages
        layout, stages = self.layout, self.stages
        variables = {stage.name: tvm.ir.GlobalVar(stage.name) for stage in stages}
        self.names = list(variables.values())
        self.of = [variables[stage.name] for stage in stages]
        self.strip, self.clear = (tvm.ir.GlobalVar(f"{options.name}_{name}") for name in ("strip", "clear"))
        self.e = builder(layout)
        self.dims = [tirx.Var(n, "int64") if s is None else s for n, s in zip("nhw", shape, strict=True)]

        def tensor(name: str, value: Value) -> Any:
            return tirx.decl_buffer(value.shape(*self.dims), value.dtype, name=name)

        self.sources = {value.name: tensor(f"x{i}", value) for i, value in enumerate(options.inputs)}
        self.packed = tirx.decl_buffer((options.packed,), layout.element.dtype, name="weights", data_alignment=64)
        self.results = {value.key: tensor(f"y{i}", value) for i, value in enumerate(options.outputs)}
        self.layouts = {value.key: value.layout for value in (*options.inputs, *options.outputs)}
        self.tensors = (*self.sources.values(), *self.results.values())

    def build(self) -> tuple[tirx.PrimFunc, tirx.PrimFunc]:
        """Write both functions; a driver does so once.

        Returns:
            The entry, and the function of one strip that it calls.

        Raises:
            SrTvmError: The strip is too narrow for the halo, and the picture is wider than it or of unknown width.
        """
        e, layout = self.e, self.layout
        halo, blocks = self.plan.halo, layout.block
        h, w = (tirx.Cast("int32", d) if not isinstance(d, int) else tirx.const(d, "int32") for d in self.dims[1:])
        batch = self.dims[0] if isinstance(self.dims[0], int) else tirx.Cast("int32", self.dims[0])
        steps = tirx.floordiv(h + (layout.rows - 1), layout.rows)
        threads = self.options.bands or e.bind("threads", tirx.Cast("int32", tirx.call_packed("runtime.NumThreads")))
        bands = e.bind("bands", tirx.Max(tirx.Min(threads, tirx.floordiv(steps, MIN_BAND)), 1))
        even = e.bind("even", w + tirx.floormod(w, layout.phases) if layout.phases == 2 else w)
        useful = layout.width - 2 * halo
        if useful <= 0:
            fixed = self.dims[2]
            if not isinstance(fixed, int) or fixed > layout.width:
                raise SrTvmError(f"strips of {layout.width} pixels are too narrow for a halo of {halo} on both sides")
            useful = 1  # the picture is one strip
        count = e.bind("strips", tirx.floordiv(tirx.Max(even - layout.width, 0) + (useful - 1), useful) + 1)
        share = tirx.floordiv(even + (2 * halo + 1) * (count - 1), count)
        width = e.bind("width", tirx.floordiv(share + (blocks - 1), blocks) * blocks)
        tasks = e.bind("tasks", batch * bands)
        with e.loop("task", tasks, tirx.ForKind.PARALLEL) as task:
            workspace = e.scratch("line_buffers", self.options.workspace)
            with e.loop("i", self.options.workspace) as i:  # LLVM makes it a memset
                e.store_scalar(workspace, e.real(0), i)
            image, band = tirx.floordiv(task, bands), e.bind("band", tirx.floormod(task, bands))
            first = e.bind("first", tirx.floordiv(steps * band, bands))
            last = e.bind("last", tirx.floordiv(steps * (band + 1), bands))
            with e.loop("strip", count) as strip:
                left = e.bind("left", tirx.Max(tirx.Min(strip * (width - 2 * halo), even - width), 0))
                valid = e.bind("valid", tirx.Min(w - left, width))
                low = tirx.Select(tirx.EQ(strip, 0), tirx.const(0, "int32"), tirx.const(halo, "int32"))
                high = tirx.Select(tirx.EQ(strip, count - 1), valid, width - halo)
                memory = [tirx.buffer_data(b) for b in (workspace, self.packed, *self.tensors)]
                numbers = [image, h, w, first, last, left, valid, low, high]
                e.call(self.strip, [*memory, *numbers])
        buffers = [*self.sources.values(), self.packed, *self.results.values()]
        return e.entry(buffers), self._strip()

    def _strip(self) -> tirx.PrimFunc:
        """Return the function of one strip of one band: apart, for TVM's simplifier is slow where it sees all sizes."""
        self.e = e = builder(self.layout)
        self.ws, self.p = e.pointer("ws"), e.pointer("p")
        values = (*self.options.inputs, *self.options.outputs)
        names = (*self.sources, *self.results)
        self.memory = {n: e.pointer(f"m{i}", v.dtype) for i, (n, v) in enumerate(zip(names, values, strict=True))}
        numbers = ("image", "h", "w", "first", "last", "left", "valid", "low", "high")
        image, self.h, w, first, last, left, self.valid, self.low, self.high = map(e.parameter, numbers)
        layout, plan = self.layout, self.plan
        self.image, self.left = tirx.Cast("int64", image), tirx.Cast("int64", left)
        self.h64, self.w64 = tirx.Cast("int64", self.h), tirx.Cast("int64", w)
        self.blocks = e.bind("blocks", tirx.floordiv(self.valid + (layout.block - 1), layout.block))
        steps = e.bind("steps", tirx.floordiv(self.h + (layout.rows - 1), layout.rows))
        ahead = max(r - d for r, d in zip(plan.reach, plan.delay, strict=True))
        with e.loop("t", e.bind("extent", last - first + (ahead + max(plan.delay)))) as t:
            for i in range(len(self.stages)):
                at = e.bind("q", first + t - (ahead + plan.delay[i]))
                low, high = tirx.Max(first - plan.reach[i], 0), tirx.Min(last + plan.reach[i], steps)
                with e.when(tirx.And(low <= at, at < high)):
                    self._stage(i, at)
        return e.private(self.strip.name_hint)

    def _row(self, value: str, y: Any) -> Any:
        line_buffer = self.plan.line_buffers[value]
        return line_buffer.base + tirx.floormod(y, line_buffer.rows) * line_buffer.floats

    def _row_or_zero(self, value: str, y: Any) -> Any:
        inside = tirx.And(y >= 0, y < self.h)
        return tirx.Select(inside, self._row(value, y), tirx.const(self.plan.zero, "int32"))

    def _stage(self, i: int, at: Any) -> None:
        """Write the calls of one stage in one step: one for a pair of rows, or one for each row inside the picture."""
        e, function, rows = self.e, self.stages[i].function, self.layout.rows
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

    def _strides(self, value: str, channels: int, r: int, y: Any) -> tuple[Any, Any, Any]:
        """Return where row ``y`` of the strip begins in memory, and how far channels and lines are apart."""
        w, height = self.w64 * r, self.h64 * r
        if self.layouts[value, r] == NHCW:
            plane, line = w, w * channels
        else:
            plane, line = w * height, w
        return self.image * channels * height * w + y * r * line + self.left * r, plane, line

    def _call(self, i: int, y: Any) -> None:
        e, function, stage = self.e, self.stages[i].function, self.stages[i].function.stage
        args: list[Any] = [self.ws, self.p]
        if stage.source is not None:
            args.append(self.memory[stage.source.name])
        elif stage.result is not None:
            args.append(self.memory[stage.result.value, stage.result.shuffle])
        args += [e.integer(self.stages[i].weights), self.blocks]
        for value, halo in stage.reads.items():
            for dy in range(-halo, function.rows + halo):
                row = self._row(value, y) if dy == 0 else self._row_or_zero(value, y + dy)
                args.append(e.bind("row", row))
        if stage.result is None:
            args += [e.bind("row", self._row(stage.value, y + r)) for r in range(function.rows)]
        top = tirx.Cast("int64", y)
        if stage.source is not None:
            origin, plane, _ = self._strides(stage.source.name, stage.source.channels, 1, top)
            args += [self.valid, origin, plane]
        if stage.result is not None:
            r = stage.result.shuffle
            origin, plane, line = self._strides(stage.value, stage.channels // (r * r), r, top)
            count = tirx.Min(tirx.const(function.rows, "int32"), self.h - y)
            args += [self.low, self.high, count, origin, plane, line]
        e.call(self.of[i], args)
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
                    e.call(self.clear, args)


def clear_function(name: str, layout: RowLayout) -> tirx.PrimFunc:
    """Make the function that zeroes what lies right of the picture in a line buffer's row: the padding of its readers.

    Its parameters are the workspace, the row's offset there, the channels, the pixels of the strip that lie in the
    picture, and the strip's column blocks.

    Args:
        name: That others call it by.
        layout: Of the rows of the strip.

    Returns:
        A private function.
    """
    e = builder(layout)
    buffer = e.view("W", e.pointer("ws"))
    row, channels, valid, blocks = map(e.parameter, ("row", "channels", "valid", "blocks"))
    with e.loop("c", channels) as c, e.loop("x", blocks * layout.block - valid) as x:
        e.store_scalar(buffer, e.real(0), row + c * layout.channel + layout.pixel(valid + x))
    return e.private(name)
