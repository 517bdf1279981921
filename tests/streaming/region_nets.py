"""Random regions and picture sizes for property tests, as hypothesis strategies."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from hypothesis import strategies as st

from sr_tvm.regions.region import Add, Concat, Conv, Node, Pointwise, Region, Result, Source

WIDTHS = (1, 2, 3, 5, 8, 12, 13, 16, 17)
KERNELS = ((1, 1), (1, 1), (3, 3), (3, 3), (5, 5), (1, 3), (5, 1), (3, 7), (9, 9))
FUNCTIONS = ("relu", "relu", "prelu", "clip", "shift", "scale")
PARTS = ("conv", "conv", "pointwise", "block", "depthwise", "grouped", "skip", "concat", "several")
SIDES = (1, 2, 3, 4, 5, 7, 8, 11, 16, 19, 33, 66)


@dataclass
class Builder:
    """A region under construction; each method appends a node and returns its name."""

    rng: np.random.Generator
    nodes: list[Node] = field(default_factory=list)

    def channels(self, name: str) -> int:
        return next(node.channels for node in self.nodes if node.name == name)

    def numbers(self, *shape: int) -> np.ndarray:
        return self.rng.standard_normal(shape).astype("float32")

    def append(self, node: Node) -> str:
        self.nodes.append(node)
        return node.name

    def name(self, kind: str) -> str:
        return f"{kind}{len(self.nodes)}"

    def source(self, channels: int) -> str:
        return self.append(Source(self.name("source"), channels))

    def conv(
        self, inputs: tuple[str, ...], channels: int, kernel: tuple[int, int], groups: int = 1, sparse: bool = False
    ) -> str:
        """Values stay near 1 at any depth; ``sparse`` sets a third of the taps to zero."""
        depth = sum(self.channels(name) for name in inputs) // groups
        weight = self.numbers(channels, depth, *kernel) / np.float32(np.sqrt(depth * kernel[0] * kernel[1]))
        if sparse:
            weight *= self.rng.random((channels, 1, *kernel)) > 1 / 3
        return self.append(Conv(self.name("conv"), inputs, weight, self.numbers(channels), groups))

    def pointwise(self, value: str, function: str) -> str:
        c = self.channels(value)
        a, b = self.numbers(c), np.abs(self.numbers(c))
        parameters = {"relu": (), "clip": (a, a + b)}.get(function, (a,))
        return self.append(Pointwise(self.name(function), (value,), function, parameters, c))  # type: ignore[arg-type]

    def add(self, a: str, b: str) -> str:
        return self.append(Add(self.name("add"), (a, b), self.channels(a)))

    def concat(self, inputs: tuple[str, ...]) -> str:
        return self.append(Concat(self.name("concat"), inputs, sum(self.channels(name) for name in inputs)))

    def region(self, results: tuple[Result, ...]) -> Region:
        """What the results need of the nodes so far; there is always at least one node that is no source."""
        needed = {result.value for result in results}
        for node in reversed(self.nodes):
            if node.name in needed:
                needed |= set(node.inputs)
        return Region(tuple(node for node in self.nodes if node.name in needed), results)


@st.composite
def regions(draw: st.DrawFn, max_parts: int = 6) -> Region:
    """A chain of up to ``max_parts`` layers, residual blocks, skips, concatenations, then perhaps a pixel shuffle."""
    build = Builder(np.random.default_rng(draw(st.integers(0, 2**32 - 1))))
    values = [build.source(draw(st.sampled_from((1, 3, 4, 13)))) for _ in range(draw(st.sampled_from((1, 1, 1, 2))))]
    if draw(st.booleans()):
        values[0] = build.pointwise(values[0], "shift")  # the mean, ahead of the first convolution
    values.append(build.conv((values[0],), draw(st.sampled_from(WIDTHS)), draw(st.sampled_from(KERNELS))))
    for _ in range(draw(st.integers(0, max_parts))):
        values.append(_part(draw, build, values))
    results = [Result(values[-1])]
    if shuffle := draw(st.sampled_from((1, 1, 2, 3, 4))) - 1:
        r = shuffle + 1
        upscaled = build.conv((values[-1],), draw(st.sampled_from((1, 3))) * r * r, draw(st.sampled_from(KERNELS)))
        if draw(st.booleans()):
            direct = build.conv((values[0],), build.channels(upscaled), (5, 5), sparse=True)
            upscaled = build.add(upscaled, direct)
        results = [Result(upscaled, r)]
    made = [value for value in values if not isinstance(build.nodes[_index(build, value)], Source)]
    for value in draw(st.lists(st.sampled_from(made), max_size=2, unique=True)):
        if Result(value) not in results:
            results.append(Result(value))
    return build.region(tuple(draw(st.permutations(results))))


def _index(build: Builder, value: str) -> int:
    return next(i for i, node in enumerate(build.nodes) if node.name == value)


def _part(draw: st.DrawFn, build: Builder, values: list[str]) -> str:
    """Append one part that reads the newest value, and perhaps older ones."""
    newest, kernel = values[-1], draw(st.sampled_from(KERNELS))
    c = build.channels(newest)
    match draw(st.sampled_from(PARTS)):
        case "conv":
            return build.conv((newest,), draw(st.sampled_from(WIDTHS)), kernel, sparse=draw(st.booleans()))
        case "pointwise":
            return build.pointwise(newest, draw(st.sampled_from(FUNCTIONS)))
        case "block":
            wide = build.conv((newest,), c * draw(st.integers(2, 6)), (1, 1))
            wide = build.pointwise(wide, draw(st.sampled_from(FUNCTIONS)))
            narrow = build.conv((wide,), max(1, c * 4 // 5), (1, 1))
            return build.add(build.conv((narrow,), c, kernel), newest)
        case "depthwise":
            return build.conv((newest,), c * draw(st.integers(1, 2)), kernel, groups=c)
        case "grouped":
            groups = next(g for g in (4, 3, 2, 13, 17, 5, 1) if c % g == 0)
            return build.conv((newest,), groups * draw(st.integers(1, 4)), kernel, groups)
        case "skip":
            older = draw(st.sampled_from(values))
            if build.channels(older) != c:
                older = build.conv((older,), c, (1, 1))
            return build.add(older, newest)
        case "concat":
            return build.concat((newest, draw(st.sampled_from(values))))
        case _:  # several inputs of one convolution
            inputs = (newest, draw(st.sampled_from(values)), draw(st.sampled_from(values)))
            total = sum(build.channels(name) for name in inputs)
            groups = next(g for g in draw(st.permutations((1, 2, 3))) if total % g == 0)
            return build.conv(inputs, groups * draw(st.integers(1, 4)), kernel, groups)


def sizes(sides: tuple[int, ...] = SIDES) -> st.SearchStrategy[tuple[int, int, int]]:
    """Batch, height and width: odd, 1, smaller than a line buffer or a vector, larger than a vector."""
    side = st.sampled_from(sides)
    return st.tuples(st.sampled_from((1, 1, 2, 3)), side, side)


def shapes(size: tuple[int, int, int]) -> st.SearchStrategy[tuple[int | None, int | None, int | None]]:
    """What of a size the compiler is told: mostly all or nothing."""
    n, h, w = size
    choices = [(None, None, None), (n, h, w), (n, None, None), (n, h, None), (n, None, w)]
    return st.sampled_from(choices)


def wdsr(blocks: int, width: int, scale: int) -> Region:
    """A WDSR with its mean shift, its long skip over all blocks and its 5x5 skip from the picture."""
    build = Builder(np.random.default_rng(blocks))
    picture = build.pointwise(build.source(3), "shift")
    head = value = build.conv((picture,), width, (3, 3))
    for _ in range(blocks):
        wide = build.pointwise(build.conv((value,), width * 6, (1, 1)), "relu")
        narrow = build.conv((wide,), width * 4 // 5, (1, 1))
        value = build.add(build.conv((narrow,), width, (3, 3)), value)
    value = build.add(value, head)
    tail = build.conv((value,), 3 * scale**2, (3, 3))
    return build.region((Result(build.add(tail, build.conv((picture,), 3 * scale**2, (5, 5))), scale),))
