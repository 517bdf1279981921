"""Small networks with random weights, as regions, and pictures to calibrate them with."""

from __future__ import annotations

import numpy as np

from sr_tvm.regions.region import Add, Conv, Node, Pointwise, Region, Result, Source
from sr_tvm.regions.transposed import as_convolution

MEANS = (0.4488, 0.4371, 0.4040)


def conv(
    rng: np.random.Generator, name: str, source: str, inputs: int, outputs: int, kernel: int, gain: float = 1.5
) -> Conv:
    spread = gain / np.sqrt(inputs * kernel**2)
    weight = rng.normal(0, spread, (outputs, inputs, kernel, kernel)).astype("float32")
    return Conv(name, (source,), weight, rng.normal(0, 0.05, outputs).astype("float32"))


def wdsr(blocks: list[tuple[int, int]], channels: int = 24, scale: int = 2, seed: int = 0) -> Region:
    """A WDSR of blocks (expand, linear), with its long skip."""
    rng = np.random.default_rng(seed)
    means = -np.array(MEANS, "float32")
    nodes: list[Node] = [Source("x", 3), Pointwise("c", ("x",), "shift", (means,), 3)]
    nodes.append(conv(rng, "f0", "c", 3, channels, 3))
    for i, (expand, linear) in enumerate(blocks):
        nodes += [
            conv(rng, f"e{i}", f"f{i}", channels, expand, 1),
            Pointwise(f"r{i}", (f"e{i}",), "relu", (), expand),
            conv(rng, f"p{i}", f"r{i}", expand, linear, 1),
            conv(rng, f"s{i}", f"p{i}", linear, channels, 3),
            Add(f"f{i + 1}", (f"f{i}", f"s{i}"), channels),
        ]
    out = 3 * scale**2
    nodes += [conv(rng, "t", f"f{len(blocks)}", channels, out, 3, 0.1), conv(rng, "k", "c", 3, out, 5, 0.7)]
    nodes.append(Add("y", ("t", "k"), out))
    nodes[-2].bias[:] += 0.5  # a picture's numbers are 0...1, not around 0
    return Region(tuple(nodes), (Result("y", scale),))


def fsrcnn(scale: int = 2, d: int = 20, s: int = 6, m: int = 2, seed: int = 0) -> Region:
    """An FSRCNN of one plane, slopes from -1.3 to 1.3, its transposed convolution as a convolution and a shuffle."""
    rng = np.random.default_rng(seed)
    nodes: list[Node] = [Source("x", 1)]
    layers = [(1, d, 5), (d, s, 1), *[(s, s, 3)] * m, (s, d, 1)]
    for i, (inputs, outputs, kernel) in enumerate(layers):
        nodes.append(conv(rng, f"c{i}", nodes[-1].name, inputs, outputs, kernel))
        slopes = rng.uniform(-1.3, 1.3, outputs).astype("float32")
        nodes.append(Pointwise(f"p{i}", (f"c{i}",), "prelu", (slopes,), outputs))
    up = rng.normal(0, 0.2 / np.sqrt(d), (d, 1, 9, 9)).astype("float32")
    weight = as_convolution(up, 1, scale, 4, 4)
    nodes.append(Conv("y", (nodes[-1].name,), weight, np.full(scale**2, 0.4, "float32")))
    return Region(tuple(nodes), (Result("y", scale),))


def one_plane(kernel: int) -> Region:
    """Two branches of a picture of one plane, read by kernels of that size, added up."""
    rng = np.random.default_rng(0)
    nodes: list[Node] = [
        Source("x", 1),
        Pointwise("c", ("x",), "shift", (np.full(1, -0.4, "float32"),), 1),
        conv(rng, "a", "c", 1, 9, kernel),
        conv(rng, "b", "a", 9, 4, 3, 0.2),
        conv(rng, "k", "c", 1, 4, kernel, 0.3),
        Add("y", ("b", "k"), 4),
    ]
    nodes[-2].bias[:] += 0.5
    return Region(tuple(nodes), (Result("y", 2),))


def bytes_only(scale: int = 2, seed: int = 0) -> Region:
    """What stands between no convolutions: PReLU and ReLU of values that others read, a sum of such, one as the end."""
    rng = np.random.default_rng(seed)
    out = 3 * scale**2
    slopes = rng.uniform(-0.5, 1.5, out).astype("float32")
    nodes: list[Node] = [
        Source("x", 3),
        conv(rng, "a", "x", 3, out, 3, 0.6),
        Pointwise("p", ("a",), "prelu", (slopes,), out),
        Pointwise("r", ("a",), "relu", (), out),
        Add("s", ("p", "r"), out),
        conv(rng, "b", "s", out, out, 1, 0.5),
        Add("y", ("s", "b"), out),
    ]
    return Region(tuple(nodes), (Result("y", scale),))


def pictures(count: int = 4, side: int = 20, seed: int = 1) -> list[np.ndarray]:
    """Smooth noise, (3, side, side) uint8."""
    rng = np.random.default_rng(seed)
    rough = rng.normal(0, 1, (count, 3, side + 4, side + 4)).cumsum(2).cumsum(3)
    smooth = rough[:, :, 4:, 4:] - rough[:, :, :-4, 4:] - rough[:, :, 4:, :-4] + rough[:, :, :-4, :-4]
    return list(np.clip(128 + 12 * smooth, 0, 255).astype(np.uint8))
