"""The training loop: L1, Adam, cosine, averaged weights. Stopped at any step, it goes on as if it never was."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from sr_tvm import files
from sr_tvm.errors import SrTvmError
from sr_tvm.nets.wdsr import WDSR
from sr_tvm.nets.weights import fold, save_weights
from sr_tvm.training.checkpoint import HINT, Checkpoint, peek
from sr_tvm.training.data import Pairs
from sr_tvm.training.settings import Settings

CHECKPOINT = "checkpoint.safetensors"
CHECKPOINT_SECONDS = 60.0
MOMENTS = ("exp_avg", "exp_avg_sq")
HISTORY_SCHEMA, HISTORY_VERSION = "sr-tvm/training-history", 1


@dataclass(frozen=True)
class Progress:
    """After ``step`` of ``steps``: the loss (mean since the last validation) and, on a validation, its PSNR in dB."""

    step: int
    steps: int
    loss: float
    psnr: float | None


class Trainer:
    """One run in memory: the network, Adam's moments and the averaged weights.

    Args:
        validate: scores a folded network, PSNR in dB; called every ``settings.validate_every`` steps and at the end.
            If None, the history has the loss of each such interval and no PSNR.
    """

    def __init__(
        self, settings: Settings, pairs: Pairs, validate: Callable[[WDSR], float] | None, device: torch.device
    ) -> None:
        if pairs.scale != settings.architecture.scale:
            raise SrTvmError(f"the pairs are x{pairs.scale}, the network is x{settings.architecture.scale}")
        self.settings, self.pairs, self.validate, self.device = settings, pairs, validate, device
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            model = WDSR(settings.architecture)
        self.model = model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = WDSR(settings.architecture).to(device)
        self.average.load_state_dict(self.model.state_dict())
        # One fused update instead of a loop over dozens of small tensors.
        self.adam = torch.optim.Adam(self.model.parameters(), lr=settings.lr, fused=True)
        self.step = 0
        self.loss_sum, self.loss_count = 0.0, 0
        self.history: list[dict[str, float]] = []

    @property
    def run(self) -> dict[str, Any]:
        """What a resumed run must agree on."""
        return self.settings.to_json() | {"data": self.pairs.digest}

    def _tensors(self) -> dict[str, Tensor]:
        out: dict[str, Tensor] = {}
        for (name, weight), mean in zip(self.model.named_parameters(), self.average.parameters(), strict=True):
            moments = self.adam.state.get(weight) or {k: torch.zeros_like(weight) for k in MOMENTS}
            out |= {f"model.{name}": weight, f"average.{name}": mean}
            out |= {f"{k}.{name}": moments[k] for k in MOMENTS}
        return out

    def save(self, path: Path) -> None:
        state = {"loss_sum": self.loss_sum, "loss_count": self.loss_count, "history": self.history}
        Checkpoint(self.step, self._tensors(), self.run, state).write(path)

    def restore(self, path: Path) -> None:
        """Take up a checkpoint.

        Raises:
            SrTvmError: it is damaged, or of a run with other settings, data or architecture.
        """
        check_same(peek(path)["run"], self.run, path)
        saved = Checkpoint.read(path, {k: tuple(v.shape) for k, v in self._tensors().items()})
        if saved.step > self.settings.steps:
            raise SrTvmError(f"{path}: a damaged checkpoint (step {saved.step}); {HINT}")
        for name, weight in self.model.named_parameters():
            moments = {k: torch.empty_like(weight).copy_(saved.tensors[f"{k}.{name}"]) for k in MOMENTS}
            # Fused Adam keeps its counter as a float32 tensor on the parameter's device.
            counter = torch.tensor(float(saved.step), dtype=torch.float32, device=self.device)
            self.adam.state[weight] = {"step": counter, **moments}
        with torch.no_grad():
            for (name, weight), mean in zip(self.model.named_parameters(), self.average.parameters(), strict=True):
                weight.copy_(saved.tensors[f"model.{name}"])
                mean.copy_(saved.tensors[f"average.{name}"])
        try:
            self.step = saved.step
            self.loss_sum, self.loss_count = float(saved.state["loss_sum"]), int(saved.state["loss_count"])
            # No PSNR in what was run without pictures to validate on.
            self.history = [
                {k: float(row[k]) for k in ("step", "loss", "psnr") if k != "psnr" or k in row}
                for row in saved.state["history"]
            ]
            for row in self.history:
                row["step"] = int(row["step"])
            if not all(math.isfinite(v) for row in (*self.history, {"sum": self.loss_sum}) for v in row.values()):
                raise ValueError
        except (KeyError, TypeError, ValueError, OverflowError):
            raise SrTvmError(f"{path}: a damaged checkpoint (its counters); {HINT}") from None

    def advance(self) -> Progress:
        """One step, and a validation where one is due.

        Raises:
            SrTvmError: the loss is no longer a number.
        """
        s = self.settings
        batch = self.pairs.batch(s.seed, self.step, s.batch, s.patch)
        low, high = (torch.from_numpy(a).to(self.device, non_blocking=True) for a in (batch.low, batch.high))
        for group in self.adam.param_groups:
            group["lr"] = s.learning_rate(self.step)
        self.adam.zero_grad(set_to_none=True)
        loss = functional.l1_loss(self.model(low), high)
        loss.backward()
        value = loss.item()
        if not math.isfinite(value):
            raise SrTvmError(f"the loss is {value} at step {self.step}; start again with a smaller --lr than {s.lr}")
        self.adam.step()
        self.step += 1
        # Early on a long average would remember the random start: grow it with the steps.
        decay = min(s.ema, self.step / (self.step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()), 1 - decay)
        self.loss_sum, self.loss_count = self.loss_sum + value, self.loss_count + 1
        mean, psnr = self.loss_sum / self.loss_count, None
        if self.step % s.validate_every == 0 or self.step == s.steps:
            self.history.append({"step": self.step, "loss": mean})
            if self.validate is not None:
                psnr = self.history[-1]["psnr"] = self.validate(fold(self.average))
            self.loss_sum, self.loss_count = 0.0, 0
        return Progress(self.step, s.steps, mean, psnr)

    def write_results(self, folder: Path) -> None:
        """weights.safetensors, architecture.json and history.json."""
        save_weights(self.average, folder / "weights.safetensors")
        self.settings.architecture.save(folder / "architecture.json")
        files.write_json(
            folder / "history.json",
            {"schema": HISTORY_SCHEMA, "version": HISTORY_VERSION, "run": self.run, "rows": self.history},
        )


def check_same(found: dict[str, Any], wanted: dict[str, Any], path: Path) -> None:
    """Refuse to resume a run under other settings than it began with."""
    for field in wanted:
        if found.get(field) != wanted[field]:
            if field in ("architecture", "data"):
                what = {"architecture": "another architecture", "data": "other training pictures"}[field]
                raise SrTvmError(f"{path}: began with {what}; resume with the same, or name another output")
            told = str(found.get(field))[:40]
            raise SrTvmError(
                f"{path}: began with {field.replace('_', '-')} {told}, now it is {wanted[field]}; "
                f"resume with {told}, or name another output"
            )


@contextmanager
def _interruptions() -> Iterator[Callable[[], bool]]:
    """Within it, Ctrl-C and SIGTERM set a flag that is looked at between steps, so no half-done step is saved."""
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return

    def note(number: int, frame: object) -> None:
        if asked:  # asked twice: at once
            raise KeyboardInterrupt
        asked.append(number)

    before = {n: signal.signal(n, note) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def look_ahead(settings: Settings, folder: Path) -> None:
    """Find out what would stop a run there before pictures are prepared for it.

    Raises:
        SrTvmError: the folder cannot be made, or holds a checkpoint that is damaged or of a run with other settings.
    """
    place = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        raise SrTvmError(f"cannot write {folder}: {place} is not a folder that can be written; name another output")
    path = folder / CHECKPOINT
    if path.exists():
        check_same(peek(path)["run"], settings.to_json(), path)


def train(trainer: Trainer, folder: Path, report: Callable[[Progress], None]) -> None:
    """Run to the last step, from the checkpoint in ``folder`` if there is one, and write the results there.

    Checkpoints every minute, at each interruption, and at the end.

    Raises:
        KeyboardInterrupt: stopped by Ctrl-C or SIGTERM, after a checkpoint.
        SrTvmError: the checkpoint is damaged or of another run, or the folder cannot be written.
    """
    path = folder / CHECKPOINT
    if path.exists():
        trainer.restore(path)
    else:
        trainer.save(path)  # a place that cannot be written is found out now, not after an hour
    saved = time.monotonic()
    with _interruptions() as asked:
        while trainer.step < trainer.settings.steps:
            if asked():
                trainer.save(path)
                raise KeyboardInterrupt
            report(trainer.advance())
            if time.monotonic() - saved > CHECKPOINT_SECONDS:
                trainer.save(path)
                saved = time.monotonic()
    trainer.save(path)
    trainer.write_results(folder)
