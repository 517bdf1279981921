"""Pruning baselines of the search, which go by the size of a channel's scaling factor.

After appendix A of "Compiler-Aware Neural Architecture Search for On-Mobile Real-time Super-Resolution" (Wu et al.
2022): (i) once by batch norm's gamma, (ii) again and again while factors are regularised, (iii) masks that are all
penalised alike. Each ends within the budget of the same speed model that the search uses.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from sr_tvm.errors import SrTvmError
from sr_tvm.nets.wdsr import WDSR
from sr_tvm.search.noise import MEMORY
from sr_tvm.search.penalty import Schedule, balance, latency_of
from sr_tvm.search.scaled import BATCH_NORM, GAIN, Scaled
from sr_tvm.search.searcher import DESCENT
from sr_tvm.search.settings import SearchSettings
from sr_tvm.speed.differentiable import Latency
from sr_tvm.training.data import Pairs
from sr_tvm.training.optimizers import Optimizers

# Batches that batch norm takes its first means and spreads from.
LOOK = 4
# Of the regularised training: how often it prunes, in as large a part of the steps as a target comes down.
ROUNDS = 10
# How hard L1 pulls at a factor, as a part of how hard the task does at the median one: as mask layers are penalised.
STRENGTH = 0.3

Report = Callable[[int, float, float], None]
"""Told (steps done, the last loss, latency of what is kept)."""


def silent(step: int, loss: float, latency: float) -> None:
    """Ignore a report, as the default of what wants one.

    Args:
        step: Steps done.
        loss: The last L1 loss.
        latency: Of what is kept, in the speed model's unit.
    """


def equal(predict: Latency) -> Latency:
    """Make baseline (iii) of a speed model: the same latency, but one gradient to all channels and blocks alike.

    For `Searcher` in place of the speed model, with a ``power`` of 1: the penalty is then one on the number of
    indicators that are on, and pulls at all of them alike, whatever they cost.

    Args:
        predict: The speed model, as in speed/differentiable.py.

    Returns:
        A function that takes what ``predict`` takes and gives the same scalar.
    """

    def blind(channels: Tensor, expand: Tensor, linear: Tensor, keep: Tensor) -> Tensor:
        value = predict(channels, expand, linear, keep).detach()
        count = channels + expand.sum() + linear.sum() + keep.sum()
        # Together as steep as a latency in proportion to the count.
        share = count * (value / count.detach())
        return value + (share - share.detach())

    return blind


def prune(net: Scaled, predict: Latency, budget: float) -> float:
    """Drop the channels of the smallest factors, over all layers, until ``net`` is within ``budget``.

    The last to go may have been a large one: then the strongest of the just dropped that still fit come back.

    Args:
        net: The network with scaling factors, whose masks are changed.
        predict: The speed model, as in speed/differentiable.py.
        budget: The largest latency that is allowed, in the speed model's unit.

    Returns:
        The latency of what is kept, in the same unit.

    Raises:
        SrTvmError: The fewest channels that are kept of each layer take longer; ``net`` is then pruned to these.
    """
    ranked = [(v, g, i) for g, values in net.importance().items() for i, v in enumerate(values.tolist())]
    dropped: list[tuple[str, int]] = []
    latency = float(latency_of(predict, net.widths()))
    for _, group, i in sorted(ranked):
        if latency <= budget:
            break
        mask = net.masks[group]
        if mask[i] and int(mask.sum()) > net.least[group]:
            mask[i] = False
            dropped.append((group, i))
            latency = float(latency_of(predict, net.widths()))
    if latency > budget:
        raise SrTvmError(f"a latency of {budget:g} cannot be reached; what pruning leaves at least takes {latency:.4g}")
    for group, i in reversed(dropped):
        net.masks[group][i] = True
        larger = float(latency_of(predict, net.widths()))
        net.masks[group][i] = larger <= budget
        latency = larger if larger <= budget else latency
    return latency


def one_shot(
    settings: SearchSettings, pairs: Pairs, predict: Latency, start: WDSR, device: torch.device, report: Report = silent
) -> WDSR:
    """Run baseline (i): train ``start`` with batch norm for the steps of a search, then prune it once.

    Args:
        settings: Of the search to compare with: its steps, batches, rate, clipping, seed, budget and fewest channels.
        pairs: Training pictures.
        predict: The speed model, as in speed/differentiable.py.
        start: The trained supernet.
        device: Where to train.
        report: Called after every step with the steps done, the loss and the latency of what is kept.

    Returns:
        A plain network in eval mode, to fine-tune.

    Raises:
        SrTvmError: The budget cannot be reached, or the loss is no longer a number.
    """
    looked = [_batch(settings, pairs, -1 - i, device)[0] for i in range(LOOK)]
    net = Scaled(start.to(device), BATCH_NORM, settings.least, torch.cat(looked)).to(device)
    _train(net, settings, pairs, predict, device, report, 0.0, Schedule(math.inf, math.inf, 1))
    prune(net, predict, settings.budget)
    return net.dense()


def iterative(
    settings: SearchSettings,
    pairs: Pairs,
    predict: Latency,
    start: WDSR,
    device: torch.device,
    report: Report = silent,
    strength: float = STRENGTH,
    kind: str = GAIN,
) -> WDSR:
    """Run baseline (ii): train ``start`` with the L1 norm of its factors in the loss, and prune again and again.

    A fixed weight of that norm would have to be found anew for each kind of factor and stage of training, as for masks
    (penalty.py); so it is weighed by the task's gradient. The target falls straight to the budget in the first three
    quarters of the steps, and the network is pruned to it ten times on the way. Batch norm hurts super-resolution, so
    the factors are the gains of weight norm unless ``kind`` says otherwise.

    Args:
        settings: Of the search to compare with: its steps, batches, rate, clipping, seed, budget and fewest channels.
        pairs: Training pictures.
        predict: The speed model, as in speed/differentiable.py.
        start: The trained supernet.
        device: Where to train.
        report: Called after every step with the steps done, the loss and the latency of what is kept.
        strength: How hard the L1 norm pulls, in units of the task's gradient to the median factor.
        kind: Of the factors, ``gain`` or ``batch-norm``; see `Scaled`.

    Returns:
        A plain network in eval mode, to fine-tune.

    Raises:
        SrTvmError: The budget cannot be reached, or the loss is no longer a number.
    """
    looked = [_batch(settings, pairs, -1 - i, device)[0] for i in range(LOOK if kind == BATCH_NORM else 0)]
    net = Scaled(start.to(device), kind, settings.least, torch.cat(looked) if looked else None).to(device)
    most = float(latency_of(predict, net.widths()))
    falling = Schedule(most, settings.budget, max(1, int(DESCENT * _steps(settings))))
    _train(net, settings, pairs, predict, device, report, strength, falling)
    prune(net, predict, settings.budget)
    return net.dense()


def _steps(settings: SearchSettings) -> int:
    return settings.width_steps + settings.depth_steps


def _batch(settings: SearchSettings, pairs: Pairs, step: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return low and high resolution of step 0, 1, ..., float32 (N, 3, H, W); below 0, batches of another seed."""
    s = settings
    batch = pairs.batch(s.seed if step >= 0 else s.seed + 2**31, abs(step), s.batch, s.patch)
    return torch.from_numpy(batch.low).to(device), torch.from_numpy(batch.high).to(device)


