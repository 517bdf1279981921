"""A layer before its code is written: its numbers packed, its channels cut into tiles, its scratch reserved."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sr_tvm.regions.region import Conv
from sr_tvm.targets.cpu.rows import winograd
from sr_tvm.targets.cpu.rows.blocks import Blocks
from sr_tvm.targets.cpu.rows.code import StageCode, StageNumbers, pack_steps
from sr_tvm.targets.cpu.rows.decisions import Tiles
from sr_tvm.targets.cpu.rows.direct import pack_direct
from sr_tvm.targets.cpu.rows.layout import SLOTS
from sr_tvm.targets.cpu.rows.stages import RowLayer, Step


class Scratch:
    """Elements of the workspace from ``base`` on, given out one after another."""

    def __init__(self, base: int) -> None:
        self.base = self.top = base

    def reserve(self, count: int) -> int:
        """Reserve some elements.

        Args:
            count: How many.

        Returns:
            The offset of the first of them in the workspace.
        """
        first, self.top = self.top, self.top + count
        return first

    def tile(self, code: StageCode, channels: int) -> int:
        """Reserve a tile: one column block of all rows of a call.

        Args:
            code: The stage's function, which says rows and lanes.
            channels: Of the tile.

        Returns:
            The offset of its first element in the workspace.
        """
        return self.reserve(channels * code.rows * SLOTS * code.layout.lanes)


@dataclass(frozen=True)
class Prepared:
    """One layer before its code is written; offsets are in numbers, from the first of its stage.

    Attributes:
        groups: of its convolutions.
        chunks: cuts the channels of a group into chunks (one, unless the layer is the wide one of a chain).
        blocks: cuts a chunk of so many channels into register tiles.
        bias: offset of the sum of all biases.
        direct: the convolutions by definition, each with the offset of its weights.
        steps: what is done with the sum, each with the offset of its parameters.
        products: the convolution by Winograd's products, None where there is none.
    """

    groups: int
    chunks: Blocks
    blocks: dict[int, Blocks]
    bias: int
    direct: tuple[tuple[Conv, int], ...]
    steps: tuple[tuple[Step, int], ...]
    products: winograd.Products | None


def prepare(
    layer: RowLayer,
    code: StageCode,
    tiles: Tiles,
    packed: StageNumbers,
    scratch: Scratch,
    chosen: str | None,
    chunked: bool,
) -> Prepared:
    """Pack the numbers of a layer, cut its channels into tiles, and reserve its scratch.

    Args:
        layer: What is to be written.
        code: The function of its stage.
        tiles: The decisions on the stage's code.
        packed: The stage's numbers, which the layer's are appended to.
        scratch: The stage's scratch.
        chosen: Name of the convolution that goes by Winograd's products; None where none does.
        chunked: Whether the channels are cut into chunks of ``tiles.chunk``.

    Returns:
        The layer with the places of its numbers and of its scratch.
    """
    groups = layer.terms[0].groups if layer.terms else 1
    most = max(tiles.registers // (SLOTS * code.rows), 1)
    channels = layer.channels // groups
    chunks = Blocks.of(channels, tiles.chunk if chunked else channels)
    blocks = {size: Blocks.of(size, most) for _, size in chunks.cuts()}
    cuts = [(start + first, size) for start, chunk in chunks.cuts() for first, size in blocks[chunk].cuts()]
    bias = packed.add(sum((term.bias.astype("float64") for term in layer.terms), np.zeros(layer.channels)))
    products, direct = None, []
    for term in layer.terms:
        if term.name == chosen:
            outputs = Blocks.of(channels, tiles.winograd)
            products = winograd.Products(
                term,
                outputs,
                tiles.lines,
                winograd.pack_winograd(packed, term, outputs, tiles.lines),
                scratch.reserve(winograd.tile_floats(term, code.layout.lanes)),
                scratch.reserve(winograd.kept_floats(outputs, tiles.lines, code.layout.lanes)),
                scratch.tile(code, layer.channels) if len(layer.terms) > 1 else None,
            )
        else:
            direct.append((term, pack_direct(packed, term, cuts)))
    return Prepared(groups, chunks, blocks, bias, tuple(direct), tuple(pack_steps(packed, layer.steps)), products)
