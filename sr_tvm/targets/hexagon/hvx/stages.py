"""An integer network as stages, each of which makes a row of a value at a time: what is fused, and what is stored."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sr_tvm.errors import SrTvmError
from sr_tvm.quantize.network import (
    S16,
    Blend,
    Convolution,
    IntegerNetwork,
    Meaning,
    Node,
    Picture,
    Residual,
    Sum,
    halfwords,
    macs,
)
from sr_tvm.targets.hexagon.hvx.blend import BlendForm
from sr_tvm.targets.hexagon.hvx.code import groups
from sr_tvm.targets.hexagon.hvx.convolution import BYTES, HALFWORDS, REGISTERS, RESIDUAL, SUM, Form
from sr_tvm.targets.hexagon.hvx.pack import padded
from sr_tvm.targets.hexagon.hvx.pair import PairForm

KERNELS = (1, 3, 5)
SHUFFLES = (2, 3, 4)
ACROSS = {2: 2, 3: 4, 4: 4}  # channels of a group that go to one line, by the shuffle; of three each fourth is nothing


@dataclass(frozen=True, eq=False)
class Stage:
    """One row of ``value`` from rows of what it reads.

    Attributes:
        reads: by value, how many rows above and below its own are read.
        convolution: the one that makes it; None for the picture, which is copied, and for a blend.
        expand: the 1x1 convolution before it, where both are fused.
        end: what becomes of the sums, see convolution.py.
        joined: the residual or sum that is done at the end.
        other: the value that is added.
        channels: of the value.
        shuffle: of the result; 0 for what goes to a line buffer.
        blend: what makes it, where that is no convolution.
        taps: of a picture of one plane whose tiles hold, in place of channels, so many pixels of a row: what its
            convolutions read at once. 0: it has channels.
        unused: inputs of the convolution that are nothing: see :func:`grouped`.
    """

    value: str
    reads: dict[str, int]
    channels: int
    convolution: Convolution | None = None
    expand: Convolution | None = None
    end: str = BYTES
    joined: Residual | Sum | None = None
    other: str | None = None
    shuffle: int = 0
    blend: Blend | None = None
    taps: int = 0
    unused: int = 0

    @property
    def planes(self) -> int:
        """Of the picture, before tiles are made of them."""
        return 1 if self.taps else self.channels

    @property
    def halo(self) -> int:
        return max(self.reads.values(), default=0)

    @property
    def macs(self) -> int:
        """Multiply-accumulates a pixel, those of the network alone."""
        parts = [_planes_of(c) for c in (self.expand, self.convolution) if c is not None]
        whole = sum(map(macs, parts))
        return whole - (whole // parts[-1].weight.shape[1] * self.unused if self.unused else 0)

    @property
    def describe(self) -> str:
        """The stage in words, for tables: equal for stages of equal form."""
        if self.blend is not None:
            function = "sum" if len(self.blend.inputs) == 2 else "scales" if self.blend.slope is None else "PReLU"
            return f"{function} of {self.channels} bytes{f', shuffle {self.shuffle}' if self.shuffle else ''}"
        if self.convolution is None:
            return f"{self.planes} planes to tiles"
        o, i, k, wide = self.convolution.weight.shape
        i = i if wide == k else 1  # one plane's pixels of a row
        if self.expand is not None:
            return f"1x1 {self.expand.weight.shape[1]}->{i}, ReLU, 1x1 {i}->{o}"
        ends = {BYTES: "", HALFWORDS: "", RESIDUAL: " + residual", SUM: " + skip"}
        bent = ", PReLU" if self.convolution.slope is not None else ""
        return f"{k}x{k} {i}->{o}{bent}{ends[self.end]}{f', shuffle {self.shuffle}' if self.shuffle else ''}"

    def forms(self) -> list[tuple[Form, int]]:
        """The row functions that make a row, each with the first of the channels that it makes."""
        assert self.convolution is not None
        outputs, inputs, rows, kernel = self.convolution.weight.shape
        whole = groups(outputs) * 4
        # Five taps in a row leave registers for 24 sums only where tiles share the weights.
        tiles = 2 if self.shuffle == 2 or self.shuffle == 0 and (kernel == 5 or whole <= REGISTERS // 2) else 1
        passes = -(-whole // (REGISTERS // tiles))
        each = groups(-(-whole // passes)) * 4
        node, saturates = self.convolution, False
        if isinstance(self.joined, Residual):
            low, high = halfwords(node)
            reach = 255 * self.joined.factor
            saturates = low < -32768 or high + reach > 32767
        found = []
        for first in range(0, whole, each):
            count = min(each, whole - first)
            form = Form(
                kernel, rows, groups(inputs), count, tiles, whole // 4, self.end, node.multiplier is not None,
                saturates, self.shuffle, node.slope is not None, node.before is not None, _skipped(node, first, count),
            )  # fmt: skip
            found.append((form, first))
        return found

    @property
    def blend_form(self) -> BlendForm:
        assert self.blend is not None
        node = self.blend
        return BlendForm(len(node.inputs), node.slope is not None, node.smaller is not None, self.shuffle)

    @property
    def pair(self) -> PairForm:
        """The form of the row function of two fused 1x1 convolutions."""
        assert self.expand is not None and self.convolution is not None
        return _pair(self.expand, self.convolution)


def _skipped(node: Convolution, first: int, count: int) -> frozenset[tuple[int, int]]:
    """Columns of taps of which outputs from ``first`` have none: a transposed convolution's, see :class:`Form`."""
    kernel = node.weight.shape[3]
    there: np.ndarray = np.any(padded(node)[first : first + count], axis=(1, 2))
    order = Form(kernel, 1, 1, 4, 1, 1, BYTES).order
    return frozenset((place, o) for place, d in enumerate(order) for o in range(count) if not there[o, d + kernel // 2])


def _pair(expand: Convolution, project: Convolution) -> PairForm:
    return PairForm(groups(expand.weight.shape[1]), groups(len(project.bias)) * 4)


def stages(network: IntegerNetwork) -> list[Stage]:
    """Cut a network into stages.

    Raises:
        SrTvmError: something of it has no kernel on HVX; the message names it.
    """
    if network.shuffle not in SHUFFLES:
        raise SrTvmError(f"hexagon: results are stored by a pixel shuffle of 2, 3 or 4, not of {network.shuffle}")
    taps = _taps(network)
    joined = {name: _rows_of(network, made, taps) for name, made in _joined(network).items()}
    inside = {convolution.name for convolution in joined.values()}
    hidden = _hidden(network)
    found: list[Stage] = []
    for node in network.nodes:
        shuffle = network.shuffle if node is network.result else 0
        channels = network.channels(node.name)
        match node:
            case Picture():
                if channels > 4:
                    raise SrTvmError(f"hexagon: a picture of {channels} channels; up to 4 are copied into tiles")
                found.append(Stage(node.name, {}, taps or channels, taps=taps))
            case Convolution() if node.name not in inside and node.name not in hidden:
                made = _rows_of(network, node, taps)
                found.append(_convolution(network, made, node.name, channels, hidden, shuffle))
            case Blend():
                found.append(Stage(node.name, dict.fromkeys(node.inputs, 0), channels, shuffle=shuffle, blend=node))
            case Residual() | Sum():
                made = joined[node.name]
                other = next(name for name in node.inputs if name != made.name)
                end = RESIDUAL if isinstance(node, Residual) else SUM
                joint = _joined_stage(node, made, other, end, channels, shuffle)
                found.append(replace(joint, unused=_unused(network, made)))
    return found


def planes(network: IntegerNetwork) -> int:
    """How many planes the result of a :func:`grouped` network has."""
    return network.channels(network.result.name) // (network.shuffle * ACROSS[network.shuffle])


def grouped(network: IntegerNetwork) -> IntegerNetwork:
    """Give each line of a shuffle of 3 a group of four channels, the last of which is nothing.

    Raises:
        SrTvmError: the picture itself would have to have such channels.
    """
    if network.shuffle != 3:
        return network
    lines = np.arange(network.channels(network.result.name)).reshape(-1, 3)
    order = np.pad(lines, ((0, 0), (0, 1)), constant_values=-1).ravel()
    changed, before = {network.result.name}, 0
    while before != len(changed):  # what is added up has the same channels
        before = len(changed)
        for node in network.nodes:
            tied = {node.name, *node.inputs} if not isinstance(node, Convolution) else {node.name}
            changed |= tied if tied & changed else set()
    if network.picture.name in changed:
        raise SrTvmError("hexagon: a pixel shuffle of 3 of what is added to the picture is not stored")
    nodes = []
    for node in network.nodes:
        if isinstance(node, Convolution) and node.inputs[0] in changed:
            node = replace(node, weight=_column(node.weight, order, 1))
        nodes.append(_reordered(node, order) if node.name in changed else node)
    return IntegerNetwork(tuple(nodes), 3)


def _column(numbers: Any, order: np.ndarray, axis: int = 0) -> Any:
    """Numbers by channel in another order, 0 where it is -1; None stays."""
    if numbers is None:
        return None
    moved = np.moveaxis(np.take(numbers, order, axis), axis, 0)
    moved[order < 0] = 0
    return np.moveaxis(moved, 0, axis)


def _reordered(node: Node, order: np.ndarray) -> Node:
    """The node with its channels in that order, and nothing where it is -1."""
    meaning = Meaning(node.meaning.scale[order], node.meaning.zero_point[order])  # nothing means what the last does
    changes: dict[str, Any] = {"meaning": meaning}
    match node:
        case Convolution():
            names = ("weight", "bias", "multiplier", "slope", "before")
            changes |= {n: _column(getattr(node, n), order) for n in names}
        case Blend():
            changes |= {"multipliers": _column(node.multipliers, order, 1)}
            changes |= {n: _column(getattr(node, n), order) for n in ("slope", "offset", "smaller")}
    return replace(node, **changes)


def _joined(network: IntegerNetwork) -> dict[str, Convolution]:
    """By residual or sum, the convolution whose end it becomes: the one that reads nothing else than is ready."""
    found = {}
    for node in network.nodes:
        if isinstance(node, Residual | Sum):
            made = network.by_name[node.inputs[0]]
            assert isinstance(made, Convolution)
            found[node.name] = made
    return found


def _hidden(network: IntegerNetwork) -> dict[str, Convolution]:
    """1x1 convolutions that are fused with the one that alone reads them."""
    found = {}
    for node in network.nodes:
        if not isinstance(node, Convolution) or not _plain(node) or len(network.readers(node.name)) != 1:
            continue
        (project,) = network.readers(node.name)
        if not isinstance(project, Convolution) or not _plain(project) or project is network.result:
            continue
        if project.dtype != S16 and _pair(node, project).fits:
            found[node.name] = node
    # Of a chain of 1x1 convolutions each second is stored.
    return {name: node for name, node in found.items() if node.inputs[0] not in found}


def _plain(node: Convolution) -> bool:
    return node.weight.shape[2:] == (1, 1) and node.multiplier is None and node.slope is None


def _taps(network: IntegerNetwork) -> int:
    """The kernel of the convolutions that read a picture of one plane, where nothing else does; else 0."""
    readers = network.readers(network.picture.name)
    kernels = {node.weight.shape[2:] if isinstance(node, Convolution) else (0, 0) for node in readers}
    if network.channels(network.picture.name) != 1 or kernels not in ({(3, 3)}, {(5, 5)}):
        return 0
    return int(kernels.pop()[0])


def _rows_of(network: IntegerNetwork, node: Convolution, taps: int) -> Convolution:
    """A convolution that reads a picture of one plane, over the pixels of a row as if they were channels."""
    if not taps or node.inputs[0] != network.picture.name:
        return node
    return replace(node, weight=node.weight[:, 0].transpose(0, 2, 1)[..., None])


def _planes_of(node: Convolution) -> Convolution:
    """The convolution that :func:`_rows_of` made another of, or the same."""
    tall, wide = node.weight.shape[2:]
    if tall == wide:
        return node
    return replace(node, weight=node.weight[..., 0].transpose(0, 2, 1)[:, None])


def _convolution(
    network: IntegerNetwork, node: Convolution, value: str, channels: int, hidden: dict[str, Convolution], shuffle: int
) -> Stage:
    _check(node)
    expand = hidden.get(node.inputs[0])
    source = expand.inputs[0] if expand is not None else node.inputs[0]
    end = HALFWORDS if node.dtype == S16 else BYTES
    reads, unused = {source: node.weight.shape[2] // 2}, _unused(network, node) if expand is None else 0
    return Stage(value, reads, channels, node, expand, end, shuffle=shuffle, unused=unused)


def _unused(network: IntegerNetwork, node: Convolution) -> int:
    """How many inputs are the nothing of groups of three pixels, which the network did not have before."""
    result, inputs = network.channels(network.result.name), node.weight.shape[1]
    if network.shuffle != 3 or inputs != result or node.weight[:, 3::4].any():
        return 0
    return inputs // 4


def _joined_stage(node: Residual | Sum, made: Convolution, other: str, end: str, channels: int, shuffle: int) -> Stage:
    _check(made)
    reads = {made.inputs[0]: made.weight.shape[2] // 2}
    reads[other] = max(reads.get(other, 0), 0)
    return Stage(node.name, reads, channels, made, None, end, node, other, shuffle)


def _check(node: Convolution) -> None:
    tall, wide = node.weight.shape[2:]
    if (tall != wide and wide != 1) or tall not in KERNELS:
        raise SrTvmError(f"{node.name}: hexagon has no kernel for a {tall}x{wide} convolution; 1x1, 3x3 and 5x5 it has")
