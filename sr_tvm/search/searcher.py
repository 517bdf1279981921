"""One search in memory: the phases, the network of each, its optimizers, and the step that all of them take."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from sr_tvm.errors import SrTvmError
from sr_tvm.nets.wdsr import WDSR
from sr_tvm.nets.weights import fold
from sr_tvm.records.architecture import Architecture
from sr_tvm.search.ddp import ProcessGroup
from sr_tvm.search.extract import extract
from sr_tvm.search.halving import SuccessiveHalving, of_depth
from sr_tvm.search.noise import Noise
from sr_tvm.search.penalty import POWER, Schedule, latency_of, latency_of_architecture, pulls
from sr_tvm.search.progress import SearchProgress, history_row
from sr_tvm.search.reach import reachable
from sr_tvm.search.selection import TOLERANCE, Bounds
from sr_tvm.search.settings import DEPTH, FINETUNE, HALVING, SearchPhase, SearchSettings
from sr_tvm.search.settle import follow, settle
from sr_tvm.search.supernet import SuperNet
from sr_tvm.speed.differentiable import Latency
from sr_tvm.training import batches
from sr_tvm.training.data import Pairs
from sr_tvm.training.optimizers import Optimizers
from sr_tvm.training.settings import TrainingSettings
from sr_tvm.training.slicing import adopt
from sr_tvm.training.step import mixed

# Steps of the search in which the target comes down, as a part; in the rest the choice can calm down under the budget.
DESCENT = 0.75
# In which part of the rest of that descent blocks go.
SOONER = 0.5
# Where in the allowed 3 % the search aims.
AIM = 1 - TOLERANCE / 3


class Searcher:
    """The network of the current phase (a `SuperNet`, in the last a dense `WDSR`), its optimizers, counters, history.

    Args:
        settings: What is searched and how long; the budget is in the speed model's unit.
        pairs: Training pictures, of the supernet's scale.
        predict: The speed model; see speed/differentiable.py.
        start: The trained supernet; a fresh one is made from the seed if None.
        validate: Scores a folded network, PSNR in dB; called every ``settings.validate_every`` steps and at the end of
            each phase. If None, the history has no PSNR.
        group: Processes that share every batch; this one alone, on the CPU, if None.
        power: What an indicator is worth is its noise to this power; see penalty.py.

    Raises:
        SrTvmError: The budget cannot be reached, or pairs or start do not fit the settings.
    """

    def __init__(
        self,
        settings: SearchSettings,
        pairs: Pairs,
        predict: Latency,
        start: WDSR | None = None,
        validate: Callable[[WDSR], float] | None = None,
        group: ProcessGroup | None = None,
        power: int = POWER,
    ) -> None:
        if pairs.scale != settings.supernet.scale:
            raise SrTvmError(f"the pairs are x{pairs.scale}, the supernet is x{settings.supernet.scale}")
        if start is not None and start.architecture != settings.supernet:
            raise SrTvmError("the supernet's weights are of another architecture than the settings say")
        self.least, self.most = reachable(predict, settings)
        self.settings, self.pairs, self.predict, self.validate = settings, pairs, predict, validate
        self.power = power
        self.group = group or ProcessGroup()
        self.device = self.group.device
        self.share = self.group.share(settings.batch)
        drawn = TrainingSettings(settings.supernet, batch=settings.batch, patch=settings.patch, seed=settings.seed)
        self.batch = batches.source(pairs, drawn, self.device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            net = WDSR(settings.supernet)
        if start is not None:
            adopt(net, start)
        self.schedule = self._schedule()
        self.step = 0
        self.phase = settings.phase(0)
        self.depth: int | None = None  # how many blocks successive halving has found best
        self.halving: SuccessiveHalving | None = None
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
        self.noise: Noise | None = None
        if self.phase.searches:
            assert isinstance(self.network, SuperNet)
            self.optimizers.add(self._indicators(), s.mask_lr)
            self.noise = Noise(self.network, self.power)

    def _weights(self) -> dict[str, nn.Parameter]:
        inner = "net." if isinstance(self.network, SuperNet) else ""
        return {n: p for n, p in self.network.named_parameters() if n.startswith(inner)}

    def _indicators(self) -> dict[str, nn.Parameter]:
        """Return those that this phase searches, by name; only the last phase of a search changes the depth."""
        assert isinstance(self.network, SuperNet)
        outer = ("net.",) if self.phase.name == DEPTH else ("net.", "blocks.")
        return {n: p for n, p in self.network.named_parameters() if not n.startswith(outer)}

    @property
    def dense(self) -> WDSR:
        """What would be written if the search ended now: folded, without what is masked."""
        if isinstance(self.network, SuperNet):
            return extract(self.network)
        return fold(self.average or self.network)

    @property
    def architecture(self) -> Architecture:
        """The network that is kept as the search stands."""
        return self.network.architecture() if isinstance(self.network, SuperNet) else self.network.architecture

    @property
    def latency(self) -> float:
        """The predicted latency of what is kept, in the speed model's unit."""
        return latency_of_architecture(self.predict, self.architecture)

    def advance(self) -> SearchProgress:
        """Take one step, while halving one of every network; at a phase's end also what comes between it and the next.

        Returns:
            How far the search has come.

        Raises:
            SrTvmError: The loss is no longer a number.
        """
        s, phase = self.settings, self.phase
        if phase.name == HALVING:
            return self._halve()
        low, high = (x[self.share] for x in self.batch(self.step))
        self.optimizers.rate(s.learning_rate(self.step))
        self.network.zero_grad(set_to_none=True)
        loss = functional.l1_loss(self.network(low), high)
        loss.backward()
        # All, also those that this phase leaves alone: they tell what an indicator is worth.
        grads = [p.grad for p in self.network.parameters() if p.grad is not None]
        # NaN survives the mean, so all processes stop together.
        (value,) = self.group.mean(grads, [loss.item()])
        if not math.isfinite(value):
            raise SrTvmError(f"the loss is {value} at step {self.step}; start again with a smaller --lr than {s.lr}")
        target = latency = None
        if phase.searches:
            target = self.schedule.target(s.searched(self.step))
            latency = self._penalize(target)
        if s.clip:
            nn.utils.clip_grad_norm_(self.weights, s.clip)
        self.optimizers.step()
        if isinstance(self.network, SuperNet) and self.noise is not None and target is not None:
            self.network.confine()
            follow(self.network, self.noise.worth(), self.predict, Bounds.under(target, *self._depths()))
        self.step += 1
        self._average()
        self.loss_sum, self.loss_count = self.loss_sum + value, self.loss_count + 1
        return self._after(phase, latency, target)

    def _penalize(self, target: float) -> float:
        """Add the latency's pull to the gradient of the task.

        Returns:
            The latency before the step, in the speed model's unit.
        """
        assert isinstance(self.network, SuperNet) and self.noise is not None
        self.noise.look()
        latency = latency_of(self.predict, self.network.widths())
        if latency > target:
            every, moved = self.noise.indicators, self.optimizers.weights
            found = torch.autograd.grad(latency, list(every.values()), allow_unused=True)
            prices = [p if name in moved else None for name, p in zip(every, found, strict=True)]
            told = pulls(list(self.noise.sizes().values()), prices, self.power)
            for parameter, pull in zip(every.values(), told, strict=True):
                if pull is not None and parameter.grad is not None:
                    parameter.grad.add_(pull, alpha=self.settings.gamma)
        return float(latency.detach())

    def _depths(self) -> tuple[int, int]:
        """Return the fewest and the most blocks after this step."""
        s, phase, every = self.settings, self.phase, len(self.settings.supernet.blocks)
        if phase.name != DEPTH:
            return every, every
        if self.depth is None:
            return s.smallest.blocks, every
        # One after another, and sooner than the target: those that stay should not have to make room first.
        steps = max(1, SOONER * (self.schedule.steps - s.width_steps))
        done = min(1.0, (self.step + 1 - phase.begin) / steps)
        return self.depth, every - int((every - self.depth) * done + 1e-9)

    def _halve(self) -> SearchProgress:
        """Take a step of the networks that are left. A checkpoint is of the start of the halving until that is over.

        Returns:
            How far the search has come.

        Raises:
            SrTvmError: No network that is left has a finite loss.
        """
        assert isinstance(self.network, SuperNet) and self.noise is not None
        s, phase = self.settings, self.phase
        if self.halving is None:
            about = self.network, self.noise.worth(), self.predict, s.bounds
            entered = [of_depth(*about, n) for n in range(s.smallest.blocks, len(s.supernet.blocks) + 1)]
            networks = [n for n in entered if n is not None]
            self.halving = (
                SuccessiveHalving(networks, s.race_steps, s.precision, s.clip, self.group) if networks else None
            )
        halving, due = self.halving, False
        if halving is not None and not halving.over:
            low, high = (x[self.share] for x in self.batch(phase.begin + halving.ticks))
            due = halving.advance(low, high)
        if halving is None:  # nothing fits as it stands: the gradient decides
            return self._after_halving(self.architecture, math.inf)
        leader = halving.leader
        step = min(phase.begin + halving.done, phase.begin + phase.steps - 1)
        found = leader.network.architecture
        if halving.told and not math.isfinite(leader.loss):
            raise SrTvmError(
                f"no network of the halving has a finite loss at step {step}; start again with another --seed"
            )
        if halving.over:
            self.depth = len(found.blocks)
            return self._after_halving(found, leader.loss, halving.told)
        latency = latency_of_architecture(self.predict, found)
        return SearchProgress(step, s.steps, phase.name, leader.loss, latency, None, found, due, None)

    def _after_halving(self, found: Architecture, loss: float, told: dict[int, float] | None = None) -> SearchProgress:
        """Go on to the phase behind it, with a row of the history that has the loss of each depth when it dropped out.

        Returns:
            How far the search has come.
        """
        s, phase = self.settings, self.phase
        self.step, self.halving = phase.begin + phase.steps, None
        latency = latency_of_architecture(self.predict, found)
        if not math.isfinite(loss):  # nothing was halved, as only one depth fits
            loss = self.history[-1]["loss"]
        row = history_row(self.step, phase.name, loss, latency, None, found)
        depths = {str(k): v for k, v in sorted((told or {}).items()) if math.isfinite(v)}
        self.history.append(row | {"depths": depths})
        self._enter(s.phase(self.step))
        return SearchProgress(self.step, s.steps, phase.name, loss, latency, None, found, True, None)

    def _average(self) -> None:
        if self.average is None:
            return
        # Early on a long average would remember the start: grow it with the steps.
        done = self.step - self.phase.begin
        decay = min(self.settings.ema, done / (done + 10))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.network.parameters()), 1 - decay)

    def _after(self, phase: SearchPhase, latency: float | None, target: float | None) -> SearchProgress:
        s, ended = self.settings, self.step == phase.begin + phase.steps
        mean, psnr = self.loss_sum / self.loss_count, None
        if ended and s.phase(self.step) != phase:
            self._enter(s.phase(self.step))
            latency = None  # a search ends with another choice than it took the step with
        due = ended or self.step % s.validate_every == 0
        architecture = self.architecture
        latency = latency_of_architecture(self.predict, architecture) if due or latency is None else latency
        if due:
            row = history_row(self.step, phase.name, mean, latency, target, architecture)
            if self.validate is not None and self.group.leads:
                psnr = row["psnr"] = self.validate(self.dense)
            self.history.append(row)
            self.loss_sum, self.loss_count = 0.0, 0
        return SearchProgress(self.step, s.steps, phase.name, mean, latency, target, architecture, due, psnr)

    def _enter(self, phase: SearchPhase) -> None:
        """Go on to ``phase``; before fine-tuning the choice is settled and what is kept becomes the network."""
        network, s = self.network, self.settings
        assert isinstance(network, SuperNet)
        if phase.name == FINETUNE:
            assert self.noise is not None
            bounds = s.bounds if self.depth is None else Bounds.under(s.budget, self.depth, self.depth)
            settle(network, self.noise.worth(), self.predict, bounds)
            self.become(extract(network, normed=True))
        self.phase = phase
        if phase.name != HALVING:  # which goes by what the phase before it has learned
            self._use(self.network)

    def become(self, dense: WDSR) -> None:
        """Take up the network that was found, and begin its running average.

        Args:
            dense: Normed, on any device; its optimizers come with the next phase.
        """
        self.network = dense
        self.average = WDSR(dense.architecture).to(self.device)
        self.average.load_state_dict(dense.state_dict())
