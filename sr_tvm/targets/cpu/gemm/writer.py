"""One 3x3 convolution as Winograd's products: TIR of the transforms, the register tiles of products, the last store.

A band is some rows of tiles. Its transformed input V (position, tile, input channel) is made first; then, a block of
output channels at a time, the products M (position, tile, output channel) of all positions, and from them the results.
Vectors run along channels everywhere; pictures are transposed in registers as they are read and written.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from tvm import tirx

from sr_tvm.codegen.builder import Expr, FunctionBuilder
from sr_tvm.codegen.shuffles import transpose
from sr_tvm.targets.cpu.gemm.transforms import input_transform, output_transform, square

Activation = Callable[[FunctionBuilder, Expr, Expr], Expr]
"""The vector of results from that of sums and the number of its first output channel."""


@dataclass(frozen=True)
class GemmPlan:
    """What is chosen for a layer; any choice gives the same results.

    Attributes:
        m: results of a tile, along each axis.
        lanes: float32 in a vector.
        vectors, tiles: the register tile: vectors of output channels, and tiles of the picture.
        rows: rows of tiles in a band, a divisor of all rows of tiles.
        split: one thread team per step of a band, for layers of many channels; else one thread per band.
        unroll: input channels written out in the innermost loop.
    """

    m: int
    lanes: int
    vectors: int
    tiles: int
    rows: int
    split: bool
    unroll: int = 4

    @property
    def block(self) -> int:
        """Output channels that a register tile covers."""
        return self.vectors * self.lanes


@dataclass(frozen=True)
class GemmLayer:
    """The sizes of a 3x3 convolution with stride 1 and zero padding: pictures, channels of input and output, pixels."""

    batch: int
    inputs: int
    outputs: int
    height: int
    width: int


class WinogradWriter(FunctionBuilder):
    """Writes the function of one layer: the input's transform, the products and the result's transform, band by band.

    It keeps the sizes that follow from layer and plan, such as ``n`` inputs along an axis of a tile, ``down`` x
    ``across`` tiles of a picture and ``count`` tiles of a band. Strides are in float32.
    """

    def __init__(self, layer: GemmLayer, plan: GemmPlan, activation: Activation) -> None:
        super().__init__(plan.lanes)
        self.layer, self.plan, self.activation = layer, plan, activation
        m, lanes = plan.m, plan.lanes
        self.n = m + 2
        self.down, self.across = math.ceil(layer.height / m), math.ceil(layer.width / m)
        self.count = plan.rows * self.across  # tiles of a band
        self.blocks = math.ceil(layer.outputs / plan.block)
        # An odd number of vectors from tile to tile and from position to position spreads them over the cache's sets.
        groups = math.ceil(layer.inputs / lanes)
        self.v_tile = _odd(groups) * lanes
        self.v_position = _odd(self.count * _odd(groups)) * lanes
        self.m_position = _odd(self.count * plan.vectors) * lanes
        self.padded = max(self.across * m + 2, lanes + 1)

    def function(self, activation_buffers: list[tirx.Var]) -> tirx.PrimFunc:
        """Write the whole function; a writer does so once.

        Args:
            activation_buffers: Buffers that the activation reads, such as the bias; the function takes them after its
                weights.

        Returns:
            A function of x (batch, inputs, height, width), u (blocks, n * n, inputs, channels of a block), which are
            the transformed weights, ``activation_buffers`` and y (batch, outputs, height, width), all float32.
        """
        layer, plan = self.layer, self.plan
        size = (layer.height, layer.width)
        self.x = self.tensor("x", (layer.batch, layer.inputs, *size))
        self.u = self.tensor("u", (self.blocks, self.n**2, layer.inputs, plan.block))
        self.y = self.tensor("y", (layer.batch, layer.outputs, *size))
        bands = self.down // plan.rows
        if plan.split:
            with self.loop("band", layer.batch * bands) as band:
                self._split_band(band // bands, band % bands * plan.rows)
        else:
            with self.loop("band", layer.batch * bands, tirx.ForKind.PARALLEL) as band:
                self._whole_band(band // bands, band % bands * plan.rows)
        return self.entry([self.x, self.u, *activation_buffers, self.y])

    def _whole_band(self, image: Expr, row: Expr) -> None:
        v = self.scratch("v", self.n**2 * self.v_position)
        products = self.scratch("m", self.n**2 * self.m_position)
        pixels, edge, result = self._input_scratch(), self._edge_scratch(), self._result_scratch()
        whole, rest = divmod(self.layer.inputs, self.lanes)
        with self.loop("group", whole) as group:
            self._input(image, row, group, self.lanes, v, pixels, edge)
        if rest:
            self._input(image, row, self.integer(whole), rest, v, pixels, edge)
        with self.loop("block", self.blocks) as block:
            self._products(block, v, products)
            self._results(image, row, block, products, result, edge)

    def _split_band(self, image: Expr, row: Expr) -> None:
        v = self.scratch("v", self.n**2 * self.v_position)
        whole, rest = divmod(self.layer.inputs, self.lanes)
        with self.loop("group", whole, tirx.ForKind.PARALLEL) as group:
            pixels, edge = self._input_scratch(), self._edge_scratch()
            self._input(image, row, group, self.lanes, v, pixels, edge)
        if rest:
            pixels, edge = self._input_scratch(), self._edge_scratch()
            self._input(image, row, self.integer(whole), rest, v, pixels, edge)
        with self.loop("block", self.blocks, tirx.ForKind.PARALLEL) as block:
            products = self.scratch("m", self.n**2 * self.m_position)
            result, edge = self._result_scratch(), self._edge_scratch()
            self._products(block, v, products)
            self._results(image, row, block, products, result, edge)

    def _input_scratch(self) -> tirx.Var:
        """Return scratch for n rows of the picture with a zero border, (row, pixel, channel); its columns are set."""
        pixels = self.scratch("p", self.n * self.padded * self.lanes)
        zero = self.splat(0)
        with self.loop("r", self.n) as r:
            self.store(pixels, zero, r * (self.padded * self.lanes))
            right = self.layer.width + 1
            with self.loop("c", self.padded - right) as c:
                self.store(pixels, zero, (r * self.padded + right + c) * self.lanes)
        return pixels

    def _edge_scratch(self) -> tirx.Var | None:
        return self.scratch("e", self.lanes**2) if self.layer.width < self.lanes else None

    def _result_scratch(self) -> tirx.Var:
        return self.scratch("q", self.plan.m * max(self.across * self.plan.m, self.lanes) * self.lanes)

    # The input

    def _input(
        self, image: Expr, row: Expr, group: Expr, valid: int, v: tirx.Var, pixels: tirx.Var, edge: tirx.Var | None
    ) -> None:
        """Transform the input of one vector of channels of a band into ``v``; only ``valid`` of the channels exist."""
        m, n, lanes = self.plan.m, self.n, self.lanes
        channel = group * lanes
        with self.loop("tr", self.plan.rows) as down:
            with self.loop("r", n) as r:
                y = self.bind("y", (row + down) * m + r - 1)
                start = self.bind("s", r * (self.padded * lanes) + lanes)
                with self.when(tirx.all(y >= 0, y < self.layer.height)):
                    self._read_row(image, channel, valid, y, pixels, start, edge)
                with self.otherwise(), self.loop("c", self.layer.width) as c:
                    self.store(pixels, self.splat(0), start + c * lanes)
            with self.loop("tx", self.across) as tx:
                tile = self.bind("t", (down * self.across + tx) * self.v_tile + channel)
                d = [
                    [self.bind("x", self.load(pixels, ((i * self.padded) + tx * m + j) * lanes)) for j in range(n)]
                    for i in range(n)
                ]
                for i, values in enumerate(square(self, d, m, input_transform)):
                    for j, value in enumerate(values):
                        self.store(v, value, tile + (i * n + j) * self.v_position)

    def _read_row(
        self, image: Expr, channel: Expr, valid: int, y: Expr, pixels: tirx.Var, start: Expr, edge: tirx.Var | None
    ) -> None:
        lanes, width = self.lanes, self.layer.width

        def chunk(x: Expr) -> None:
            rows = [self.bind("x", self.load(self.x, image, channel + k, y, x)) for k in range(valid)]
            rows += [self.splat(0)] * (lanes - valid)
            for k, value in enumerate(transpose(self, rows)):
                self.store(pixels, value, start + (x + k) * lanes)

        if edge is None:
            with self.loop("c", width // lanes) as c:
                chunk(c * lanes)
            if width % lanes:
                chunk(self.integer(width - lanes))
            return
        for k in range(valid):
            for at, size in _pieces(width):
                piece = self.load(self.x, image, channel + k, y, at, lanes=size)
                self.store(edge, piece, k * lanes + at, lanes=size)
        rows = [self.bind("x", self.load(edge, k * lanes)) for k in range(valid)] + [self.splat(0)] * (lanes - valid)
        for k, value in enumerate(transpose(self, rows)[:width]):
            self.store(pixels, value, start + k * lanes)

    # The products

    def _products(self, block: Expr, v: tirx.Var, products: tirx.Var) -> None:
        groups = math.ceil(self.count / self.plan.tiles)
        small, more = divmod(self.count, groups)
        with self.loop("p", self.n**2) as p:
            first = 0
            for size, times in ((small + 1, more), (small, groups - more)):
                if times:
                    with self.loop("g", times) as g:
                        self._register_tile(block, p, first + g * size, size, v, products)
                first += size * times

    def _register_tile(self, block: Expr, p: Expr, tile: Expr, size: int, v: tirx.Var, products: tirx.Var) -> None:
        plan, lanes = self.plan, self.lanes
        sums = [[self.register("a") for _ in range(plan.vectors)] for _ in range(size)]
        for row in sums:
            for register in row:
                register.set(self.splat(0))
        source = self.bind("sv", p * self.v_position + tile * self.v_tile)

        def step(i: Expr) -> None:
            weights = [self.bind("w", self.load(self.u, block, p, i, k * lanes)) for k in range(plan.vectors)]
            for t, row in enumerate(sums):
                value = self.bind("b", self.splat(self.scalar(v, source + i + t * self.v_tile)))
                for register, weight in zip(row, weights, strict=True):
                    register.fma(value, weight)

        whole, rest = divmod(self.layer.inputs, plan.unroll)
        with self.loop("i", whole) as i:
            for k in range(plan.unroll):
                step(i * plan.unroll + k)
        for k in range(rest):
            step(self.integer(whole * plan.unroll + k))
        target = self.bind("sm", p * self.m_position + tile * plan.block)
        for t, row in enumerate(sums):
            for k, register in enumerate(row):
                self.store(products, register.get(), target + t * plan.block + k * lanes)

    # The results

    def _results(
        self, image: Expr, row: Expr, block: Expr, products: tirx.Var, result: tirx.Var, edge: tirx.Var | None
    ) -> None:
        m, n, lanes = self.plan.m, self.n, self.lanes
        stride = max(self.across * m, lanes)
        with self.loop("k", self.plan.vectors) as k:
            channel = self.bind("o", block * self.plan.block + k * lanes)
            with self.loop("tr", self.plan.rows) as down:
                with self.loop("tx", self.across) as tx:
                    tile = self.bind("t", (down * self.across + tx) * self.plan.block + k * lanes)
                    v = [
                        [self.bind("x", self.load(products, tile + (i * n + j) * self.m_position)) for j in range(n)]
                        for i in range(n)
                    ]
                    for i, values in enumerate(square(self, v, m, output_transform)):
                        for j, value in enumerate(values):
                            done = self.activation(self, value, channel)
                            self.store(result, done, (i * stride + tx * m + j) * lanes)
                with self.loop("r", m) as r:
                    y = self.bind("y", (row + down) * m + r)
                    with self.when(y < self.layer.height):
                        self._write_row(image, channel, y, result, r * (stride * lanes), edge)

    def _write_row(
        self, image: Expr, channel: Expr, y: Expr, result: tirx.Var, start: Expr, edge: tirx.Var | None
    ) -> None:
        lanes, width, outputs = self.lanes, self.layer.width, self.layer.outputs
        certain = outputs % self.plan.block == 0

        def put(row: int, value: Expr, x: Expr, size: int) -> None:
            if certain:
                self.store(self.y, value, image, channel + row, y, x, lanes=size)
            else:
                with self.when(channel + row < outputs):
                    self.store(self.y, value, image, channel + row, y, x, lanes=size)

        def chunk(x: Expr) -> None:
            columns = [self.bind("x", self.load(result, start + (x + k) * lanes)) for k in range(lanes)]
            for k, value in enumerate(transpose(self, columns)):
                if edge is None:
                    put(k, value, x, lanes)
                    continue
                for at, size in _pieces(width):
                    piece = tirx.Shuffle([value], list(range(at, at + size)))
                    put(k, piece, at, size)

        with self.loop("c", max(1, width // lanes)) as c:
            chunk(c * lanes)
        if edge is None and width % lanes:
            chunk(self.integer(width - lanes))


def _odd(count: int) -> int:
    return count | 1


def _pieces(width: int) -> list[tuple[int, int]]:
    """Return a row shorter than a vector as pieces of (start, size), where every size is a power of two."""
    found, at = [], 0
    while at < width:
        size = 1 << ((width - at).bit_length() - 1)
        found.append((at, size))
        at += size
    return found
