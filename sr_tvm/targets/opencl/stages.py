"""Cut a region into stages, each of which one kernel computes with nothing computed twice. Free of TVM.

A work-item has its own pixels of every value of a stage in registers. A convolution that looks beside its pixel reads
what an earlier stage has left in memory, so a stage ends before each of them: a 3x3 convolution, what is added to it,
and the 1x1 convolutions that follow are one stage, whose hidden channels are never in memory.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sr_tvm.regions.cut import Cutter, Piece, part_of
from sr_tvm.regions.region import Conv, Node, Pointwise, Region, Source
from sr_tvm.regions.value import FLOAT32


@dataclass(frozen=True)
class Hidden:
    """Channels that a 1x1 convolution widens to and the next one narrows from, four at a time.

    Attributes:
        expand: The convolution that makes them.
        arithmetic: What lies between the two, channel by channel, in order.
    """

    expand: Conv
    arithmetic: tuple[Pointwise, ...]


def spatial(conv: Conv) -> bool:
    """Tell whether a convolution looks beside its pixel.

    Args:
        conv: Any convolution.

    Returns:
        False for 1x1 kernels alone.
    """
    return conv.weight.shape[2:] != (1, 1)


def hidden_of(region: Region, conv: Conv, narrow: int) -> Hidden | None:
    """Find the hidden channels that a 1x1 convolution projects, if they can be made and used up four at a time.

    Nothing else may read them, they are no result, and they are more than half of ``narrow``.

    Args:
        region: That has the convolution.
        conv: The one that projects.
        narrow: Channels that a work-item keeps in registers: the most that are widened, and the most that are projected
            to.

    Returns:
        The hidden channels; None where ``conv`` reads values of its own.
    """
    if spatial(conv) or conv.groups > 1 or len(conv.inputs) != 1 or conv.channels > narrow:
        return None
    results = {result.value for result in region.results}
    arithmetic: list[Pointwise] = []
    node: Node = region.by_name[conv.inputs[0]]
    while len(region.readers[node.name]) == 1 and node.name not in results:
        if isinstance(node, Pointwise):
            arithmetic.insert(0, node)
            node = region.by_name[node.inputs[0]]
        elif isinstance(node, Conv):
            wide = sum(region.by_name[name].channels for name in node.inputs)
            fits = not spatial(node) and node.groups == 1 and wide <= narrow and node.channels > narrow // 2
            return Hidden(node, tuple(arithmetic)) if fits else None
        else:
            return None
    return None


def cut_stages(region: Region, narrow: int, packed: bool = False, remade: bool = False) -> list[Piece]:
    """Cut a region into stages.

    Values of up to ``narrow`` channels go from one convolution to a 1x1 convolution in registers; what is wider goes
    through memory. Of a stage, parts that have nothing to do with each other are stages of their own.

    Args:
        region: What the stages compute together.
        narrow: Channels that a work-item keeps in registers.
        packed: Whether the first stage leaves a copy of the sources that later convolutions look around in, in the form
            of what lies between kernels: a picture's planes are slow to read, and its long skip reads 5x5 pixels.
        remade: Whether convolutions of sources are made again by every stage that reads their pixels, rather than
            written and read: the first convolution of a picture has few inputs, and many channels.

    Returns:
        The stages in the order they run, each with at least one result.
    """
    kept: set[str] = set()
    if remade:
        region = _with_remade(region, narrow)
    if packed:
        region, kept = _with_copies(region, narrow)
    cheap = Cutter(region).cheap - kept
    level = _levels(region, narrow, cheap, kept)
    pieces = []
    for number in sorted(set(level.values()) - {-1}):
        own = [node.name for node in region.nodes if level[node.name] == number]
        for part in _connected(region, own):
            piece = part_of(region, part, cheap)
            if piece.region.results:
                pieces.append(piece)
    # A result that is cheap has no level; it is a stage alone.
    for result in region.results:
        if level[result.value] == -1 and not isinstance(region.by_name[result.value], Source):
            pieces.append(part_of(region, {result.value}, cheap - {result.value}))
    return pieces


def _with_remade(region: Region, narrow: int) -> Region:
    """Return the region where convolutions of sources have a copy for each later stage that reads only their pixels."""
    cheap, from_memory = Cutter(region).cheap, _from_memory(region, narrow)
    level = _levels(region, narrow, cheap, set())
    results = {result.value for result in region.results}
    of_sources = {
        conv.name
        for conv in region.convolutions()
        if cheap.issuperset(conv.inputs)
        and conv.name not in results
        and not any(from_memory.get(reader.name) for reader in region.readers[conv.name])
    }
    nodes: list[Node] = []
    for node in region.nodes:
        if not isinstance(node, Source):
            own = tuple(
                _again(name, level[node.name]) if name in of_sources and level[node.name] > level[name] else name
                for name in node.inputs
            )
            node = replace(node, inputs=own)  # type: ignore[arg-type]  # as many as there were
        nodes.append(node)
        if node.name in of_sources:
            later = {level[reader.name] for reader in region.readers[node.name]} - {level[node.name]}
            nodes += [replace(node, name=_again(node.name, number)) for number in sorted(later)]
    return Region(tuple(nodes), region.results)


def _again(name: str, level: int) -> str:
    return f"{name}_again{level}"


def _with_copies(region: Region, narrow: int) -> tuple[Region, set[str]]:
    """Return the region with copies of what lies in memory beforehand and is looked around in after the first stage.

    The names of the copies come with it.
    """
    cheap = Cutter(region).cheap
    level = _levels(region, narrow, cheap, set())
    late = {
        name
        for node in region.convolutions()
        if spatial(node) and level[node.name] > 0
        for name in node.inputs
        if level[name] == -1
    }
    copies = {name: f"{name}_copy" for name in late if any(level[r.name] == 0 for r in region.readers[name])}
    nodes: list[Node] = []
    for node in region.nodes:
        if isinstance(node, Conv) and level[node.name] > 0:
            node = replace(node, inputs=tuple(copies.get(name, name) for name in node.inputs))
        nodes.append(node)
        if node.name in copies:
            zeros = np.zeros(node.channels, FLOAT32)
            nodes.append(Pointwise(copies[node.name], (node.name,), "shift", (zeros,), node.channels))
    return Region(tuple(nodes), region.results), set(copies.values())


def _from_memory(region: Region, narrow: int) -> dict[str, bool]:
    """Return whether a convolution, by its name, reads what an earlier stage has left in memory."""
    inside: set[str] = set()  # hidden channels, which are never a value of their own
    for conv in region.convolutions():
        if (hidden := hidden_of(region, conv, narrow)) is not None:
            inside |= {hidden.expand.name, *(node.name for node in hidden.arithmetic)}
    found = {}
    for conv in region.convolutions():
        wide = any(region.by_name[name].channels > narrow for name in conv.inputs if name not in inside)
        found[conv.name] = spatial(conv) or conv.groups > 1 or wide
    return found


def _levels(region: Region, narrow: int, cheap: set[str], kept: set[str]) -> dict[str, int]:
    """Return the stage of each node; -1 for what lies in memory beforehand, or is made anew wherever it is read.

    What is ``kept`` is in the first stage although it would be no trouble to make it later.
    """
    from_memory = _from_memory(region, narrow)
    level: dict[str, int] = {}
    for node in region.nodes:
        if isinstance(node, Source) or node.name in cheap:
            level[node.name] = -1
        else:
            before = max(level[name] for name in node.inputs)
            level[node.name] = max(before + from_memory.get(node.name, False), 0)
    # What reads nothing but sources, or copies of them, waits for its reader: its inputs are in memory anyway.
    for node in reversed(region.nodes):
        readers = region.readers[node.name]
        waits = level[node.name] >= 0 and node.name not in kept and readers
        if waits and all(level[name] == -1 or name in kept for name in node.inputs):
            latest = min(level[reader.name] - from_memory.get(reader.name, False) for reader in readers)
            level[node.name] = max(latest, level[node.name])
    return level


def _connected(region: Region, own: list[str]) -> list[set[str]]:
    """Return ``own`` in parts such that no node of one reads a node of another.

    A part without a convolution joins one that reads the same.
    """
    parts: list[set[str]] = []
    for name in own:
        touched = {name, *(read for read in region.by_name[name].inputs if read in own)}
        joined = [part for part in parts if part & touched]
        parts = [part for part in parts if not part & touched] + [touched.union(*joined)]
    for part in [part for part in parts if not any(isinstance(region.by_name[name], Conv) for name in part)]:
        reads = {read for name in part for read in region.by_name[name].inputs} - part
        for other in parts:
            if other is not part and reads & {read for name in other for read in region.by_name[name].inputs}:
                other |= part
                parts.remove(part)
                break
    order = {name: i for i, name in enumerate(own)}
    return sorted(parts, key=lambda part: min(order[name] for name in part))
