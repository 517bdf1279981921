"""The entry: line buffers for any size of picture, and in each step a row of every stage whose rows are ready.

A call makes a band of the picture's rows. Bands have line buffers of their own and share nothing that is written, so
that as many threads as the DSP has contexts can make them side by side; the rows around a band's edges are computed
once more in each, and the bytes are those of one call.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm
from tvm import tirx

from sr_tvm.codegen.builder import Expr
from sr_tvm.codegen.functions import Functions
from sr_tvm.isa.hexagon.program import RowCall, StageCalls
from sr_tvm.quantize.network import IntegerNetwork
from sr_tvm.regions.delays import timetable
from sr_tvm.system.validation import Record
from sr_tvm.targets.hexagon import machine_code
from sr_tvm.targets.hexagon.hvx import blend, convolution, edges, pack, pair
from sr_tvm.targets.hexagon.hvx.code import LANES, VECTOR, HvxBuilder, groups
from sr_tvm.targets.hexagon.hvx.convolution import HALFWORDS, Form
from sr_tvm.targets.hexagon.hvx.stages import ACROSS, HvxStage, columns

TILES = 4  # rows are made up to whole runs of so many: what the picture's planes are made into at a time
MARGIN = 1  # vectors before and behind the plane of a picture whose rows' neighbours are read as channels
MARK = "sr_hexagon_mark"  # called before each stage's row with its number, and with -1 after it


@dataclass(frozen=True)
class HvxLineBuffer:
    """The line buffer of a value: vectors of a tile, rows, a power of two, and whether a row of zeros follows."""

    tile: int
    rows: int
    zeros: bool
    seal: int  # pixels right of the picture that someone reads


class WorkspaceSize(Record, frozen=True, forbid_unknown_fields=False):
    """What a picture needs of the workspace, as vectors: ``rows`` whole rows of a tile's vector, and ``fixed``."""

    rows: int
    tables: int
    lines: int
    slack: int  # tiles of the largest value that are read, not used, beyond the last row

    def vectors(self, width: int) -> int:
        """How many vectors a picture of ``width`` pixels needs, whatever its height."""
        tiles = -(-width // (LANES * TILES)) * TILES
        return self.rows * (tiles + 2) + self.tables + -(-tiles // LANES) + self.lines * (tiles // TILES) + self.slack


def line_buffers(stages: list[HvxStage]) -> tuple[list[int], dict[str, HvxLineBuffer]]:
    """The delay of each stage, and the line buffers of all but the result."""
    place = {stage.value: i for i, stage in enumerate(stages)}
    place |= {stage.kept: i for i, stage in enumerate(stages) if stage.kept is not None}
    reads: list[dict[int, int]] = [{} for _ in stages]
    for read, stage in zip(reads, stages, strict=True):
        for name, halo in stage.reads.items():
            read[place[name]] = max(halo, read.get(place[name], 0))
    delay, _ = timetable(reads, 1)
    found = {}
    for i, stage in enumerate(stages[:-1]):
        for value, halves in ((stage.value, stage.end == HALFWORDS), (stage.kept, True)):
            if value is not None:
                read_by = [(delay[k] - delay[i], s.reads[value]) for k, s in enumerate(stages) if value in s.reads]
                rows, halo = max(late + halo for late, halo in read_by) + 1, max(halo for _, halo in read_by)
                rows += stage.packed > 0  # the row below the picture
                tile = groups(stage.channels) * (2 if halves else 1)
                found[value] = HvxLineBuffer(tile, 1 << (rows - 1).bit_length(), halo > 0, halo)
    return delay, found


def margins(stages: list[HvxStage]) -> list[int]:
    """How many rows of each stage above and below a band of the result's rows that band is made of."""
    found: dict[str, int] = {}
    for stage in reversed(stages):
        found[stage.value] = max(found.get(name, 0) for name in (stage.value, stage.kept) if name is not None)
        for name, halo in stage.reads.items():
            found[name] = max(found.get(name, 0), found[stage.value] + halo)
    return [found[stage.value] for stage in stages]


def memory(stages: list[HvxStage]) -> WorkspaceSize:
    """The workspace of a network."""
    found = list(line_buffers(stages)[1].values())
    longest = max((form.steps for s in stages if s.convolution and not s.expand for form, _ in s.forms()), default=0)
    planes, result = stages[0].planes * stages[0].rows, stages[-1]
    across = ACROSS[result.shuffle]
    lines = planes + result.channels // across * across
    return WorkspaceSize(
        sum((r.rows + r.zeros) * r.tile for r in found),
        -(-longest // LANES) + 1,
        lines,
        4 * max(r.tile for r in found) + (2 * MARGIN * planes if stages[0].taps else 0),
    )


class HvxDriver:
    """Writes the functions of a network."""

    def __init__(self, network: IntegerNetwork, stages: list[HvxStage], name: str) -> None:
        self.network, self.stages, self.name = network, stages, name
        self.packed = pack.PackedStages()
        self.functions = Functions(name)
        self.llvm: dict[str, machine_code.Options] = {}
        self.calls: dict[int, list[RowCall]] = {}
        self.delay, self.line_buffers = line_buffers(stages)
        self.copy = self.functions.of("copy", edges.copy)
        self.fill = self.functions.of("fill", edges.fill)
        self.seal = self.functions.of("seal", edges.seal)
        if network.shuffle == 3:
            self._squeeze = self.functions.of("squeeze", edges.squeeze)
            self.thirds = self.packed.add_biases(edges.thirds().view(np.int32))
        zeros = {stage.value: network.by_name[stage.value].meaning.zero_point for stage in stages[:-1]}
        for stage in stages:
            if stage.packed:
                many, rest = np.split(zeros[stage.value], [-stage.packed])
                zeros[stage.value] = np.concatenate([many, np.resize(rest, 4)])
        if stages[0].taps:  # a whole word of a plane's zeros, too, is what lies beside its row
            beside = zeros[stages[0].value]
            self.beside = [self.packed.add_zero(np.repeat(zero, 4)) for zero in beside for _ in range(stages[0].rows)]
            held = columns(len(self.beside), stages[0].taps, stages[0].rows)
            zeros[stages[0].value] = beside[[row // stages[0].rows for row, _ in held]]
        self.zero = {
            stage.value: self.packed.add_zero(zeros[stage.value]) for stage in stages[:-1] if stage.end != HALFWORDS
        }

    def entry(self) -> tirx.PrimFunc:
        """Write the entry.

        Its parameters are picture, weights, biases, result and workspace as flat tensors, then height and width of the
        picture, the first row to make of it and the one after the last; of the result it is a multiple.
        """
        c = self.c = HvxBuilder()
        flat = {"x": "uint8", "w": "int64", "b": "int32", "y": "uint8", "s": "int32"}
        buffers = {
            n: tirx.decl_buffer(
                (tirx.Var(f"n{n}", "int64"),), kind, name=n, data_alignment=1 if kind == "uint8" else VECTOR
            )
            for n, kind in flat.items()
        }
        self.workspace = buffers["s"]
        self.data = {n: tirx.buffer_data(buffer) for n, buffer in buffers.items()}
        self.height, self.width = c.parameter("h"), c.parameter("width")
        first, end = c.parameter("first"), c.parameter("end")
        self.tiles = c.bind("tiles", tirx.floordiv(self.width + (LANES * TILES - 1), LANES * TILES) * TILES)
        self._places()
        self._clear()
        needs = margins(self.stages)
        from_rows = [c.bind("low", tirx.max(first - margin, c.integer(0))) for margin in needs]
        to_rows = [c.bind("high", tirx.min(end + margin, self.height)) for margin in needs]
        # The picture's rows are the first that are needed, and the result's the last.
        with c.loop("t", end + max(self.delay) - from_rows[0]) as step:
            t = c.bind("t", step + from_rows[0])
            for i, stage in enumerate(self.stages):
                y = c.bind("y", t - self.delay[i])
                with c.when(tirx.And(y >= from_rows[i], y < to_rows[i])):
                    self._mark(i)
                    self._stage(stage, y)
                    self._mark(-1)
        return c.entry(list(buffers.values()))

    @property
    def constants(self) -> dict[str, np.ndarray]:
        """Once the entry is written: weights and biases."""
        return {"weights": self.packed.weights, "biases": self.packed.biases}

    def _mark(self, number: int) -> None:
        self.c.add(tirx.Evaluate(tirx.call_extern("int32", MARK, self.c.integer(number))))

    def _places(self) -> None:
        """Where everything lies in the workspace, in vectors."""
        c, place = self.c, self.c.integer(0)
        self.row, self.base = {}, {}
        for value, line_buffer in self.line_buffers.items():
            self.row[value] = c.bind("row", (self.tiles + 2) * line_buffer.tile)
            self.base[value] = c.bind("base", place)
            place = self.base[value] + self.row[value] * (line_buffer.rows + line_buffer.zeros)
        used = memory(self.stages)
        self.table = c.bind("table", place)
        self.zeros = c.bind("zeros", self.table + used.tables)
        margin = MARGIN if self.stages[0].taps else 0
        self.planes = c.bind("planes", self.zeros + tirx.floordiv(self.tiles + (LANES - 1), LANES) + margin)
        self.line = c.bind("line", tirx.floordiv(self.tiles, TILES))
        self.plane = c.bind("plane", self.line + 2 * margin)
        self.lines = c.bind("lines", self.planes + self.plane * self.stages[0].planes * self.stages[0].rows - margin)

    def _clear(self) -> None:
        """Zeros outside of the picture, in every line buffer whose neighbours are read."""
        c = self.c
        with c.loop("i", self.tiles) as i:
            c.store_scalar(self.workspace, c.integer(0), self.zeros * LANES + i)
        if self.stages[0].taps:  # left and right of the picture, which nobody writes to
            for k in range(len(self.beside)):
                self._no_row(k)
        for value, line_buffer in self.line_buffers.items():
            if line_buffer.zeros:
                count = (self.tiles + 2) * (line_buffer.rows + 1)
                numbers = [self.base[value], line_buffer.tile, count, self.zero[value]]
                c.call(self.fill, [self.data["s"], self.data["b"], *map(self._number, numbers)])

    def _no_row(self, k: int) -> None:
        """Of the picture, what stands for 0 in its row ``k`` that is made into tiles, and beside it."""
        place = self.planes - MARGIN + self.plane * k
        numbers = [place, self._number(1), self.plane, self._number(self.beside[k])]
        self.c.call(self.fill, [self.data["s"], self.data["b"], *numbers])

    def _row(self, value: str, y: Expr) -> Expr:
        """The place of the first tile of a row that is there."""
        line_buffer = self.line_buffers[value]
        return self.base[value] + (y & self.c.integer(line_buffer.rows - 1)) * self.row[value] + line_buffer.tile

    def _row_or_zeros(self, value: str, y: Expr) -> Expr:
        line_buffer = self.line_buffers[value]
        inside = tirx.And(y >= 0, y < self.height)
        outside = self.base[value] + self.row[value] * line_buffer.rows + line_buffer.tile
        return tirx.Select(inside, self._row(value, y), outside)

    def _stage(self, stage: HvxStage, y: Expr) -> None:
        c = self.c
        if stage.blend is not None:
            self._blend(stage, y)
        elif stage.convolution is None:
            self._picture(stage, y)
        elif stage.expand is not None:
            self._pair(stage, y)
        else:
            self._convolution(stage, y)
        if stage.shuffle:
            self._result(stage, y)
        elif self.line_buffers[stage.value].seal:
            line_buffer = self.line_buffers[stage.value]
            numbers = [line_buffer.tile, self.width, line_buffer.seal, self.zero[stage.value]]
            c.call(self.seal, [self.data["s"], self.data["b"], self._row(stage.value, y), *map(self._number, numbers)])

    def _number(self, value: Any) -> Expr:
        return self.c.integer(value) if isinstance(value, int) else value

    def _picture(self, stage: HvxStage, y: Expr) -> None:
        c = self.c
        for k in range(stage.planes * stage.rows):
            plane, dy = k // stage.rows, k % stage.rows - stage.rows // 2
            read = (y + dy + self.height * plane) * self.width
            numbers = [read, (self.planes + self.plane * k) * VECTOR, self.width]
            if dy == 0:
                c.call(self.copy, [self.data["x"], self.data["s"], *numbers])
                continue
            with c.when(tirx.And(y + dy >= 0, y + dy < self.height)):
                c.call(self.copy, [self.data["x"], self.data["s"], *numbers])
            with c.when(tirx.Or(y + dy < 0, y + dy >= self.height)):
                self._no_row(k)
        if stage.taps:
            held = columns(stage.planes * stage.rows, stage.taps, stage.rows)
            function = self.functions.of("columns", lambda name: edges.columns(name, held))
        else:
            function = self.functions.of(
                ("interleave", stage.channels), lambda name: edges.interleave(name, stage.channels)
            )
        s, row = self.data["s"], self._row(stage.value, y)
        c.call(function, [s, s, self.planes, self.plane, row, self.line])

    def _blend(self, stage: HvxStage, y: Expr) -> None:
        c, form, node = self.c, stage.blend_form, stage.blend
        assert node is not None
        function = self.functions.of(form, lambda name: blend.function(name, form))
        rows, zeros = [self._row(n, y) for n in node.inputs], [self.zero[n] for n in node.inputs]
        at = {
            "read": rows[0],
            "other": rows[-1],
            "out": self.lines if stage.shuffle else self._row(stage.value, y),
            "words": self.packed.add_biases(pack.blend_words(node)) * LANES,
            "zero": zeros[0],
            "zero2": zeros[-1],
            "groups": groups(stage.channels),
            "turns": self._turns(form.tiles),
            "last": node.fraction,
            "line": self.line * ACROSS[stage.shuffle] if stage.shuffle else 0,
        }
        s = self.data["s"]
        c.call(function, [s, s, s, self.data["b"], *(self._number(at[n]) for n in blend.NUMBERS)])

    def _pair(self, stage: HvxStage, y: Expr) -> None:
        c, form, expand, project = self.c, stage.pair, stage.expand, stage.convolution
        assert expand is not None and project is not None
        hidden, row = groups(len(expand.bias)) - 1, self._row(stage.value, y)
        function = self._function(stage, form, lambda name: pair.function(name, form), 1, hidden)
        at = {
            "zeros": self.zeros * LANES,
            "read": self._row(next(iter(stage.reads)), y),
            "out": row,
            "expand": self.packed.add_weights(pack.expand_weights(expand, form)),
            "project": self.packed.add_weights(pack.project_weights(project, form)),
            "bias": self.packed.add_biases(pack.pair_biases(expand, project, form)),
            "hidden": hidden,
            "turns": self._turns(1),
            "shift": expand.shift,
            "last": project.shift,
            "above": self._row_or_zeros(stage.value, y - 1) if stage.packed else row,
        }
        s = self.data["s"]
        c.call(function, [s, s, self.data["w"], self.data["b"], *(self._number(at[n]) for n in pair.NUMBERS)])
        if stage.packed:
            with c.when(tirx.EQ(y, self.height - 1)):
                self._row_below(stage, row)

    def _row_below(self, stage: HvxStage, last: Expr) -> None:
        """Of a value whose last group holds rows before, that group of the row below the picture's last."""
        c, value, s = self.c, stage.value, self.data["s"]
        tile, function = self.line_buffers[value].tile, self.functions.of("below", edges.below)
        row = c.bind("below", self._row(value, self.height))
        numbers = [last + (tile - 1), row + (tile - 1), tile, self._turns(1), self.zero[value] + tile - 1]
        bits = 8 * stage.packed
        c.call(function, [s, s, self.data["b"], *map(self._number, (*numbers, bits, (1 << bits) - 1))])
        numbers = [row, tile, self.width, self.line_buffers[value].seal, self.zero[value]]
        c.call(self.seal, [s, self.data["b"], *map(self._number, numbers)])

    def _turns(self, tiles: int) -> Expr:
        return tirx.floordiv(self.width + (LANES * tiles - 1), LANES * tiles)

    def _convolution(self, stage: HvxStage, y: Expr) -> None:
        c, node = self.c, stage.convolution
        assert node is not None
        source, halo = node.inputs[0], stage.reads[node.inputs[0]]
        full = groups(node.weight.shape[1]) - (stage.reads_packed > 0)
        places = []
        for dy in range(-halo, halo + 1):
            row = c.bind("row", self._row_or_zeros(source, y + dy) if halo else self._row(source, y))
            places += [row + g for g in range(full)]
        if stage.reads_packed:  # the row below, which is also there below the picture, and the two above it
            places.append(self._row(source, y + 1) + full)
        if stage.reads_packed == 2:
            places.append(self._row_or_zeros(source, y - 1) + full)
        for n, place in enumerate(places):
            c.store_scalar(self.workspace, place, self.table * LANES + n)
        for form, first in stage.forms():
            function = self._row_function(stage, form)
            j = first // 4
            wide = 2 if stage.end == HALFWORDS else 1
            out = self.lines + self.line * first if stage.shuffle else self._row(stage.value, y) + j * wide
            other = c.integer(0)
            if stage.other is not None:
                other = self._row(stage.other, y) + j * (2 if self.network.by_name[stage.other].dtype == "int16" else 1)
            at = {
                "table": self.table * LANES,
                "zeros": self.zeros * LANES,
                "other": other,
                "out": out,
                "weight": self.packed.add_weights(pack.convolution_weights(node, form, first)),
                "bias": self.packed.add_biases(pack.convolution_biases(node, form, first)),
                "turns": self._turns(form.tiles),
                "shift": node.shift,
                "factor": getattr(stage.joined, "factor", 0) * 0x01010101,
                "last": getattr(stage.narrow or stage.joined, "shift", 0),
                "line": self.line * ACROSS[stage.shuffle] if stage.shuffle else 0,
                "kept": 0 if stage.kept is None else self._row(stage.kept, y) + j * 2,
            }
            if node.slope is not None:
                at |= {"factor": int(node.meaning.zero_point[0] << node.fraction) * 0x10001, "last": node.fraction}
            s = self.data["s"]
            c.call(
                function, [s, s, s, self.data["w"], self.data["b"], *(self._number(at[n]) for n in convolution.NUMBERS)]
            )

    def _row_function(self, stage: HvxStage, form: Form) -> tvm.ir.GlobalVar:
        return self._function(
            stage, form, lambda name: convolution.function(name, form), form.tiles, max(form.steps - 1, 0)
        )

    def _function(
        self, stage: HvxStage, form: Any, make: Callable[[str], tirx.PrimFunc], tiles: int, inner: int
    ) -> tvm.ir.GlobalVar:
        """The function of a form under the stage's options for LLVM; it is noted that the stage calls it."""
        function = self.functions.of((form, stage.decisions.llvm), make)
        self.llvm[function.name_hint] = stage.decisions.llvm
        call = RowCall(machine_code.body_of(function.name_hint), tiles, inner)
        self.calls.setdefault(self.stages.index(stage), []).append(call)
        return function

    def _result(self, stage: HvxStage, y: Expr) -> None:
        """Copy the lines of a shuffled row to the result's planes."""
        c, r = self.c, stage.shuffle
        across = ACROSS[r]
        for plane in range(stage.channels // (r * across)):
            for i in range(r):
                first = c.bind("first", self.lines + self.line * (across * (plane * r + i)))
                if r == 3:
                    s = self.data["s"]
                    c.call(self._squeeze, [s, self.data["b"], s, first, self.line * across, self._number(self.thirds)])
                line = first * VECTOR
                out = ((self.height * plane + y) * r + i) * (self.width * r)
                c.call(self.copy, [self.data["s"], self.data["y"], line, out, self.width * r])


@dataclass(frozen=True)
class Written:
    """A network as TIR, and what of it others must know.

    Attributes:
        module: the entry and the functions that it calls.
        constants: weights and biases.
        llvm: options by the name of a row function.
        calls: the row functions of each stage that has some.
    """

    module: tvm.IRModule
    constants: dict[str, np.ndarray]
    llvm: dict[str, machine_code.Options]
    calls: list[StageCalls]


def module(network: IntegerNetwork, stages: list[HvxStage], name: str) -> Written:
    """Make the TIR of a network, whose entry is called ``name``."""
    driver = HvxDriver(network, stages, name)
    entry = driver.entry().with_attr("global_symbol", name)
    functions = {var: driver.functions.made[var.name_hint] for var in driver.functions.variables}
    mod = tvm.IRModule({tvm.ir.GlobalVar(name): entry, **functions})
    calls = [StageCalls(stages[i].describe, stages[i].macs, tuple(found)) for i, found in sorted(driver.calls.items())]
    return Written(mod, driver.constants, driver.llvm, calls)
