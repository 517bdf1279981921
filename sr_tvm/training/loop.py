"""The training loop: steps, cosine, averaged weights. Stopped at any step, it goes on as if it never was."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from msgspec import UNSET, UnsetType
from torch import Tensor, nn

from sr_tvm.errors import SrTvmError
from sr_tvm.nets.wdsr import WDSR
from sr_tvm.nets.weights import load_weights
from sr_tvm.records.architecture import Architecture
from sr_tvm.system import files, interrupts, machine
from sr_tvm.system.validation import Count, Finite, Record, read
from sr_tvm.training import batches, slicing
from sr_tvm.training.checkpoint import HINT, Checkpoint, peek
from sr_tvm.training.data import Pairs
from sr_tvm.training.settings import TrainingSettings
from sr_tvm.training.step import TrainingStep, cuda_graph, mixed
from sr_tvm.training.trained import trained

CHECKPOINT = "checkpoint.safetensors"
CHECKPOINT_SECONDS = 60.0
# Steps between looks at the loss on a GPU: a look waits for it, and lets it wait for the next step.
GPU_LOOK_EVERY = 25
# Settings that were not there when the first checkpoints were written, and how those went.
LATER = {"detail": 0.0, "shuffle": False, "weights": {}, "late_patch": 0, "late_share": 0.2, "branches": "none",
         "loss": "l1"}  # fmt: skip
HISTORY_SCHEMA, HISTORY_VERSION = "sr-tvm/training-history", 1
SPENT = "spent.json"


class HistoryRow(Record, frozen=True, forbid_unknown_fields=False):
    """What is kept of a validation; no PSNR in what was run without pictures to validate on."""

    step: Count
    loss: Finite
    psnr: Finite | UnsetType = UNSET


class TrainingCounters(Record, frozen=True, forbid_unknown_fields=False):
    """The state in a checkpoint."""

    loss_sum: Finite
    loss_count: Count
    history: list[HistoryRow]
    seconds: Finite = 0.0


@dataclass(frozen=True)
class TrainingProgress:
    """What a run has come to.

    Attributes:
        step: How many steps are done.
        steps: How many there are in all.
        loss: Mean since the last validation, as last looked at.
        psnr: In dB, of a validation after this step; None where there was none.
    """

    step: int
    steps: int
    loss: float
    psnr: float | None


class Trainer:
    """One run in memory: the network, the optimizers' moments and the averaged weights.

    Args:
        settings: What the run is asked to do.
        pairs: What it learns from, of the network's scale.
        validate: Scores a folded network, PSNR in dB; called every ``settings.validate_every`` steps and at the end.
            If None, the history has the loss of each such interval and no PSNR.
        device: Where the steps are computed.
        graph: On a GPU, replay steps as a CUDA graph.

    Raises:
        SrTvmError: The pairs, ``settings.init`` or ``settings.teacher`` do not fit the architecture.
    """

    def __init__(
        self,
        settings: TrainingSettings,
        pairs: Pairs,
        validate: Callable[[nn.Module], float] | None,
        device: torch.device,
        graph: bool = True,
    ) -> None:
        if pairs.scale != settings.architecture.scale:
            raise SrTvmError(f"the pairs are x{pairs.scale}, the network is x{settings.architecture.scale}")
        self.settings, self.pairs, self.validate, self.device = settings, pairs, validate, device
        self.trained = trained(settings)
        if (settings.teacher is not None) != pairs.distilled:
            raise SrTvmError("a teacher is in the settings but not in the pairs, or the other way round")
        other_networks(settings)
        # Both in channels-last: in one memory order, averaging is one kernel.
        self.model, self.average = (self._place(self.trained.make()) for _ in range(2))
        self._averages: list[Tensor] = list(self.average.parameters())
        self._weights: list[Tensor] = list(self.model.parameters())
        if settings.precision != "float32":
            assert isinstance(self.model, WDSR)
            mixed(self.model, device, getattr(torch, settings.precision))
        on_gpu = device.type == "cuda"
        record = cuda_graph if on_gpu and graph else None
        s = settings
        self.gradient = TrainingStep(self.model, s.lr, s.teacher_share, device, record, s.clip, s.optimizer, s.loss)
        self.batch = batches.source(pairs, settings, device)
        self.look_every = GPU_LOOK_EVERY if on_gpu else 1
        self.step = 0
        self.loss_sum, self.loss_count, self._mean = 0.0, 0, math.nan
        self.history: list[dict[str, float]] = []
        # On a CPU by its clock, which neither a pause nor other programs move; a GPU has none.
        self.clock = time.monotonic if on_gpu else time.process_time
        self.seconds, self._begun = 0.0, math.nan

    def _place(self, module: nn.Module) -> nn.Module:
        return module.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def run(self) -> dict[str, Any]:
        """The settings and the data as JSON, which a resumed run must agree on."""
        return self.settings.to_json() | {"data": self.pairs.digest}

    def _tensors(self) -> dict[str, Tensor]:
        out: dict[str, Tensor] = {}
        for (name, weight), mean in zip(self.model.named_parameters(), self.average.parameters(), strict=True):
            out |= {f"model.{name}": weight, f"average.{name}": mean}
        return out | self.gradient.optimizers.moments()

    def save(self, path: Path) -> None:
        """Write a checkpoint.

        Args:
            path: The file, which is replaced where it exists.

        Raises:
            SrTvmError: The loss is no longer a number, or the place cannot be written.
        """
        self._look()
        state = {"loss_sum": self.loss_sum, "loss_count": self.loss_count, "history": self.history}
        state["seconds"] = self.seconds
        Checkpoint(self.step, self._tensors(), self.run, state).write(path)

    def restore(self, path: Path) -> None:
        """Take up a checkpoint.

        Args:
            path: The file, which may come from anyone.

        Raises:
            SrTvmError: It is damaged, or of a run with other settings, data or architecture.
        """
        check_same(peek(path)["run"], self.run, path)
        self.gradient.forget()
        self.gradient.total.zero_()
        saved = Checkpoint.read(path, {k: tuple(v.shape) for k, v in self._tensors().items()})
        if saved.step > self.settings.steps:
            raise SrTvmError(f"{path}: a damaged checkpoint (step {saved.step}); {HINT}")
        self.gradient.optimizers.remember(saved.tensors, saved.step)
        with torch.no_grad():
            for (name, weight), mean in zip(self.model.named_parameters(), self.average.parameters(), strict=True):
                weight.copy_(saved.tensors[f"model.{name}"])
                mean.copy_(saved.tensors[f"average.{name}"])
        try:
            told = read(TrainingCounters, saved.state, str(path))
        except SrTvmError as error:
            raise SrTvmError(f"{error}: a damaged checkpoint; {HINT}") from None
        self.step, self.seconds = saved.step, told.seconds
        self.loss_sum, self.loss_count = told.loss_sum, told.loss_count
        self.history = [row.to_json() for row in told.history]

    def advance(self) -> TrainingProgress:
        """Do one step, and a validation where one is due.

        Returns:
            What the run has come to.

        Raises:
            SrTvmError: The loss is no longer a number.
        """
        s = self.settings
        # A GPU is still at the last step when the next one is asked for: its time is from one to the next.
        begun = self.clock() if self.device.type != "cuda" or math.isnan(self._begun) else self._begun
        self.gradient(self.batch(self.step), s.learning_rate(self.step))
        self.step += 1
        self.loss_count += 1
        due = self.step % s.validate_every == 0 or self.step == s.steps
        if due or self.step % self.look_every == 0 or math.isnan(self._mean):
            self._look()
        # Early on a long average would remember the random start: grow it with the steps.
        decay = min(s.ema, self.step / (self.step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(self._averages, self._weights, 1 - decay)
        mean, psnr = self._mean, None
        if due:
            self.history.append({"step": self.step, "loss": mean})
            if self.validate is not None:
                psnr = self.history[-1]["psnr"] = self.validate(self.trained.folded(self.average))
            self.loss_sum, self.loss_count = 0.0, 0
        self._begun = self.clock()
        self.seconds += self._begun - begun
        return TrainingProgress(self.step, s.steps, mean, psnr)

    def _look(self) -> None:
        """Take over the losses that the device has summed up since the last look.

        Raises:
            SrTvmError: their sum is no longer a number.
        """
        value = self.gradient.total.item()
        if not math.isfinite(value):
            lr = self.settings.lr
            raise SrTvmError(f"the loss is {value} by step {self.step}; start again with a smaller --lr than {lr}")
        self.gradient.total.zero_()
        self.loss_sum += value
        if self.loss_count:
            self._mean = self.loss_sum / self.loss_count

    def write_results(self, folder: Path) -> None:
        """Write what was trained, history.json, and spent.json, which no two runs have alike.

        Args:
            folder: Of the run; files of the same names are replaced.

        Raises:
            SrTvmError: The folder cannot be written.
        """
        self.trained.write(self.average, folder)
        files.write_json(
            folder / "history.json",
            {"schema": HISTORY_SCHEMA, "version": HISTORY_VERSION, "run": self.run, "rows": self.history},
        )
        files.write_json(folder / SPENT, self.spent)

    @property
    def spent(self) -> dict[str, Any]:
        """What all steps have taken, as JSON: low-resolution pixels and minutes, and on what device."""
        on_gpu = self.device.type == "cuda"
        return {
            "low_resolution_pixels": self.settings.pixels,
            "minutes": round(self.seconds / 60, 2),
            "clock": "the clock's, beside what else ran there" if on_gpu else "the processor's",
            "device": torch.cuda.get_device_name(self.device) if on_gpu else machine.cpu_name(),
        }


def other_networks(settings: TrainingSettings) -> tuple[WDSR | None, WDSR | None]:
    """Read the networks that a run begins with and learns from, and check that they fit.

    Args:
        settings: The run's; ``init`` and ``teacher`` name the files.

    Returns:
        The network to begin with and the teacher, each None where the settings have none.

    Raises:
        SrTvmError: A file is not a weights file, or too small to be sliced, or the teacher's scale is another.
    """
    start, teacher = (load_weights(file.path) if file else None for file in (settings.init, settings.teacher))
    if start is not None and settings.init is not None:
        try:
            assert isinstance(settings.architecture, Architecture)
            slicing.check(start.architecture, settings.architecture)
        except SrTvmError as error:
            raise SrTvmError(f"{settings.init.path}: {error}") from None
    scale = settings.architecture.scale
    if teacher is not None and settings.teacher is not None and teacher.architecture.scale != scale:
        raise SrTvmError(f"{settings.teacher.path}: the teacher is x{teacher.architecture.scale}, not x{scale}")
    return start, teacher


def check_same(found: dict[str, Any], wanted: dict[str, Any], path: Path) -> None:
    """Refuse to resume a run under other settings than it began with.

    Args:
        found: What a checkpoint says that the run was asked to do.
        wanted: What it is asked now; only these fields are compared.
        path: Of the checkpoint, for the message.

    Raises:
        SrTvmError: A field differs; it is named, with both values.
    """
    # What began before there were these went as if they were at their defaults.
    found = {name: default for name, default in LATER.items() if name in wanted} | found
    for field in wanted:
        if found.get(field) != wanted[field]:
            if field in ("architecture", "data"):
                what = {"architecture": "another architecture", "data": "other training pictures"}[field]
                raise SrTvmError(f"{path}: began with {what}; resume with the same, or name another output")
            told, now = (str("none" if v is None else v)[:80] for v in (found.get(field), wanted[field]))
            raise SrTvmError(
                f"{path}: began with {field.replace('_', '-')} {told}, now it is {now}; "
                f"resume with {told}, or name another output"
            )


def look_ahead(settings: TrainingSettings, folder: Path) -> None:
    """Find out what would stop a run before pictures are prepared for it.

    Args:
        settings: The run's.
        folder: Where its results would go.

    Raises:
        SrTvmError: The folder cannot be made, or holds a checkpoint that is damaged or of a run with other settings, or
            a weights file to begin with or learn from does not fit.
    """
    path = folder / CHECKPOINT
    files.check_writable(path)
    if path.exists():
        check_same(peek(path)["run"], settings.to_json(), path)
    other_networks(settings)


def train(trainer: Trainer, folder: Path, report: Callable[[TrainingProgress], None]) -> None:
    """Run to the last step and write the results.

    It goes on from the checkpoint in ``folder`` if there is one, and writes one every minute, at an interruption, and
    at the end.

    Args:
        trainer: Before its first step.
        folder: Gets the checkpoint and the results.
        report: Told what the run has come to after each step.

    Raises:
        KeyboardInterrupt: It was stopped by Ctrl-C or SIGTERM, after a checkpoint.
        SrTvmError: The checkpoint is damaged or of another run, or the folder cannot be written.
    """
    path = folder / CHECKPOINT
    if path.exists():
        trainer.restore(path)
    else:
        trainer.save(path)  # a place that cannot be written is found out now, not after an hour
    saved = time.monotonic()
    with interrupts.between_steps() as asked:
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
