"""The runs behind the pruning benchmark: a supernet for each seed, and what each method makes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from sr_tvm.nets.wdsr import WDSR
from sr_tvm.nets.weights import load_weights, save_weights
from sr_tvm.records.architecture import Architecture
from sr_tvm.search import loop as search_loop
from sr_tvm.search import magnitude
from sr_tvm.search import settings as search_settings
from sr_tvm.search.ddp import ProcessGroup
from sr_tvm.search.penalty import POWER
from sr_tvm.search.plain import plain
from sr_tvm.search.searcher import Searcher
from sr_tvm.speed.differentiable import latency
from sr_tvm.speed.model import SpeedModel
from sr_tvm.training import loop as training_loop
from sr_tvm.training.data import Pairs
from sr_tvm.training.settings import TrainingSettings, WeightsFile

MASKS, ONE_SHOT, ITERATIVE, EQUAL, PLAIN = "masks", "one-shot", "iterative", "equal", "plain"
TITLES = {
    MASKS: "mask layers, the speed model in the loss",
    ONE_SHOT: "(i) once, by the size of batch norm's gamma",
    ITERATIVE: "(ii) step by step, L1 on the gains of weight norm",
    EQUAL: "(iii) mask layers, all indicators penalised alike",
    PLAIN: "not searched: the largest uniform network, sliced from the supernet",
}
METHODS = tuple(TITLES)
WEIGHTS = "weights.safetensors"
# Of the steps of a search with masks, how many leave the depth alone.
WIDTH_SHARE = 1 / 3

Tick = Callable[[str, int], None]
"""Told what is being done, and after how many steps of all that the method takes."""


@dataclass(frozen=True)
class Plan:
    """Everything that the runs of all methods have in common; the budget is in the speed model's unit."""

    supernet: Architecture
    device: str
    speed: SpeedModel
    budget: float
    height: int
    width: int
    supernet_steps: int
    search_steps: int
    finetune_steps: int
    batch: int
    patch: int
    lr: float

    def search(self, seed: int) -> search_settings.SearchSettings:
        """Of the steps between the supernet and fine-tuning."""
        width = round(self.search_steps * WIDTH_SHARE)
        return search_settings.SearchSettings(
            self.supernet, self.budget, self.height, self.width, width_steps=width, race_steps=0,
            depth_steps=self.search_steps - width, finetune_steps=0, batch=self.batch, patch=self.patch, lr=self.lr,
            seed=seed,
        )  # fmt: skip

    def train_macs(self, method: str, found: Architecture) -> float:
        """Multiply-accumulates of a method's training, the supernet's left out: three times a forward pass a step.

        While a network is masked it still computes everything.
        """
        small, large = found.macs(1, 1), self.supernet.macs(1, 1)
        searched = small if method == PLAIN else large
        return 3.0 * self.batch * self.patch**2 * (self.search_steps * searched + self.finetune_steps * small)


def supernet(plan: Plan, seed: int, pairs: Pairs, place: torch.device, folder: Path, tick: Tick) -> Path:
    """Train a seed's supernet, or go on, or take what is there; gives its weights file."""
    if not (folder / WEIGHTS).exists():
        _train(plan, plan.supernet, plan.supernet_steps, seed, pairs, place, folder, None, tick)
    return folder / WEIGHTS


def run(
    plan: Plan, method: str, seed: int, start: Path, pairs: Pairs, place: torch.device, folder: Path, tick: Tick
) -> WDSR:
    """From a seed's supernet to a method's network, fine-tuned. What ``folder`` has of it already is gone on with.

    Raises:
        SrTvmError: the budget cannot be reached, a checkpoint there is of another run, or the folder cannot be written.
    """
    steps, done = plan.finetune_steps, plan.search_steps
    if method == PLAIN:
        about = (plan.speed, plan.supernet.scale, plan.budget, plan.height, plan.width)
        found, begin = plain(*about, within=plan.supernet), start
        steps, done = steps + done, 0
    else:
        begin = folder / "pruned" / WEIGHTS
        if not begin.exists():
            _prune(plan, method, seed, load_weights(start), pairs, place, begin, tick)
        found = load_weights(begin).architecture
    end = folder / "tuned"
    if not (end / WEIGHTS).exists():
        _train(plan, found, steps, seed, pairs, place, end, WeightsFile.of(begin), tick, done)
    return load_weights(end / WEIGHTS)


def _prune(
    plan: Plan, method: str, seed: int, start: WDSR, pairs: Pairs, place: torch.device, to: Path, tick: Tick
) -> None:
    settings = plan.search(seed)
    predict = latency(plan.speed, plan.height, plan.width, plan.supernet.scale)
    if method in (MASKS, EQUAL):
        seen = predict if method == MASKS else magnitude.equal(predict)
        searcher = Searcher(
            settings, pairs, seen, start, group=ProcessGroup(device=place), power=POWER if method == MASKS else 1
        )
        search_loop.search(searcher, to.parent, lambda now: tick("searching", now.step))
        return
    prune = {ONE_SHOT: magnitude.one_shot, ITERATIVE: magnitude.iterative}[method]
    save_weights(prune(settings, pairs, predict, start, place, lambda step, *_: tick("pruning", step)), to)


def _train(
    plan: Plan,
    architecture: Architecture,
    steps: int,
    seed: int,
    pairs: Pairs,
    place: torch.device,
    folder: Path,
    init: WeightsFile | None,
    tick: Tick,
    done: int = 0,
) -> None:
    settings = TrainingSettings(architecture, steps, plan.batch, plan.patch, plan.lr, seed, init=init)
    trainer = training_loop.Trainer(settings, pairs, None, place)
    what = "training the supernet" if init is None else "fine-tuning"
    training_loop.train(trainer, folder, lambda now: tick(what, done + now.step))
