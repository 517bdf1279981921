"""Small networks with random weights, as regions, and pictures to calibrate them with."""

from __future__ import annotations

import numpy as np

from sr_tvm.regions.region import Add, Conv, Node, Pointwise, Region, Result, Source

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


def pictures(count: int = 4, side: int = 20, seed: int = 1) -> list[np.ndarray]:
    """Smooth noise, (3, side, side) uint8."""
    rng = np.random.default_rng(seed)
    rough = rng.normal(0, 1, (count, 3, side + 4, side + 4)).cumsum(2).cumsum(3)
    smooth = rough[:, :, 4:, 4:] - rough[:, :, :-4, 4:] - rough[:, :, 4:, :-4] + rough[:, :, :-4, :-4]
    return list(np.clip(128 + 12 * smooth, 0, 255).astype(np.uint8))
