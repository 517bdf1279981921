"""A stage as one OpenCL kernel: what each work-item does for its pixels of all values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial

import numpy as np
from tvm import tirx

from sr_tvm.codegen.builder import Expr
from sr_tvm.codegen.kernel import Kernel, KernelConstant
from sr_tvm.regions.region import Conv, Pointwise, Region
from sr_tvm.regions.value import FLOAT16, FLOAT32, Value
from sr_tvm.targets.opencl import weights
from sr_tvm.targets.opencl.code import GpuBuilder
from sr_tvm.targets.opencl.decisions import GLOBAL, StageDecisions
from sr_tvm.targets.opencl.forms import ValueMemory
from sr_tvm.targets.opencl.limits import Limits
from sr_tvm.targets.opencl.registers import Fetch, Held, arithmetic
from sr_tvm.targets.opencl.shared import SharedWeights
from sr_tvm.targets.opencl.shares import LANES, depthwise, splits_of
from sr_tvm.targets.opencl.steps import AddedConvolution, Apply, ConvolutionSum, Join, Load, plan_steps
from sr_tvm.targets.opencl.view import Pixels, View
from sr_tvm.targets.opencl.weights import WeightBlock
from sr_tvm.targets.opencl.winograd import Winograd


class StageKernel:
    """Writes the kernel of one stage.

    Args:
        region: The stage; its sources are in memory.
        size: N, H and W.
        values: How sources and results lie in memory, by name and factor of the pixel shuffle.
        decided: The choices for this kernel.
        narrow: As in the decisions of the region.
        limits: What a work-group may take of the GPU.
        dtype: Of what lies between kernels, and of weights.
    """

    def __init__(
        self,
        region: Region,
        size: tuple[int, int, int],
        values: Mapping[tuple[str, int], Value],
        decided: StageDecisions,
        narrow: int,
        limits: Limits,
        dtype: str = FLOAT32,
    ) -> None:
        self.region, self.decided, self.limits = region, decided, limits
        self.n, self.height, self.width = size
        self.pixels = next(p for p in (decided.pixels, 4, 2, 1) if p <= min(self.width, decided.pixels))
        self.splits = splits_of(region, decided.outputs, narrow)
        self.b = GpuBuilder(decided.sums if dtype == FLOAT16 else FLOAT32, dtype)
        self.steps = plan_steps(region, narrow)
        self.memory = {s.name: ValueMemory(self.b, values[s.name, 1], *size) for s in region.sources}
        self.results = [(r, ValueMemory(self.b, values[r.value, r.shuffle], *size)) for r in region.results]
        self.registers: dict[str, Held] = {}
        self.blocks: dict[tuple[str, int], WeightBlock] = {}  # by convolution and number of its input
        for step in self.steps:
            for product in step.convs if isinstance(step, ConvolutionSum) else ():
                self._pack(product)
        budget = 0 if decided.weights == GLOBAL else self._local_vectors
        self.phases = weights.phases(list(self.blocks.values()), budget)
        numbers = [phase.numbers() for phase in self.phases]
        self.packed = np.concatenate(numbers) if numbers else None
        self.parameters, self.table = self._parameters()

    # The numbers

    @property
    def _local_vectors(self) -> int:
        return self.limits.local_bytes // (LANES * np.dtype(self.b.dtype).itemsize)

    def groups(self, channels: int) -> int:
        """Count the vectors that a work-item has of each pixel of a value.

        Args:
            channels: Of the value, those of all shares together.

        Returns:
            Vectors of four channels.
        """
        return -(-channels // LANES) // self.splits

    def _by_group(self, conv: Conv) -> bool:
        """Return whether a work-item's share of a grouped convolution lies within one group of it."""
        return conv.groups > 1 and self.splits > 1

    def _winograd(self, conv: Conv) -> bool:
        return self.b.memory == FLOAT32 and weights.uses_winograd(conv, self.decided.winograd, self.pixels)

    def _pack(self, product: AddedConvolution) -> None:
        conv = product.conv
        if product.hidden is not None:
            between = [p for node in product.hidden.arithmetic for p in node.parameters]
            rows = weights.by_hidden(product.hidden.expand, between, conv.weight)
            self.blocks[conv.name, 0] = self._block(rows[None])
            return
        dense = conv.weight.astype(np.float64)
        if depthwise(conv):
            parts = np.split(dense, self.splits)
            self.blocks[conv.name, 0] = self._block(np.stack([weights.by_channels(part) for part in parts]))
            return
        if conv.groups > 1 and not self._by_group(conv):
            dense = weights.ungrouped(dense, conv.groups)
        if self._winograd(conv):
            dense = weights.transformed(dense)
        shares = np.split(dense, self.splits)
        first = 0
        for i, name in enumerate(conv.inputs):
            channels = conv.weight.shape[1] if self._by_group(conv) else self.region.by_name[name].channels
            parts = [share[:, first : first + channels] for share in shares]
            first += channels
            groups = 0
            if product.registers:
                numbers = np.stack([weights.by_inputs(part).reshape(1, -1, LANES) for part in parts])
            else:
                numbers = np.stack([weights.by_rows(part) for part in parts])
                if numbers.shape[2] > self._local_vectors:
                    groups = -(-channels // LANES)
                    numbers = np.stack([weights.by_groups(part) for part in parts])
            self.blocks[conv.name, i] = self._block(numbers, groups)

    def _block(self, numbers: np.ndarray, groups: int = 0) -> WeightBlock:
        """Return a block whose turns are whole loads."""
        extra = -numbers.shape[2] % self.decided.load
        return WeightBlock(np.pad(numbers, ((0, 0), (0, 0), (0, extra), (0, 0))), groups)

    def _parameters(self) -> tuple[dict[tuple[str, int], int], np.ndarray | None]:
        """Return numbers of which there is one a channel: where each row begins, in vectors, and all of them."""
        arrays: dict[tuple[str, int], np.ndarray] = {}
        for step in self.steps:
            if isinstance(step, ConvolutionSum) and np.any(step.bias):
                arrays[step.value, -1] = step.bias
        for node in self.region.nodes:
            if isinstance(node, Pointwise):
                arrays |= {(node.name, i): p for i, p in enumerate(node.parameters)}
        rows = [weights.vectors(np.asarray(array, np.float64)) for array in arrays.values()]
        starts = np.cumsum([0, *map(len, rows)])
        return dict(zip(arrays, map(int, starts), strict=False)), np.concatenate(rows) if rows else None

    def _parameter(self, name: str, which: int, group: Expr) -> Expr:
        """Return the vector of a group of channels, counted from the first of all, of the table of parameters."""
        return self.b.read(self.numbers, (group + self.parameters[name, which]) * LANES)

    # The kernel

    def build(self, name: str) -> Kernel:
        """Write the kernel, once.

        Args:
            name: Of its function.

        Returns:
            The kernel: its inputs are the stage's sources, its constants the weights and the parameters as far as there
            are any.
        """
        b, (wide, tall) = self.b, self.decided.group
        buffers, constants = [self.memory[s.name].buffer for s in self.region.sources], []
        array = self.numbers = None
        if self.packed is not None:
            array = b.array("weights", self.packed.size)
            constants.append(KernelConstant("weights", self.packed.astype(b.memory).reshape(-1)))
            buffers.append(array)
        if self.table is not None:
            self.numbers = b.array("parameters", self.table.size)
            with np.errstate(over="ignore"):  # the bounds of a clip may be infinite
                constants.append(KernelConstant("parameters", self.table.astype(b.memory).reshape(-1)))
            buffers.append(self.numbers)
        tiles = self.decided.tiles
        across, down = -(-self.width // (self.pixels * wide)), -(-self.height // (tall * tiles))
        # Pictures, and shares of the channels, lie below one another: WebGPU has no third axis of work-groups.
        apart = self.splits if tiles == 1 else 1
        layers = self.n * apart
        with (
            b.thread("blockIdx.y", layers * down) as group,
            b.thread("blockIdx.x", across) as gx,
            b.thread("threadIdx.y", tall) as ty,
            b.thread("threadIdx.x", wide) as tx,
        ):
            layer, gy = (group // down, group % down) if layers > 1 else (b.integer(0), group)
            self.image = layer // apart if apart > 1 else layer
            # Work-items beyond the picture compute its last pixels once more, and write nothing.
            self.even = self.width % (self.pixels * wide) == 0, self.height % (tall * tiles) == 0
            last = b.integer(self.width - self.pixels), b.integer(self.height - 1)
            self.first = (gx * wide + tx) * self.pixels
            self.x = b.bind("x", self.first if self.even[0] else tirx.min(self.first, last[0]))
            self.shared = SharedWeights(b, self.phases, array, self.decided.load, ty * wide + tx, wide * tall)
            with nullcontext(layer % apart) if apart > 1 else b.loop("share", self.splits) as self.split:
                self.shared.begin_share(self.split)
                with b.loop("tile", tiles) as tile:
                    self.row = (gy * tiles + tile) * tall + ty
                    self.y = b.bind("y", self.row if self.even[1] else tirx.min(self.row, last[1]))
                    self._body()
        buffers += [memory.buffer for _, memory in self.results]
        return Kernel(
            functions={name: b.entry(buffers)},
            entry=name,
            inputs=tuple(self.memory[s.name].value for s in self.region.sources),
            constants=tuple(constants),
            outputs=tuple(memory.value for _, memory in self.results),
        )

    def _body(self) -> None:
        self.shared.begin_tile()
        for step in self.steps:
            match step:
                case Load():
                    memory = self.memory[step.value]
                    channels = memory.value.channels
                    self._make(step.value, channels, partial(self._center, memory))
                case Apply():
                    self._apply(step.node)
                case Join():
                    self._join(step)
                case ConvolutionSum():
                    self._sum(step)
            for result, memory in self.results:
                if result.value == step.value:
                    self._store(memory, result.shuffle, self.registers[step.value])

    def _make(self, name: str, channels: int, value: Callable[[int, int], Expr]) -> None:
        """Fill the registers of a value, by group of channels and pixel."""
        made = Held(self.b, name, channels // self.splits, self.pixels)
        for group in range(made.groups):
            for pixel in range(self.pixels):
                made.put(group, pixel, value(group, pixel))
        self.registers[name] = made

    def _whole(self, group: int, channels: int) -> Expr:
        """Return the number of a group among all groups of the value."""
        return self.split * self.groups(channels) + group

    def _center(self, memory: ValueMemory, group: int, pixel: int) -> Expr:
        channels = memory.value.channels
        left = min(LANES, channels - group * LANES) if self.splits == 1 else LANES
        return memory.read_vector(self.image, self._whole(group, channels), self.y, self.x + pixel, left)

    def _apply(self, node: Pointwise) -> None:
        source, channels = self.registers[node.inputs[0]], node.channels
        rows = {
            group: [
                self.b.bind("p", self._parameter(node.name, i, self._whole(group, channels)))
                for i in range(len(node.parameters))
            ]
            for group in range(self.groups(channels))
        }
        self._make(node.name, channels, lambda g, p: arithmetic(self.b, node.function, source.get(g, p), rows[g]))

    def _join(self, step: Join) -> None:
        parts = [(name, c) for name in step.node.inputs for c in range(self.region.by_name[name].channels)]

        def value(group: int, pixel: int) -> Expr:
            return self.b.gather(
                [self.registers[name].scalar(c, pixel) for name, c in parts[group * LANES : (group + 1) * LANES]]
            )

        self._make(step.value, step.node.channels, value)

    def _sum(self, step: ConvolutionSum) -> None:
        b = self.b
        biased = (step.value, -1) in self.parameters

        def start(group: int, pixel: int) -> Expr:
            terms = [self.registers[name].get(group, pixel) for name in step.centers]
            lanes = min(LANES, step.channels // self.splits - group * LANES)
            if biased:
                bias = self._parameter(step.value, -1, self._whole(group, step.channels))
                terms.append(b.narrowed(bias, lanes))
            if not terms:
                return b.spread(b.real(0), lanes)
            total = terms[0]
            for term in terms[1:]:
                total = total + term
            return total

        self._make(step.value, step.channels, start)
        made = self.registers[step.value]
        # By Winograd last: its sums are not there yet while the others take registers.
        for product in sorted(step.convs, key=lambda product: self._winograd(product.conv)):
            if product.hidden is not None:
                self._hidden(made, product)
            elif product.registers:
                self._from_registers(made, product.conv)
            else:
                self._from_memory(made, product.conv)

    # Convolutions

    def _from_registers(self, made: Held, conv: Conv) -> None:
        outputs = self.groups(conv.channels)
        for i, name in enumerate(conv.inputs):

            def turn(_: Expr, fetch: Fetch, name: str = name) -> None:
                for c in range(self.region.by_name[name].channels):
                    factors = [self.registers[name].scalar(c, pixel) for pixel in range(self.pixels)]
                    for group in range(outputs):
                        made.add(group, fetch(c * outputs + group), factors)

            self.shared.turns(self.blocks[conv.name, i], turn)

    def _hidden(self, made: Held, product: AddedConvolution) -> None:
        assert product.hidden is not None
        b, expand, outputs = self.b, product.hidden.expand, self.groups(product.conv.channels)
        arithmetics = product.hidden.arithmetic
        inputs = [(name, c) for name in expand.inputs for c in range(self.region.by_name[name].channels)]
        pixels = range(self.pixels)

        def turn(_: Expr, fetch: Fetch) -> None:
            hidden = Held(b, "hidden", LANES, self.pixels)
            bias, used = b.bind("w", fetch(0)), 1
            rows = []
            for node in arithmetics:
                count = len(node.parameters)
                rows.append([b.bind("p", fetch(used + i)) for i in range(count)])
                used += count
            for pixel in pixels:
                hidden.put(0, pixel, bias)
            for name, c in inputs:
                hidden.add(0, fetch(used), [self.registers[name].scalar(c, pixel) for pixel in pixels])
                used += 1
            for node, row in zip(arithmetics, rows, strict=True):
                for pixel in pixels:
                    hidden.put(0, pixel, arithmetic(b, node.function, hidden.get(0, pixel), row))
            for lane in range(LANES):
                factors = [hidden.scalar(lane, pixel) for pixel in pixels]
                for group in range(outputs):
                    made.add(group, fetch(used + lane * outputs + group), factors)

        self.shared.turns(self.blocks[product.conv.name, 0], turn)

    def _from_memory(self, made: Held, conv: Conv) -> None:
        if depthwise(conv):
            self._depthwise(made, conv)
            return
        b, (tall, wide) = self.b, conv.weight.shape[2:]
        outputs = self.groups(conv.channels)
        winograd = Winograd(b, made) if self._winograd(conv) else None
        columns = weights.COLUMNS if winograd else wide
        for i, name in enumerate(conv.inputs):
            block, view = self.blocks[conv.name, i], self._view(name, wide // 2)
            channels = conv.weight.shape[1] if self._by_group(conv) else self.region.by_name[name].channels
            full, left = divmod(channels, LANES)
            begin: Expr = b.integer(0)
            if self._by_group(conv):
                begin = self.split * outputs * LANES // (conv.channels // conv.groups) * (full + (left > 0))

            def taps(
                row: Expr, group: Expr, count: int, of: int, fetch: Fetch, view: View = view, begin: Expr = begin
            ) -> None:
                """Add a row of ``count`` inputs, of which the weights have ``of``."""
                pixels = [view.read(begin + group, row, i - wide // 2, count) for i in range(self.pixels + wide - 1)]
                if winograd is not None:
                    winograd.add(pixels, of, fetch)
                    return
                for dx in range(wide):
                    for c in range(count):
                        factors = [pixels[dx + i][c] for i in range(self.pixels)]
                        for out in range(outputs):
                            made.add(out, fetch((dx * of + c) * outputs + out), factors)

            def turn(
                at: Expr, fetch: Fetch, taps: Callable[..., None] = taps, view: View = view, block: WeightBlock = block,
                full: int = full, left: int = left,
            ) -> None:  # fmt: skip
                dy = at // block.groups if block.groups else at
                row = self.y + dy - tall // 2
                with view.inside(row, tall // 2):
                    if block.groups:
                        group = at % block.groups
                        with b.when(group < full) if full and left else nullcontext():
                            if full:
                                taps(row, group, LANES, LANES, fetch.afresh())
                        with b.when(group >= full) if full and left else nullcontext():
                            if left:
                                taps(row, group, left, LANES, fetch.afresh())
                        return
                    each = columns * LANES * outputs
                    if full:
                        with b.loop("group", full) as group:
                            taps(row, group, LANES, LANES, fetch.moved(group * each))
                    if left:
                        taps(row, full, left, left, fetch.moved(full * each))

            self.shared.turns(block, turn)
        if winograd is not None:
            winograd.finish()

    def _depthwise(self, made: Held, conv: Conv) -> None:
        """Add a convolution of each channel by itself."""
        (name,), (tall, wide), outputs = conv.inputs, conv.weight.shape[2:], self.groups(conv.channels)
        view = self._view(name, wide // 2)

        def turn(dy: Expr, fetch: Fetch) -> None:
            row = self.y + dy - tall // 2
            with view.inside(row, tall // 2):
                for group in range(outputs):
                    lanes, whole = made.lanes(group), self._whole(group, conv.channels)
                    columns = range(self.pixels + wide - 1)
                    seen = [self.b.gather(view.read(whole, row, i - wide // 2, lanes)) for i in columns]
                    for dx in range(wide):
                        weight = self.b.narrowed(fetch(group * wide + dx), lanes)
                        for pixel in range(self.pixels):
                            made.put(group, pixel, weight * seen[dx + pixel] + made.get(group, pixel))

        self.shared.turns(self.blocks[conv.name, 0], turn)

    def _view(self, name: str, reach: int) -> View:
        chain: list[Pointwise] = []
        node = self.region.by_name[name]
        while isinstance(node, Pointwise):
            chain.insert(0, node)
            node = self.region.by_name[node.inputs[0]]
        own = Pixels(self.image, self.x, self.pixels)
        return View(self.b, own, self.memory[node.name], chain, self._parameter, reach)

    # Results

    def _store(self, memory: ValueMemory, shuffle: int, made: Held) -> None:
        b, channels = self.b, memory.value.channels * shuffle**2
        count = made.groups
        if not memory.planar:
            for pixel in range(self.pixels):
                with self._inside(pixel):
                    for group in range(count):
                        vector, lanes = made.get(group, pixel), made.lanes(group)
                        if lanes < LANES:
                            scalars = [b.lane(vector, i) if lanes > 1 else vector for i in range(lanes)]
                            vector = b.gather([*scalars, *[b.real(0)] * (LANES - lanes)])
                        memory.write(self.image, self._whole(group, channels), self.y, self.x + pixel, vector)
            return
        for pixel in range(self.pixels):
            with self._inside(pixel):
                for c in range(count * LANES if self.splits > 1 else channels):
                    channel = self._whole(c // LANES, channels) * LANES + c % LANES
                    plane, dy, dx = channel // shuffle**2, channel // shuffle % shuffle, channel % shuffle
                    scalar = made.scalar(c, pixel)
                    at = self.y * shuffle + dy, (self.x + pixel) * shuffle + dx
                    b.write_scalar(memory.buffer, scalar, self.image, plane, *at)

    @contextmanager
    def _inside(self, pixel: int) -> Iterator[None]:
        """Do it only where no work-item before has the pixel, and it is in the picture."""
        conditions = []
        if not self.even[0]:
            conditions.append(self.x + pixel >= self.first)
        if not self.even[1]:
            conditions.append(self.row < self.height)
        if not conditions:
            yield
            return
        with self.b.when(conditions[0] if len(conditions) == 1 else tirx.And(*conditions)):
            yield
