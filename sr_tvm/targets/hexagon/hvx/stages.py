"""An integer network as stages, each of which makes a row of a value at a time: what is fused, and what is stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sr_tvm.errors import SrTvmError
from sr_tvm.quantize.network import (
    S16,
    Blend,
    IntegerNetwork,
    Meaning,
    Narrow,
    Node,
    QuantizedConvolution,
    QuantizedInput,
    QuantizedSum,
    Residual,
    halfwords,
    macs,
)
from sr_tvm.targets.hexagon.hvx import convolution, pair
from sr_tvm.targets.hexagon.hvx.blend import BlendForm
from sr_tvm.targets.hexagon.hvx.code import GROUP, groups
from sr_tvm.targets.hexagon.hvx.convolution import BYTES, HALFWORDS, NARROWED, RESIDUAL, SUM, Form
from sr_tvm.targets.hexagon.hvx.decisions import CONVOLUTION, DEFAULT, HvxDecisions
from sr_tvm.targets.hexagon.hvx.pack import padded
from sr_tvm.targets.hexagon.hvx.pair import PairForm

KERNELS = (1, 3, 5)
SHUFFLES = (2, 3, 4)
ACROSS = {2: 2, 3: 4, 4: 4}  # channels of a group that go to one line, by the shuffle; of three each fourth is nothing
TILES_OF_SHUFFLE = {2: 2, 3: 1, 4: 1}  # the store of a shuffled result has its own


@dataclass(frozen=True, eq=False)
class HvxStage:
    """One row of ``value`` from rows of what it reads.

    Attributes:
        reads: For each value that is read, how many rows above and below the stage's own.
        convolution: The convolution that makes the value; None for the picture, which is copied, and for a blend.
        expand: The 1x1 convolution before it, where both are fused.
        end: What becomes of the sums, see convolution.py.
        joined: The residual or sum that is done at the end.
        other: The value that is added.
        channels: How many the value has.
        shuffle: Factor of the pixel shuffle that the result is stored by; 0 for what goes to a line buffer.
        blend: The node that makes the value, where that is no convolution.
        narrow: The node that makes the value's bytes of halfwords.
        kept: The name of these halfwords, where others read them, too.
        taps: Of a picture whose tiles hold, in place of channels, so many pixels of a row of each plane: what its
            convolutions read at once, see :func:`columns`. 0: it has channels.
        window: Of such a picture, the rows whose pixels its tiles hold, where these are more than the tile's own; of a
            stage that reads it, its kernel, which is a 1x1 over these. 0: it is none.
        stride: Groups of channels of what its convolution reads, of which that may use but the first.
        packed: Of a value that a 3x3 alone reads and whose last group has but 1 or 2 channels, that number: the group
            holds them of two or one rows above as well, so that fewer of its vectors are multiplied. 0: it does not.
        reads_packed: The same of what its convolution reads.
        kind: Stages of one kind have kernels of one form, about which is decided once; "" for the picture.
        decisions: How its kernel is written.
    """

    value: str
    reads: dict[str, int]
    channels: int
    convolution: QuantizedConvolution | None = None
    expand: QuantizedConvolution | None = None
    end: str = BYTES
    joined: Residual | QuantizedSum | None = None
    other: str | None = None
    shuffle: int = 0
    blend: Blend | None = None
    narrow: Narrow | None = None
    kept: str | None = None
    taps: int = 0
    window: int = 0
    stride: int = 0
    packed: int = 0
    reads_packed: int = 0
    kind: str = ""
    decisions: HvxDecisions = DEFAULT

    @property
    def planes(self) -> int:
        """Of the picture, before tiles are made of them."""
        return self.channels // (self.taps * self.rows) if self.taps else self.channels

    @property
    def rows(self) -> int:
        """Of the picture, that its tiles hold pixels of."""
        return self.window or 1

    @property
    def halo(self) -> int:
        """Rows above and below its own that are read at most, of any value."""
        return max(self.reads.values(), default=0)

    @property
    def macs(self) -> int:
        """Multiply-accumulates a pixel, those of the network alone."""
        return sum(macs(_planes_of(c, self.window)) for c in (self.expand, self.convolution) if c is not None)

    @property
    def usual(self) -> HvxDecisions:
        """What is decided where nobody tuned: as the tuned records do."""
        assert self.convolution is not None
        short = self.convolution.weight.shape[2:] == (1, 1) and not self.window  # a 1x1, or two fused ones
        return DEFAULT if short else CONVOLUTION

    @property
    def describe(self) -> str:
        """The stage in words, for tables: equal for stages of equal form."""
        if self.blend is not None:
            function = "sum" if len(self.blend.inputs) == 2 else "scales" if self.blend.slope is None else "PReLU"
            return f"{function} of {self.channels} bytes{f', shuffle {self.shuffle}' if self.shuffle else ''}"
        if self.convolution is None:
            return f"{self.planes} planes to tiles"
        o, i, k, wide = self.convolution.weight.shape
        if wide != k or self.window:  # planes' pixels of a row, or of a window
            k = max(k, self.window)
            i //= k * max(self.window, 1)
        if self.expand is not None:
            return f"1x1 {self.expand.weight.shape[1]}->{i}, ReLU, 1x1 {i}->{o}"
        added = " + residual" if self.narrow else " + skip"
        ends = {BYTES: "", HALFWORDS: "", NARROWED: "", RESIDUAL: " + residual of bytes", SUM: added}
        bent = ", PReLU" if self.convolution.slope is not None else ""
        kept = ", halfwords kept" if self.kept is not None else ""
        return f"{k}x{k} {i}->{o}{bent}{ends[self.end]}{kept}{f', shuffle {self.shuffle}' if self.shuffle else ''}"

    def forms(self) -> list[tuple[Form, int]]:
        """List the row functions that together make a row of a convolution.

        Returns:
            The form of each, and the first of the channels that it makes, counted up to whole groups of four.
        """
        assert self.convolution is not None
        outputs, inputs, rows, kernel = self.convolution.weight.shape
        whole, decided = groups(outputs) * 4, self.decisions
        # Two tiles share the weights: even where that takes twice as many passes over what is read.
        tiles = TILES_OF_SHUFFLE.get(self.shuffle) or decided.tiles or 2
        passes = -(-whole // max(4, decided.sums // tiles))
        each = groups(-(-whole // passes)) * 4
        node, saturates = self.convolution, False
        if isinstance(self.joined, Residual):
            low, high = halfwords(node)
            reach = 255 * self.joined.factor
            saturates = low < -32768 or high + reach > 32767
        found, ready = [], decided.ready if decided.ready >= 0 else convolution.READY
        for first in range(0, whole, each):
            count = min(each, whole - first)
            form = Form(
                kernel, rows, groups(inputs), count, tiles, whole // 4, self.end, node.multiplier is not None,
                saturates, self.shuffle, node.slope is not None, node.before is not None, self.kept is not None,
                _skipped(node, first, count), ready, decided.order, decided.read, self.reads_packed,
                self.stride or groups(inputs),
            )  # fmt: skip
            found.append((form, first))
        return found

    @property
    def blend_form(self) -> BlendForm:
        """The form of the row function of a blend."""
        assert self.blend is not None
        node = self.blend
        return BlendForm(len(node.inputs), node.slope is not None, node.smaller is not None, self.shuffle)

    @property
    def pair(self) -> PairForm:
        """The form of the row function of two fused 1x1 convolutions."""
        assert self.expand is not None and self.convolution is not None
        decided = self.decisions
        ready = decided.ready if decided.ready >= 0 else pair.READY
        form = replace(_pair(self.expand, self.convolution), packed=self.packed)
        return replace(form, ready=ready, shared=decided.shared, spread=decided.spread)


def _skipped(node: QuantizedConvolution, first: int, count: int) -> frozenset[tuple[int, int]]:
    """Return the taps that outputs from ``first`` do not have: a transposed convolution's, see :class:`Form`."""
    kernel = node.weight.shape[3]
    there: np.ndarray = np.any(padded(node)[first : first + count], axis=(1, 2))
    near = Form(kernel, 1, 1, 4, 1, 1, BYTES).near
    return frozenset((place, o) for place, d in enumerate(near) for o in range(count) if not there[o, d + kernel // 2])


def _pair(expand: QuantizedConvolution, project: QuantizedConvolution) -> PairForm:
    first = len(expand.bias) % GROUP or GROUP
    return PairForm(groups(expand.weight.shape[1]), len(project.bias), first)


def stages(network: IntegerNetwork, decided: Mapping[str, HvxDecisions] | None = None) -> list[HvxStage]:
    """Cut a network into stages, each of which makes a row of a value at a time.

    Args:
        network: The network, as :func:`grouped` gives it.
        decided: Decisions by the kind of a kernel; other kinds have the default's. None: all have.

    Returns:
        The stages in the order in which they run: the picture first, the result last.

    Raises:
        SrTvmError: Something of it has no kernel on HVX; the message names it.
    """
    if network.shuffle not in SHUFFLES:
        raise SrTvmError(f"hexagon: results are stored by a pixel shuffle of 2, 3 or 4, not of {network.shuffle}")
    taps = _taps(network)
    joined = {name: _rows_of(network, made, taps) for name, made in _joined(network).items()}
    inside = {convolution.name for convolution in joined.values()}
    inside |= {node.inputs[0] for node in network.nodes if isinstance(node, Narrow)}
    decided = decided or {}
    hidden, apart = _hidden(network, decided)
    found: list[HvxStage] = []
    for node in network.nodes:
        shuffle = network.shuffle if node is network.result else 0
        channels = network.channels(node.name)
        match node:
            case QuantizedInput():
                if channels > 4:
                    raise SrTvmError(f"hexagon: a picture of {channels} channels; up to 4 are copied into tiles")
                wide, tall = taps or (0, 0)
                held = channels * max(wide, 1) * max(tall, 1)
                found.append(HvxStage(node.name, {}, held, taps=wide, window=tall))
            case QuantizedConvolution() if node.name not in inside and node.name not in hidden:
                made = _rows_of(network, node, taps)
                found.append(_convolution(network, made, node.name, channels, hidden, shuffle))
            case Blend():
                found.append(HvxStage(node.name, dict.fromkeys(node.inputs, 0), channels, shuffle=shuffle, blend=node))
            case Narrow():
                found.append(_narrowed(network, node, channels, taps))
            case QuantizedSum() if node.dtype == S16:
                pass  # the stage of the bytes that are made of it makes it, too
            case Residual() | QuantizedSum():
                made = joined[node.name]
                other = next(name for name in node.inputs if name != made.name)
                end = RESIDUAL if isinstance(node, Residual) else SUM
                found.append(_joined_stage(node, made, other, end, channels, shuffle))
    if taps:
        read, stride = network.picture.name, groups(found[0].channels)
        readers = [stage.convolution is not None and read in stage.convolution.inputs for stage in found]
        found = [
            replace(stage, stride=stride, window=taps[1]) if reads else stage
            for stage, reads in zip(found, readers, strict=True)
        ]
    return [_decided(stage, apart, decided) for stage in _packed(found)]


def _packed(found: list[HvxStage]) -> list[HvxStage]:
    """Return the stages, with values marked whose last group holds rows before."""
    packed = {}
    for stage in found:
        readers = [other for other in found if stage.value in other.reads]
        if stage.expand is not None and stage.channels % GROUP in (1, 2) and len(readers) == 1:
            (reader,) = readers
            if reader.other != stage.value and reader.convolution and reader.convolution.weight.shape[2:] == (3, 3):
                packed[stage.value] = stage.channels % GROUP
    reads = [max((packed.get(name, 0) for name in stage.reads), default=0) for stage in found]
    return [
        replace(stage, packed=packed.get(stage.value, 0), reads_packed=read)
        for stage, read in zip(found, reads, strict=True)
    ]


def _decided(stage: HvxStage, apart: dict[str, str], decided: Mapping[str, HvxDecisions]) -> HvxStage:
    """Return a stage with its kind and what is decided about it; two that might be fused have the kind of both."""
    if stage.convolution is None:
        return stage
    kind = apart.get(stage.convolution.name) or _kind(stage)
    return replace(stage, kind=kind, decisions=decided.get(kind, stage.usual))


def _kind(stage: HvxStage) -> str:
    assert stage.convolution is not None
    marks = [", halfwords"] if stage.end == HALFWORDS else []
    marks += [", multiplied"] if stage.convolution.multiplier is not None else []
    return stage.describe + "".join(marks)


def planes(network: IntegerNetwork) -> int:
    """Count the planes of a network's result, behind its pixel shuffle.

    Args:
        network: The network, as :func:`grouped` gives it.

    Returns:
        How many there are, such as 3 of a coloured picture.
    """
    return network.channels(network.result.name) // (network.shuffle * ACROSS[network.shuffle])


def grouped(network: IntegerNetwork) -> IntegerNetwork:
    """Give each line of a pixel shuffle of 3 a group of four channels, the last of which is nothing.

    Args:
        network: The network, as it was quantised.

    Returns:
        The network with these channels; itself where its shuffle is not 3.

    Raises:
        SrTvmError: The picture itself would have to have such channels.
    """
    if network.shuffle != 3:
        return network
    lines = np.arange(network.channels(network.result.name)).reshape(-1, 3)
    order = np.pad(lines, ((0, 0), (0, 1)), constant_values=-1).ravel()
    changed, before = {network.result.name}, 0
    while before != len(changed):  # what is added up has the same channels
        before = len(changed)
        for node in network.nodes:
            tied = {node.name, *node.inputs} if not isinstance(node, QuantizedConvolution) else {node.name}
            changed |= tied if tied & changed else set()
    if network.picture.name in changed:
        raise SrTvmError("hexagon: a pixel shuffle of 3 of what is added to the picture is not stored")
    nodes = []
    for node in network.nodes:
        if isinstance(node, QuantizedConvolution) and node.inputs[0] in changed:
            node = replace(node, weight=_column(node.weight, order, 1), filled=(node.filled[0], int((order < 0).sum())))
        nodes.append(_reordered(node, order) if node.name in changed else node)
    return IntegerNetwork(tuple(nodes), 3)


def _column(numbers: Any, order: np.ndarray, axis: int = 0) -> Any:
    """Return numbers by channel in another order, 0 where it is -1; None stays."""
    if numbers is None:
        return None
    moved = np.moveaxis(np.take(numbers, order, axis), axis, 0)
    moved[order < 0] = 0
    return np.moveaxis(moved, 0, axis)


def _reordered(node: Node, order: np.ndarray) -> Node:
    """Return the node with its channels in that order, and nothing where it is -1."""
    meaning = Meaning(node.meaning.scale[order], node.meaning.zero_point[order])  # nothing means what the last does
    changes: dict[str, Any] = {"meaning": meaning}
    match node:
        case QuantizedConvolution():
            names = ("weight", "bias", "multiplier", "slope", "before")
            changes |= {n: _column(getattr(node, n), order) for n in names}
            changes |= {"filled": (int((order < 0).sum()), node.filled[1])}
        case Blend():
            changes |= {"multipliers": _column(node.multipliers, order, 1)}
            changes |= {n: _column(getattr(node, n), order) for n in ("slope", "offset", "smaller")}
    return replace(node, **changes)


def _joined(network: IntegerNetwork) -> dict[str, QuantizedConvolution]:
    """Return by residual or sum the convolution whose end it becomes: the one that reads only what is ready."""
    found = {}
    for node in network.nodes:
        if isinstance(node, Residual | QuantizedSum):
            made = network.by_name[node.inputs[0]]
            assert isinstance(made, QuantizedConvolution)
            found[node.name] = made
    return found


def _hidden(
    network: IntegerNetwork, decided: Mapping[str, HvxDecisions]
) -> tuple[dict[str, QuantizedConvolution], dict[str, str]]:
    """Return 1x1 convolutions that are fused with the one that alone reads them; and kinds of others that might be."""
    found, projects = {}, {}
    for node in network.nodes:
        if not isinstance(node, QuantizedConvolution) or not _plain(node) or len(network.readers(node.name)) != 1:
            continue
        (project,) = network.readers(node.name)
        if not isinstance(project, QuantizedConvolution) or not _plain(project) or project is network.result:
            continue
        if project.dtype != S16 and _pair(node, project).fits:
            found[node.name], projects[node.name] = node, project
    # Of a chain of 1x1 convolutions each second is stored.
    found = {name: node for name, node in found.items() if node.inputs[0] not in found}
    apart: dict[str, str] = {}
    for name, node in list(found.items()):
        kind = HvxStage(projects[name].name, {}, 0, projects[name], node).describe
        if not decided.get(kind, DEFAULT).fused:
            del found[name]
            apart |= {name: kind, projects[name].name: kind}
    return found, apart


def _plain(node: QuantizedConvolution) -> bool:
    return node.weight.shape[2:] == (1, 1) and node.multiplier is None and node.slope is None


def _taps(network: IntegerNetwork) -> tuple[int, int] | None:
    """Return how many pixels of a row a picture's tiles hold of each plane, and how many rows: what is read at once.

    Rows are 0 where tiles hold those of their own row alone. It is None where something else than convolutions reads
    the picture, and where fewer vectors are read without.
    """
    readers = network.readers(network.picture.name)
    kernels = {node.weight.shape[2:] if isinstance(node, QuantizedConvolution) else (0, 0) for node in readers}
    if not kernels or not kernels <= {(3, 3), (5, 5)}:
        return None
    most, planes = max(kernels)[0], network.channels(network.picture.name)
    if planes == len(kernels) == 1 and groups(most * most) < most * groups(most):
        return most, most
    return (most, 0) if groups(planes * most) < most else None


def _rows_of(
    network: IntegerNetwork, node: QuantizedConvolution, taps: tuple[int, int] | None
) -> QuantizedConvolution:
    """Return a convolution of a picture whose tiles have :func:`columns`, over these as if they were channels."""
    if not taps or node.inputs[0] != network.picture.name:
        return node
    outputs, planes, _, wide = node.weight.shape
    if taps[1]:
        return replace(node, weight=node.weight.reshape(outputs, -1, 1, 1))
    parts = [node.weight[:, plane, :, d + wide // 2] for plane, d in columns(planes, wide)]
    return replace(node, weight=np.stack(parts, 1)[..., None])


def columns(planes: int, taps: int, rows: int = 1) -> list[tuple[int, int]]:
    """List the "channels" of a picture's tiles that hold neighbouring pixels in place of channels.

    The middle three of all planes are first, so that a 3x3 reads no more. Where ``rows`` is more than 1, "planes" are
    rows around the tile's, all pixels of which are read.

    Args:
        planes: Of the picture, times ``rows``.
        taps: Pixels of each plane's row that a tile holds, odd.
        rows: Of the picture, that a tile holds pixels of.

    Returns:
        For each, its plane and its place in the row, in pixels right of the tile's own.
    """
    reach = range(-(taps // 2), taps // 2 + 1)
    found = [(plane, d) for plane in range(planes) for d in reach]
    return found if rows > 1 else sorted(found, key=lambda column: abs(column[1]) > 1)


def _planes_of(node: QuantizedConvolution, window: int) -> QuantizedConvolution:
    """Return the convolution that :func:`_rows_of` made another of, or the same."""
    outputs, channels, tall, wide = node.weight.shape
    if window:
        return replace(node, weight=node.weight.reshape(outputs, -1, window, window))
    if tall == wide:
        return node
    weight = np.zeros((outputs, channels // tall, tall, tall), np.int8)
    for i, (plane, d) in enumerate(columns(channels // tall, tall)):
        weight[:, plane, :, d + tall // 2] = node.weight[:, i, :, 0]
    return replace(node, weight=weight)


def _convolution(
    network: IntegerNetwork,
    node: QuantizedConvolution,
    value: str,
    channels: int,
    hidden: dict[str, QuantizedConvolution],
    shuffle: int,
) -> HvxStage:
    _check(node)
    expand = hidden.get(node.inputs[0])
    source = expand.inputs[0] if expand is not None else node.inputs[0]
    end = HALFWORDS if node.dtype == S16 else BYTES
    return HvxStage(value, {source: node.weight.shape[2] // 2}, channels, node, expand, end, shuffle=shuffle)


def _joined_stage(
    node: Residual | QuantizedSum | Narrow,
    made: QuantizedConvolution,
    other: str,
    end: str,
    channels: int,
    shuffle: int,
) -> HvxStage:
    _check(made)
    reads = {made.inputs[0]: made.weight.shape[2] // 2}
    reads[other] = max(reads.get(other, 0), 0)
    joined = None if isinstance(node, Narrow) else node
    return HvxStage(node.name, reads, channels, made, None, end, joined, other, shuffle)


def _narrowed(network: IntegerNetwork, node: Narrow, channels: int, taps: tuple[int, int] | None) -> HvxStage:
    """Return the stage of a residual path's bytes; it makes the halfwords, too, where they are added to once more."""
    whole = network.by_name[node.inputs[0]]
    kept = whole.name if len(network.readers(whole.name)) > 1 else None
    if isinstance(whole, QuantizedSum):
        made, other = (network.by_name[name] for name in whole.inputs)
        assert isinstance(made, QuantizedConvolution)
        stage = _joined_stage(node, _rows_of(network, made, taps), other.name, SUM, channels, 0)
    else:
        assert isinstance(whole, QuantizedConvolution)
        made = _rows_of(network, whole, taps)
        _check(made)
        stage = HvxStage(node.name, {made.inputs[0]: made.weight.shape[2] // 2}, channels, made, None, NARROWED)
    return replace(stage, narrow=node, kept=kept)


def _check(node: QuantizedConvolution) -> None:
    tall, wide = node.weight.shape[2:]
    if (tall != wide and wide != 1) or tall not in KERNELS:
        raise SrTvmError(f"{node.name}: hexagon has no kernel for a {tall}x{wide} convolution; 1x1, 3x3 and 5x5 it has")
