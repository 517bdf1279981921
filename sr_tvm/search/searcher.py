"""One search in memory: the phases, the network of each, its optimizers, and the step that all of them take."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sr_tvm.architecture import Architecture
from sr_tvm.errors import SrTvmError
from sr_tvm.nets.wdsr import WDSR
from sr_tvm.nets.weights import fold
from sr_tvm.search.ddp import Group
from sr_tvm.search.extract import extract
from sr_tvm.search.penalty import Schedule, latency_of, latency_of_architecture, pulls
from sr_tvm.search.selection import TOLERANCE, Bounds
from sr_tvm.search.settings import FINETUNE, WIDTH, Phase, Settings
from sr_tvm.search.settle import follow, settle
from sr_tvm.search.supernet import SuperNet
from sr_tvm.speed.differentiable import Latency
from sr_tvm.training import batches
from sr_tvm.training.data import Pairs
from sr_tvm.training.optimizers import Optimizers
from sr_tvm.training.settings import Settings as Drawn
from sr_tvm.training.slicing import adopt
from sr_tvm.training.step import mixed

# Steps of the search in which the target comes down, as a part; in the rest the choice can calm down under the budget.
DESCENT = 0.75
# Of the running mean of squared gradients.
MEMORY = 0.99
# Where in the allowed 3 % the search aims.
AIM = 1 - TOLERANCE / 3


@dataclass(frozen=True)
class Progress:
    """After ``step`` of ``steps``: the phase, the loss (L1, mean since the last row of the history), the latency of
    what is kept and its target in the speed model's unit, the architecture, whether this is a row of the history, and
    on a validation the PSNR in dB."""

    step: int
    steps: int
    phase: str
    loss: float
    latency: float
    target: float | None
    architecture: Architecture
    due: bool
    psnr: float | None


def reachable(predict: Latency, settings: Settings) -> tuple[float, float]:
    """The latencies of the smallest network of the supernet and of the whole.

    Raises:
        SrTvmError: the budget is not between them, or nothing is found within 3 % under it.
    """
    small, large = settings.smallest.within(settings.supernet), settings.supernet
    least, most = (latency_of_architecture(predict, a) for a in (small, large))
    what = f"of this supernet ({len(large.blocks)} blocks of {large.channels} channels)"
    other = "; choose another latency, or another supernet"
    if not least <= settings.budget or most < settings.budget * (1 - TOLERANCE):
        raise SrTvmError(
            f"a latency of {settings.budget:g} cannot be reached: the smallest network {what} takes {least:.4g}, "
            f"the largest {most:.4g}{other}"
        )
    # A rehearsal of the end, with all indicators alike: where a block more is too much and one less too little,
    # widths may not fill the gap.
    net = SuperNet(WDSR(large), settings.smallest)
    noise = {n: torch.ones_like(p) for n, p in net.named_parameters() if not n.startswith("net.")}
    found = settle(net, noise, predict, settings.bounds)
    if not settings.bounds.low <= found <= settings.budget:
        raise SrTvmError(
            f"a latency of {settings.budget:g} cannot be reached: the nearest network {what} takes {found:.4g}; with "
            f"one block more it would be above, whatever its widths{other}"
        )
    return least, most


class Searcher:
    """The network of the current phase (a `SuperNet`, in the last a dense `WDSR`), its optimizers, counters, history.

    Args:
        start: the trained supernet; a fresh one is made from the seed if None.
        predict: the speed model; see speed/differentiable.py.
        validate: scores a folded network, PSNR in dB; called every ``settings.validate_every`` steps and at the end of
            each phase. If None, the history has no PSNR.
    Raises:
        SrTvmError: the budget cannot be reached, or pairs or start do not fit the settings.
    """

    def __init__(
        self,
        settings: Settings,
        pairs: Pairs,
        predict: Latency,
        start: WDSR | None = None,
        validate: Callable[[WDSR], float] | None = None,
        group: Group | None = None,
    ) -> None:
        if pairs.scale != settings.supernet.scale:
            raise SrTvmError(f"the pairs are x{pairs.scale}, the supernet is x{settings.supernet.scale}")
        if start is not None and start.architecture != settings.supernet:
            raise SrTvmError("the supernet's weights are of another architecture than the settings say")
        self.least, self.most = reachable(predict, settings)
        self.settings, self.pairs, self.predict, self.validate = settings, pairs, predict, validate
        self.group = group or Group()
        self.device = self.group.device
        self.share = self.group.share(settings.batch)
        drawn = Drawn(settings.supernet, batch=settings.batch, patch=settings.patch, seed=settings.seed)
        self.batch = batches.source(pairs, drawn, self.device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            net = WDSR(settings.supernet)
        if start is not None:
            adopt(net, start)
        self.schedule = self._schedule()
        self.step = 0
        self.phase = settings.phase(0)
        self.loss_sum, self.loss_count = 0.0, 0
        self.history: list[dict[str, Any]] = []
        self.average: WDSR | None = None
        self._use(SuperNet(net, settings.smallest, settings.precision))

    def _schedule(self) -> Schedule:
        s = self.settings
        wide = replace(s.smallest, blocks=len(s.supernet.blocks)).within(s.supernet)
        narrow = latency_of_architecture(self.predict, wide)
        # While depth is fixed, widths give at most half of what they could.
        floor, steps = (narrow + self.most) / 2, s.width_steps + s.depth_steps
        held = s.width_steps if s.depth_steps else 0
        return Schedule(self.most, s.budget * AIM, max(1, int(DESCENT * steps)), floor, held)

    def _use(self, network: SuperNet | WDSR) -> None:
        """Take up ``network`` with new optimizers."""
        self.network = network.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        s = self.settings
        if isinstance(network, WDSR) and s.precision != "float32":
            mixed(network, self.device, getattr(torch, s.precision))
        # At the small, constant rate of a search Adam does; its memory of squares is what the indicators go by, too.
        kind = "adam" if self.phase.searches else "muon"
        # Looked up once: names of a module's parameters take longer to collect than a small layer to compute.
        self.weights = list((weights := self._weights()).values())
        self.optimizers = Optimizers(weights, s.lr, self.device, kind)
        self.squares: dict[str, Tensor] = {}
        self.seen = 0  # gradients of which squares are the mean
        if self.phase.searches:
            assert isinstance(self.network, SuperNet)
            self.optimizers.add(self._indicators(), s.mask_lr)
            named = {n: p for n, p in self.network.named_parameters() if not n.startswith("net.")}
            self.squares = {n: torch.zeros_like(p) for n, p in named.items()}
            self.indicators = self.network.indicators()

    def _weights(self) -> dict[str, nn.Parameter]:
        inner = "net." if isinstance(self.network, SuperNet) else ""
        return {n: p for n, p in self.network.named_parameters() if n.startswith(inner)}

    def _indicators(self) -> dict[str, nn.Parameter]:
        """Those that this phase searches; depth is fixed in the first."""
        assert isinstance(self.network, SuperNet)
        outer = ("net.", "blocks.") if self.phase.name == WIDTH else ("net.",)
        return {n: p for n, p in self.network.named_parameters() if not n.startswith(outer)}

    @property
    def dense(self) -> WDSR:
        """What would be written if the search ended now: folded, without what is masked."""
        if isinstance(self.network, SuperNet):
            return extract(self.network)
        return fold(self.average or self.network)

    @property
    def architecture(self) -> Architecture:
        return self.network.architecture() if isinstance(self.network, SuperNet) else self.network.architecture

    @property
    def latency(self) -> float:
        """Of what is kept, predicted."""
        return latency_of_architecture(self.predict, self.architecture)

    def advance(self) -> Progress:
        """One step; at the end of a phase also what comes between it and the next.

        Raises:
            SrTvmError: the loss is no longer a number.
        """
        s, phase = self.settings, self.phase
        low, high = (x[self.share] for x in self.batch(self.step))
        self.optimizers.rate(s.learning_rate(self.step))
        self.network.zero_grad(set_to_none=True)
        loss = functional.l1_loss(self.network(low), high)
        loss.backward()
        grads = [p.grad for p in self.optimizers.weights.values() if p.grad is not None]
        # NaN survives the mean, so all processes stop together.
        (value,) = self.group.mean(grads, [loss.item()])
        if not math.isfinite(value):
            raise SrTvmError(f"the loss is {value} at step {self.step}; start again with a smaller --lr than {s.lr}")
        target = latency = None
        if phase.searches:
            target = self.schedule.target(self.step - s.supernet_steps)
            latency = self._penalize(target)
        if s.clip:
            nn.utils.clip_grad_norm_(self.weights, s.clip)
        self.optimizers.step()
        if isinstance(self.network, SuperNet) and target is not None:
            self.network.confine()
            blocks = len(s.supernet.blocks) if phase.name == WIDTH else s.smallest.blocks
            follow(self.network, self.noise(), self.predict, Bounds.under(target, blocks))
        self.step += 1
        self._average()
        self.loss_sum, self.loss_count = self.loss_sum + value, self.loss_count + 1
        return self._after(phase, latency, target)

    def _penalize(self, target: float) -> float:
        """Add the latency's pull to the gradient of the task; gives the latency before the step."""
        assert isinstance(self.network, SuperNet)
        for name, parameter in zip(self.squares, self.indicators, strict=True):
            if parameter.grad is not None:
                self.squares[name].lerp_(parameter.grad.square(), 1 - MEMORY)
        self.seen += 1
        latency = latency_of(self.predict, self.network.widths())
        if latency > target:
            prices = torch.autograd.grad(latency, self.indicators, allow_unused=True)
            told = zip(self.squares, self.indicators, pulls(list(self.noise().values()), prices), strict=True)
            for name, parameter, pull in told:
                if pull is not None and parameter.grad is not None and name in self.optimizers.weights:
                    parameter.grad.add_(pull, alpha=self.settings.gamma)
        return float(latency.detach())

    def _average(self) -> None:
        if self.average is None:
            return
        # Early on a long average would remember the start: grow it with the steps.
        done = self.step - self.phase.begin
        decay = min(self.settings.ema, done / (done + 10))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.network.parameters()), 1 - decay)

    def _after(self, phase: Phase, latency: float | None, target: float | None) -> Progress:
        s, ended = self.settings, self.step == phase.begin + phase.steps
        mean, psnr = self.loss_sum / self.loss_count, None
        if ended and s.phase(self.step) != phase:
            self._enter(s.phase(self.step))
            latency = None  # a search ends with another choice than it took the step with
        due = ended or self.step % s.validate_every == 0
        architecture = self.architecture
        latency = latency_of_architecture(self.predict, architecture) if due or latency is None else latency
        if due:
            row = {"step": self.step, "phase": phase.name, "loss": mean, "latency": latency, "target": target}
            row |= {"channels": architecture.channels, "blocks": [[b.expand, b.linear] for b in architecture.blocks]}
            if self.validate is not None and self.group.leads:
                psnr = row["psnr"] = self.validate(self.dense)
            self.history.append(row)
            self.loss_sum, self.loss_count = 0.0, 0
        return Progress(self.step, s.steps, phase.name, mean, latency, target, architecture, due, psnr)

    def noise(self) -> dict[str, Tensor]:
        """The root mean square of the task's gradient to each indicator in this phase, by the indicator's name.

        A few gradients tell little of one indicator: as long as they are few, it counts as much as its layer's mean.
        """
        few = MEMORY ** max(1, self.seen)
        squares = {name: square / (1 - few) for name, square in self.squares.items()}
        return {name: square.lerp(square.mean(), few).sqrt() for name, square in squares.items()}

    def _enter(self, phase: Phase) -> None:
        """Go on to ``phase``; before fine-tuning the choice is settled and what is kept becomes the network."""
        network, s = self.network, self.settings
        assert isinstance(network, SuperNet)
        if phase.name == FINETUNE:
            settle(network, self.noise(), self.predict, s.bounds)
            self.become(extract(network, normed=True))
        self.phase = phase
        self._use(self.network)

    def become(self, dense: WDSR) -> None:
        """Take up the network that was found, and its running average."""
        self.network = dense
        self.average = WDSR(dense.architecture).to(self.device)
        self.average.load_state_dict(dense.state_dict())