def _train(
    net: Scaled,
    settings: SearchSettings,
    pairs: Pairs,
    predict: Latency,
    device: torch.device,
    report: Report,
    strength: float,
    target: Schedule,
) -> None:
    """Take the steps of a search, with its batches, optimizer, rate and clipping; prune where a round ends.

    Raises:
        SrTvmError: The loss is no longer a number, or pruning cannot reach a target.
    """
    net.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    optimizers = Optimizers(dict(net.named_parameters()), settings.search_lr, device, "adam")
    factors, every = list(net.factors().values()), max(1, target.steps // ROUNDS)
    squares = [torch.zeros_like(f) for f in factors]
    for step in range(_steps(settings)):
        low, high = _batch(settings, pairs, step, device)
        net.zero_grad(set_to_none=True)
        loss = functional.l1_loss(net(low), high)
        loss.backward()
        value = loss.item()
        if not math.isfinite(value):
            raise SrTvmError(f"the loss is {value} at step {step}; start again with a smaller rate")
        if strength:
            _shrink(factors, squares, net.live(), step, strength)
        if settings.clip:
            nn.utils.clip_grad_norm_(net.parameters(), settings.clip)
        optimizers.step()
        if math.isfinite(target.goal) and (step + 1) % every == 0:
            prune(net, predict, target.target(step))
        report(step + 1, value, float(latency_of(predict, net.widths())))


@torch.no_grad()
def _shrink(factors: list[nn.Parameter], squares: list[Tensor], live: list[Tensor], step: int, strength: float) -> None:
    """Add the gradient of the L1 norm to the task's; ``squares`` is the running mean of squares of the task's.

    ``live`` is 1 for factors of channels that are kept: those of others have no gradient, and no say in the median.
    """
    for factor, square in zip(factors, squares, strict=True):
        assert factor.grad is not None
        square.lerp_(factor.grad.square(), 1 - MEMORY)
    seen = 1 - MEMORY ** (step + 1)
    weight = strength * balance([(s / seen).sqrt() for s in squares], live)
    for factor in factors:
        assert factor.grad is not None
        factor.grad.add_(factor.sign(), alpha=weight)
