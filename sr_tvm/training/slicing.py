"""A smaller network out of a trained larger one: the blocks and channels that matter most, as a start for training.

What matters is told by activations, not by weights alone: a channel counts by the energy that it sends on, the mean
square of its values times the squared norm of the weights that read it; a block counts by how much the output changes
without it (both in the spirit of Molchanov et al. 2017, section 2.2, whose criterion is taken from activations too).
The pictures are seeded noise with the spectrum of photographs, so that a weights file is all that is needed and always
gives the same slice.
"""

from __future__ import annotations

import torch
from msgspec.structs import replace
from torch import Tensor, nn

from sr_tvm.errors import SrTvmError
from sr_tvm.nets.wdsr import WDSR, WideBlock
from sr_tvm.nets.weights import fold
from sr_tvm.records.architecture import COLOURS, Architecture

PICTURES, SIZE, SEED = 4, 48, 0


def slice_weights(big: WDSR, architecture: Architecture) -> WDSR:
    """Pick blocks and channels of a trained network as the start of a smaller one.

    Of another scale, each pixel of the output begins as the one of ``big`` at its place (:func:`rescale`).
    Blocks keep their order. The residual channels are chosen once for the whole network, since head, blocks and tail
    share them; the expanded and the linear channels for each block by itself. What is kept is copied as it is: moving
    the mean of what is dropped into the biases was measured and gains nothing reliably.

    Args:
        big: The trained network; it stays as it is.
        architecture: Of the smaller one.

    Returns:
        A plain network in eval mode, on the CPU; ``big`` itself, folded, if it has that architecture already.

    Raises:
        SrTvmError: ``architecture`` has more blocks or wider ones than ``big``.
    """
    check(big.architecture, architecture)
    # New networks draw weights, all of which are overwritten: the caller's random numbers are none of theirs.
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        big = rescale(fold(big), architecture.scale)
        if big.architecture == architecture:
            return big
        pictures = noise()
        entered, expanded, linears = _activations(big, pictures)
        chosen = _blocks(big, architecture, pictures)
        blocks = _wide(big)
        sent = _sent(entered[-1], big.tail)
        for j in chosen:
            sent += _sent(entered[j], blocks[j].expand)
        kept = _largest(sent, architecture.channels)
        small = WDSR(architecture, normed=False).eval()
        copy_part(small.head, big.head, kept, None)
        copy_part(small.skip, big.skip, None, None)
        copy_part(small.tail, big.tail, None, kept)
        for j, ours in zip(chosen, _wide(small), strict=True):
            theirs = blocks[j]
            expand = _largest(_sent(expanded[j], theirs.linear), ours.expand.out_channels)
            linear = _largest(_sent(linears[j], theirs.project), ours.linear.out_channels)
            copy_part(ours.expand, theirs.expand, expand, kept)
            copy_part(ours.linear, theirs.linear, linear, expand)
            copy_part(ours.project, theirs.project, kept, linear)
    return small


def check(big: Architecture, small: Architecture) -> None:
    """Insist that one architecture can be cut out of another.

    Args:
        big: What there are weights of.
        small: What is wanted.

    Raises:
        SrTvmError: A field of ``small`` is too large; it is named.
    """
    if small.channels > big.channels:
        raise SrTvmError(f"architecture field channels is {small.channels}; the weights have {big.channels}, no more")
    _places(big, small, [1.0] * len(big.blocks))


def rescale(net: WDSR, scale: int) -> WDSR:
    """Turn a folded network into one for another scale: head and blocks do at x4 much of what they do at x2.

    Tail and skip make scale x scale pixels out of one; each of the new ones is a copy of the old one that lies there.

    Args:
        net: Folded; it stays as it is.
        scale: Of the new network.

    Returns:
        The network in eval mode; ``net`` itself where it has that scale.
    """
    before = net.architecture.scale
    if before == scale:
        return net
    other = WDSR(replace(net.architecture, scale=scale), normed=False).eval()
    other.load_state_dict(
        {k: v for k, v in net.state_dict().items() if not k.startswith(("tail", "skip"))}, strict=False
    )
    # Channels of the tail are (colour, row, column), as PixelShuffle reads them.
    places = torch.arange(scale) * before // scale
    old = torch.arange(COLOURS * before**2).view(COLOURS, before, before)
    made = old[:, places][:, :, places].flatten()
    copy_part(other.tail, net.tail, made, None)
    copy_part(other.skip, net.skip, made, None)
    return other


def noise() -> Tensor:
    """Make seeded pictures whose amplitude falls as 1/frequency, like photographs'.

    Returns:
        (PICTURES, 3, SIZE, SIZE), float32 in 0..1, always the same.
    """
    random = torch.Generator().manual_seed(SEED)
    across = torch.fft.rfftfreq(SIZE)
    down = torch.fft.fftfreq(SIZE)[:, None]
    falling = 1 / (across.square() + down.square()).sqrt().clamp(min=1 / SIZE)
    grey = torch.randn(PICTURES, 1, SIZE, SIZE, generator=random)
    colour = torch.randn(PICTURES, COLOURS, SIZE, SIZE, generator=random)
    shaped = torch.fft.irfft2(torch.fft.rfft2(grey + 0.3 * colour) * falling, s=(SIZE, SIZE))
    return (0.45 + 0.25 * shaped / shaped.std()).clamp(0, 1)


