"""What a search has to beat: the plain network, equal blocks of usual proportions, of the same predicted latency."""

from __future__ import annotations

from collections.abc import Iterable

from sr_tvm.errors import SrTvmError
from sr_tvm.records.architecture import Architecture
from sr_tvm.speed.model import SpeedModel
from sr_tvm.speed.sample import Sample

CHANNELS = range(4, 25)  # up to the supernet's
DEPTHS = range(1, 17)
# Parameters that differ by less than this part count as equally many.
ALIKE = 0.03


def latency_of(model: SpeedModel, architecture: Architecture, height: int, width: int) -> float:
    """Predict the latency of one network.

    Args:
        model: The speed model.
        architecture: The network.
        height: Of the low-resolution input, in pixels.
        width: Of the low-resolution input, in pixels.

    Returns:
        The latency in ``model.unit``.
    """
    return model.predict([Sample(architecture, height, width, 1.0)])[0]


def under(
    model: SpeedModel,
    scale: int,
    budget: float,
    height: int,
    width: int,
    channels: Iterable[int] = CHANNELS,
    depths: Iterable[int] = DEPTHS,
) -> list[tuple[Architecture, float]]:
    """List all uniform networks within a budget, the one with the most parameters first.

    Args:
        model: The speed model.
        scale: Of the networks.
        budget: The largest latency that is allowed, in ``model.unit``.
        height: Of the low-resolution input, in pixels.
        width: Of the low-resolution input, in pixels.
        channels: Widths of the residual path to try.
        depths: Numbers of blocks to try.

    Returns:
        Each network with its predicted latency in ``model.unit``; empty if none fits.
    """
    nets = [Architecture.uniform(scale, depth, n) for n in channels for depth in depths]
    latencies = model.predict([Sample(a, height, width, 1.0) for a in nets])
    found = [(a, ms) for a, ms in zip(nets, latencies, strict=True) if ms <= budget]
    return sorted(found, key=lambda pair: (-pair[0].params, pair[1]))


def plain(
    model: SpeedModel,
    scale: int,
    budget: float,
    height: int,
    width: int,
    channels: int | None = None,
    within: Architecture | None = None,
) -> Architecture:
    """Choose the uniform WDSR that makes the most of a budget.

    Of those within 3 % of the most parameters it is the slowest: of equally many it uses the time that it may take, so
    that a searched network is not compared with one that was given less. With 24 channels it is the usual supernet with
    fewer blocks, but a block is a quarter of the largest budget and more than half of the smallest (of the Galaxy S21,
    x2); of any width, it comes close to the budget.

    Args:
        model: The speed model.
        scale: Of the network.
        budget: The largest latency that is allowed, in ``model.unit``.
        height: Of the low-resolution input, in pixels.
        width: Of the low-resolution input, in pixels.
        channels: The width of the residual path; any from 4 up if None.
        within: A supernet that the network must fit into; one of 16 blocks of 24 channels if None.

    Returns:
        The architecture.

    Raises:
        SrTvmError: Not even one block fits; the message says what the cheapest takes.
    """
    most = CHANNELS[-1] if within is None else within.channels
    widths = range(min(CHANNELS[0], most), most + 1) if channels is None else (channels,)
    depths = DEPTHS if within is None else range(1, len(within.blocks) + 1)
    found = under(model, scale, budget, height, width, widths, depths)
    if not found:
        least = min(latency_of(model, Architecture.uniform(scale, 1, n), height, width) for n in widths)
        raise SrTvmError(f"no uniform network takes {budget:g} {model.unit} or less; one block takes {least:.2f}")
    large = [(a, ms) for a, ms in found if a.params >= (1 - ALIKE) * found[0][0].params]
    return max(large, key=lambda pair: (pair[1], pair[0].params))[0]
