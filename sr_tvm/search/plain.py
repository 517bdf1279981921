"""What a search has to beat: the plain network, equal blocks of usual proportions, of the same predicted latency."""

from __future__ import annotations

from collections.abc import Iterable

from sr_tvm.architecture import Architecture
from sr_tvm.errors import SrTvmError
from sr_tvm.speed.model import SpeedModel
from sr_tvm.speed.sample import Sample

CHANNELS = range(4, 25)  # up to the supernet's
DEPTHS = range(1, 17)


def latency_of(model: SpeedModel, architecture: Architecture, height: int, width: int) -> float:
    """The prediction for one network on a low-resolution input of ``height`` x ``width``, in ``model.unit``."""
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
    """All uniform networks within ``budget`` with their latencies, the one with the most parameters first."""
    nets = [Architecture.uniform(scale, depth, n) for n in channels for depth in depths]
    latencies = model.predict([Sample(a, height, width, 1.0) for a in nets])
    found = [(a, ms) for a, ms in zip(nets, latencies, strict=True) if ms <= budget]
    return sorted(found, key=lambda pair: (-pair[0].params, pair[1]))


def plain(
    model: SpeedModel, scale: int, budget: float, height: int, width: int, channels: int | None = None
) -> Architecture:
    """The uniform WDSR with the most parameters within ``budget``, in ``model.unit``; ``channels`` may be fixed.

    With 24 channels it is the supernet with fewer blocks, but one block more or less is a tenth of the largest budget
    and more than half of the smallest; of any width, it is close to the budget.

    Raises:
        SrTvmError: not even one block fits; the message says what the cheapest takes.
    """
    widths = CHANNELS if channels is None else (channels,)
    found = under(model, scale, budget, height, width, widths)
    if not found:
        least = min(latency_of(model, Architecture.uniform(scale, 1, n), height, width) for n in widths)
        raise SrTvmError(f"no uniform network takes {budget:g} {model.unit} or less; one block takes {least:.2f}")
    return found[0][0]