def _activations(net: WDSR, pictures: Tensor) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Return the energies of what enters each block and, last, the tail; of expanded values after ReLU; of linear."""
    entered, expanded, linears = [], [], []
    deep = net.head(pictures - net.mean)
    for block in _wide(net):
        entered.append(_energy(deep))
        wide = torch.relu(block.expand(deep))
        narrow = block.linear(wide)
        expanded.append(_energy(wide))
        linears.append(_energy(narrow))
        deep = deep + block.project(narrow)
    return [*entered, _energy(deep)], expanded, linears


def _wide(net: WDSR) -> list[WideBlock]:
    return [block for block in net.blocks if isinstance(block, WideBlock)]


def _energy(values: Tensor) -> Tensor:
    """Return the mean of the squares of each channel, over all pictures and pixels; shape (channels,)."""
    return values.square().mean((0, 2, 3))


def _run(net: WDSR, pictures: Tensor, leave_out: int | None) -> Tensor:
    """Return the output, not yet shuffled, without one of the blocks."""
    x = pictures - net.mean
    deep = net.head(x)
    for j, block in enumerate(net.blocks):
        deep = deep if j == leave_out else block(deep)
    return net.tail(deep) + net.skip(x)


def _sent(seen: Tensor, reader: nn.Conv2d) -> Tensor:
    return seen * reader.weight.square().sum((0, 2, 3))


def _largest(score: Tensor, count: int) -> Tensor:
    """Return the indices of the ``count`` largest, in ascending order; the lower index where two are equal."""
    return torch.argsort(score, descending=True, stable=True)[:count].sort().values


def _blocks(big: WDSR, small: Architecture, pictures: Tensor) -> list[int]:
    """Return which blocks stay: those without which the output changes most, one by one."""
    depth = len(big.blocks)
    if depth == len(small.blocks):
        return list(range(depth))
    whole = _run(big, pictures, None)
    value = [float((_run(big, pictures, j) - whole).abs().mean()) for j in range(depth)]
    return _places(big.architecture, small, value)


def _places(big: Architecture, small: Architecture, value: list[float]) -> list[int]:
    """Return for each block of ``small`` one of ``big`` that is as wide or wider, in order, of the largest total value.

    Raises:
        SrTvmError: There is none for a block.
    """
    best: list[tuple[float, list[int]] | None] = [(0.0, [])] * (len(big.blocks) + 1)
    for i, wanted in enumerate(small.blocks):
        # best[j]: blocks 0..i of small, placed among the first j of big
        row: list[tuple[float, list[int]] | None] = [None]
        for j, has in enumerate(big.blocks):
            found, before = row[-1], best[j]
            if before is not None and wanted.expand <= has.expand and wanted.linear <= has.linear:
                here = (before[0] + value[j], [*before[1], j])
                found = here if found is None or here[0] > found[0] else found
            row.append(found)
        if row[-1] is None:
            raise SrTvmError(
                f"architecture field blocks[{i}] is {wanted.expand} expanded, {wanted.linear} linear; the weights have "
                f"{len(big.blocks)} blocks and none is left that is as wide, so it cannot be cut out of them"
            )
        best = row
    assert best[-1] is not None
    return best[-1][1]


def copy_part(to: nn.Conv2d, of: nn.Conv2d, out: Tensor | None, read: Tensor | None) -> None:
    """Copy channels of one convolution, weights and bias, into another.

    Args:
        to: Changed in place; it has as many channels as are copied.
        of: What is copied.
        out: Output channels, as indices or a mask; None for all.
        read: Input channels, as indices or a mask; None for all.
    """
    weight, bias = of.weight, of.bias
    assert bias is not None and to.bias is not None
    weight = weight if read is None else weight[:, read]
    to.weight.copy_(weight if out is None else weight[out])
    to.bias.copy_(bias if out is None else bias[out])


def adopt(model: WDSR, plain: WDSR) -> None:
    """Give a network with weight norm the weights of a folded one: they become v, and their norms g.

    Args:
        model: With weight norm; changed in place.
        plain: Folded, of the same architecture.
    """
    source = {name: m for name, m in plain.named_modules() if isinstance(m, nn.Conv2d)}
    with torch.no_grad():
        for name, conv in model.named_modules():
            if isinstance(conv, nn.Conv2d):
                length, direction = (model.get_parameter(f"{name}.parametrizations.weight.original{i}") for i in (0, 1))
                weight, bias, other = source[name].weight, conv.bias, source[name].bias
                assert bias is not None and other is not None
                norm = weight.square().sum((1, 2, 3), keepdim=True).sqrt()
                length.copy_(norm)
                # A filter of zeros has no direction; any will do, as its length is 0.
                direction.copy_(torch.where(norm > 0, weight, torch.ones_like(weight)))
                bias.copy_(other)
