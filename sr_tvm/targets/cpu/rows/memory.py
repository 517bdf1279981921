"""First loads and last stores: between (N, C, H, W) in memory and line buffers, the pixel shuffle as addresses."""

from __future__ import annotations

from typing import Any

from tvm import tirx

from sr_tvm.codegen.shuffles import interleave, split_vectors
from sr_tvm.regions.value import FLOAT32
from sr_tvm.targets.cpu.rows.code import StageCode, StageNumbers, pack_steps
from sr_tvm.targets.cpu.rows.layout import SLOTS


def emit_source(code: StageCode, packed: StageNumbers) -> None:
    """Write the code that reads one row of every channel from memory into a line buffer.

    Pixels from the function's parameter ``valid`` on become zero: they are the padding of what reads the line buffer.
    The function's last parameters are ``valid`` (pixels), ``origin`` and ``plane``: where the row begins in memory and
    how far it is from channel to channel, in elements.

    Args:
        code: The stage's function; its stage has a source.
        packed: The stage's numbers; those of its steps are appended.
    """
    e, layout, stage = code.e, code.layout, code.stage
    assert stage.source is not None
    valid, origin, plane = e.parameter("valid"), e.parameter("origin", "int64"), e.parameter("plane", "int64")
    steps = pack_steps(packed, stage.layers[0].steps if stage.layers else ())
    out = code.outputs[0]
    with e.loop("c", stage.channels) as c, e.loop("block", code.blocks) as block:
        code.column = layout.column(block)
        begin = e.bind("begin", origin + plane * tirx.Cast("int64", c) + tirx.Cast("int64", block * layout.block))
        addresses = [code.address(out, c, slot) for slot in range(SLOTS)]
        with e.when((block + 1) * layout.block <= valid):
            pair = [
                e.bind("x", e.cast(e.load(code.memory, begin + slot * layout.lanes), e.dtype)) for slot in range(SLOTS)
            ]
            pair = split_vectors(pair[0], pair[1], layout.lanes) if layout.phases == 2 else pair
            for slot in range(SLOTS):
                e.store(code.ws, code.apply(steps, pair[slot], c, 0, slot), addresses[slot])
        with e.otherwise():
            line = out + c * layout.channel
            with e.loop("x", layout.block) as x:
                at = block * layout.block + x
                with e.when(at < valid):
                    value = e.scalar(code.memory, begin + tirx.Cast("int64", x))
                    e.store_scalar(code.ws, e.cast(value, e.dtype), line + layout.pixel(at))
            for slot in range(SLOTS):
                value = e.bind("x", e.load(code.ws, addresses[slot]))
                e.store(code.ws, code.apply(steps, value, c, 0, slot), addresses[slot])
            with e.loop("x", layout.block) as x:
                at = block * layout.block + x
                with e.when(at >= valid):
                    e.store_scalar(code.ws, e.real(0), line + layout.pixel(at))


class ResultStore:
    """Writes a tile of the last layer to memory: pixels ``low`` up to ``high`` of the strip.

    The tile has [channel][row][slot] vectors at ``base`` of the workspace. Making it appends the function's parameters:
    ``low``, ``high``, ``count`` (rows inside the picture), and in elements ``origin``, ``plane`` and ``line``: where
    the row begins in memory, and how far it is from channel to channel and from line to line.
    """

    def __init__(self, code: StageCode, base: int) -> None:
        assert code.stage.result is not None
        self.code, self.base, self.shuffle = code, base, code.stage.result.shuffle
        self.low, self.high, self.count = (code.e.parameter(name) for name in ("low", "high", "count"))
        self.origin, self.plane, self.line = (code.e.parameter(name, "int64") for name in ("origin", "plane", "line"))

    def at(self, channel: Any, row: int, slot: Any) -> Any:
        """Find a vector of the tile.

        Args:
            channel: Before the pixel shuffle.
            row: Of the function's rows.
            slot: Of the column block, 0 or 1.

        Returns:
            Its offset in the workspace, in elements.
        """
        return self.base + ((channel * self.code.rows + row) * SLOTS + slot) * self.code.layout.lanes

    def emit(self, block: Any) -> None:
        """Write the code that stores one column block, all channels and rows, shuffled.

        Args:
            block: The number of the column block in the strip.
        """
        code, e, layout = self.code, self.code.e, self.code.layout
        r = self.shuffle
        left = block * layout.block
        inside = tirx.And(left >= self.low, left + layout.block <= self.high)
        vectors = SLOTS * r if layout.phases == 2 else r
        for row in range(code.rows):
            with e.when(tirx.const(row, "int32") < self.count), e.loop("c", code.stage.channels // (r * r)) as c:
                for dy in range(r):
                    begin = self.origin + self.plane * tirx.Cast("int64", c) + self.line * (row * r + dy)
                    begin = e.bind("begin", begin + tirx.Cast("int64", left * r))
                    if vectors & (vectors - 1) == 0:
                        with e.when(inside):
                            self._vectors(c, row, dy, begin)
                        with e.otherwise():
                            self._pixels(c, row, dy, begin, left)
                    else:
                        self._pixels(c, row, dy, begin, left)

    def _vectors(self, c: Any, row: int, dy: int, begin: Any) -> None:
        code, e, layout = self.code, self.code.e, self.code.layout
        r = self.shuffle
        tile = [
            [e.bind("o", e.load(code.ws, self.at(c * r * r + dy * r + sx, row, slot))) for sx in range(r)]
            for slot in range(SLOTS)
        ]
        runs = [tile[0] + tile[1]] if layout.phases == 2 else tile
        for run, vectors in enumerate(runs):
            for i, vector in enumerate(interleave(e, vectors)):
                e.store(code.memory, e.cast(vector, FLOAT32), begin + (run * r + i) * layout.lanes)

    def _pixels(self, c: Any, row: int, dy: int, begin: Any, left: Any) -> None:
        code, e, layout = self.code, self.code.e, self.code.layout
        r = self.shuffle
        with e.loop("x", layout.block) as x:
            slot, lane = layout.tile_pixel(x)
            with e.when(tirx.And(left + x >= self.low, left + x < self.high)):
                for sx in range(r):
                    value = e.scalar(code.ws, self.at(c * r * r + dy * r + sx, row, slot) + lane)
                    e.store_scalar(code.memory, e.cast(value, FLOAT32), begin + tirx.Cast("int64", x * r + sx))
