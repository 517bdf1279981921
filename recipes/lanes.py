"""Trainings side by side in one process, step by step in turn, until a time is up; the same command goes on from there.

On a GPU each lane has a stream of its own. A step of such a small network leaves most of a large GPU idle, and as it is
replayed without Python (training/step.py) one thread keeps many of them busy. Everything is checked before a lane
begins, checkpoints are written every minute and at the end, and nothing is begun that the time is too short for.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from recipes.priorities import TEACHER, Hyperparameters, Item, begins, made
from sr_tvm.errors import SrTvmError
from sr_tvm.system import files
from sr_tvm.training import loop
from sr_tvm.training.checkpoint import peek
from sr_tvm.training.data import Tick
from sr_tvm.training.loop import CHECKPOINT, Trainer, TrainingProgress
from sr_tvm.training.session import prepare
from sr_tvm.training.settings import WeightsFile
from sr_tvm.training.step import best_precision

Say = Callable[[str], None]
HISTORY = "history.json"
TELL_EVERY = 20.0  # seconds
TRAVELS = 16_000_000  # bytes of unfinished checkpoints that may travel together
DONE, FAILED, WAITS, STOPPED = "done", "failed", "waits", "stopped"


@dataclass(frozen=True)
class Clock:
    """When to end: ``reserve`` seconds before the limit, which are for the last checkpoints.

    Attributes:
        begun: When the time began, of ``time.monotonic()``.
        seconds: The limit, from then on.
    """

    begun: float
    seconds: float

    @property
    def reserve(self) -> float:
        """The seconds that are kept for the last checkpoints."""
        return min(20.0, 0.1 * self.seconds)

    @property
    def left(self) -> float:
        """The seconds until trainings must end; below 0 once the time is over."""
        return self.begun + self.seconds - self.reserve - time.monotonic()

    @property
    def worth_beginning(self) -> bool:
        """Whether another training would get anywhere after its preparation."""
        return self.left > min(45.0, 0.25 * self.seconds)


@dataclass(frozen=True)
class LanePlaces:
    """Where pictures are read and work is kept, what ships, and what the steps run on.

    Attributes:
        train: Folders of training pictures.
        validate: Folder of the pictures to score on.
        work: Folder with a folder for each training.
        models: Folder of what ships.
        device: Of all trainings.
        cache: Folder of prepared pictures; the user's if None.
        threads: CPU threads; PyTorch's choice if None.
    """

    train: Sequence[Path]
    validate: Path
    work: Path
    models: Path
    device: torch.device
    cache: Path | None = None
    threads: int | None = None


class TimeUp(Exception):
    """It was while a training was prepared; what a teacher has made until then is cached."""


class Lane:
    """One training under way."""

    def __init__(self, item: Item, trainer: Trainer, folder: Path) -> None:
        self.item, self.trainer, self.folder = item, trainer, folder
        on_gpu = trainer.device.type == "cuda"
        self.stream = torch.cuda.Stream(trainer.device) if on_gpu else None
        path = folder / CHECKPOINT
        if path.exists():
            trainer.restore(path)
        else:
            trainer.save(path)
        if on_gpu:  # what was put there so far was put by another stream
            torch.cuda.synchronize(trainer.device)
        self.saved = self.told = time.monotonic()
        self.told_step, self.psnr = trainer.step, None if not trainer.history else trainer.history[-1].get("psnr")

    @contextlib.contextmanager
    def _aside(self) -> Iterator[None]:
        with torch.cuda.stream(self.stream) if self.stream else contextlib.nullcontext():
            yield

    def advance(self) -> bool:
        """Take one step, and write a checkpoint where one is due.

        Returns:
            True if there are more steps.

        Raises:
            SrTvmError: The loss is no longer a number, or the place cannot be written.
        """
        with self._aside():
            if self.trainer.step < self.trainer.settings.steps:
                now: TrainingProgress = self.trainer.advance()
                self.psnr = now.psnr if now.psnr is not None else self.psnr
            if time.monotonic() - self.saved > loop.CHECKPOINT_SECONDS:
                self.save()
        return self.trainer.step < self.trainer.settings.steps

    def save(self) -> None:
        """Write a checkpoint.

        Raises:
            SrTvmError: The place cannot be written.
        """
        with self._aside():
            self.trainer.save(self.folder / CHECKPOINT)
        self.saved = time.monotonic()

    def finish(self) -> None:
        """Write the results; the checkpoint has done its service and need not travel.

        Raises:
            SrTvmError: The place cannot be written.
        """
        with self._aside():
            self.trainer.write_results(self.folder)
        (self.folder / CHECKPOINT).unlink()

    def line(self) -> str:
        """Say how far the training is, and how fast since this was last asked.

        Returns:
            One line, with the last PSNR in dB if there is one.
        """
        now, step, steps = time.monotonic(), self.trainer.step, self.trainer.settings.steps
        rate = (step - self.told_step) / max(now - self.told, 1e-9)
        self.told, self.told_step = now, step
        psnr = "" if self.psnr is None else f", {self.psnr:.2f} dB"
        return f"{self.item.name}: {step:,} of {steps:,}, {rate:.1f} steps/s{psnr}"


class Lanes:
    """Works through trainings, the first ones first, several at a time.

    Attributes:
        items: The trainings, in the order of their importance.
        hyper: How they are trained.
        places: Where pictures are read and work is kept.
        most: Trainings at a time, at most; less once the GPU's memory was full.
        say: Prints a line.
        lanes: Those under way.
        state: Of each item by name.
        why: Of items that were given up, the reason by name.
    """

    def __init__(self, items: Sequence[Item], hyper: Hyperparameters, places: LanePlaces, most: int, say: Say) -> None:
        self.items, self.hyper, self.places, self.most, self.say = items, hyper, places, most, say
        self.lanes: list[Lane] = []
        self.state = dict.fromkeys((item.name for item in items), WAITS)
        self.why: dict[str, str] = {}

    def run(self, clock: Clock, asked: Callable[[], bool] = lambda: False) -> None:
        """Train until all is done, the time is up or an end is asked for; unfinished trainings leave checkpoints.

        Args:
            clock: When to end.
            asked: Whether to end at once, looked at before each round of steps.
        """
        told = time.monotonic()
        self._fill(clock, asked)
        while self.lanes and clock.left > 0 and not asked():
            before = len(self.lanes)
            for lane in list(self.lanes):
                self._turn(lane)
            if len(self.lanes) < before:
                self._fill(clock, asked)
            if time.monotonic() - told > TELL_EVERY:
                told = time.monotonic()
                for lane in self.lanes:
                    self.say(lane.line())
        for lane in self.lanes:
            self._end(lane, STOPPED, lane.save)
        self.lanes.clear()

    def _turn(self, lane: Lane) -> None:
        try:
            if lane.advance():
                return
        except SrTvmError as error:
            self._leave(lane, FAILED, str(error))
            return
        except torch.cuda.OutOfMemoryError:
            self._crowded(lane)
            return
        self._end(lane, DONE, lane.finish)
        self.lanes.remove(lane)

    def _end(self, lane: Lane, state: str, write: Callable[[], None]) -> None:
        """Write the last of a lane; what fails of one must not keep the others from it."""
        try:
            write()
            self.state[lane.item.name] = state
            self.say(f"{lane.line()}, {state}")
        except SrTvmError as error:
            self.state[lane.item.name], self.why[lane.item.name] = FAILED, str(error)
            self.say(f"{lane.item.name}: {FAILED}, {error}")

    def _leave(self, lane: Lane, state: str, why: str) -> None:
        self.lanes.remove(lane)
        self.state[lane.item.name], self.why[lane.item.name] = state, why
        self.say(f"{lane.item.name}: {state}, {why}")

    def _crowded(self, lane: Lane) -> None:
        """Take a lane out as the GPU's memory is full: its last checkpoint stays, and none is begun in its place."""
        alone = len(self.lanes) == 1
        self._leave(lane, FAILED if alone else WAITS, "the GPU's memory is full")
        self.most = max(1, len(self.lanes))
        torch.cuda.empty_cache()

    def _fill(self, clock: Clock, asked: Callable[[], bool]) -> None:
        """Begin what can be begun, in order."""

        def tick(done: int, total: int) -> None:
            if clock.left <= 0 or asked():
                raise TimeUp

        for item in self.items:
            if len(self.lanes) >= self.most or not clock.worth_beginning:
                return
            running = any(lane.item is item for lane in self.lanes)
            if self.state[item.name] != WAITS or running or item.name in self.why:
                continue
            try:
                self._begin(item, tick)
            except TimeUp:
                self.say(f"{item.name}: the time is up before it is prepared")
                return
            except SrTvmError as error:
                self.state[item.name], self.why[item.name] = FAILED, str(error)
                self.say(f"{item.name}: {FAILED}, {error}")
            except torch.cuda.OutOfMemoryError:
                self.most = max(1, len(self.lanes))
                torch.cuda.empty_cache()
                return

    def _begin(self, item: Item, tick: Tick) -> None:
        """Put an item into a lane, unless it is done or waits for another."""
        places, folder = self.places, self.places.work / item.name
        teachers = made(TEACHER[item.scale], places.models, places.work) if item.distilled else []
        inits = begins(item, places.models, places.work)
        run = _began_with(folder)
        init, teacher = _pick(inits, run.get("init")), _pick(teachers, run.get("teacher"))
        if (inits and init is None) or (item.distilled and teacher is None):
            return
        precision = run.get("precision") or best_precision(places.device)
        settings = self.hyper.settings(item, places.models, precision, init, teacher)
        if (folder / HISTORY).is_file():
            loop.check_same(run, settings.to_json(), folder / HISTORY)
            self.state[item.name] = DONE
            return
        loop.look_ahead(settings, folder)
        begun = time.monotonic()
        trainer, _ = prepare(settings, places.train, places.validate, places.device.type, places.threads,
                             places.cache, tick=tick)  # fmt: skip
        lane = Lane(item, trainer, folder)
        self.lanes.append(lane)
        source = f", distilled from {teacher}" if teacher else ""
        self.say(f"{item.name}: from step {trainer.step:,}{source}; prepared in {time.monotonic() - begun:.1f} s")


def _began_with(folder: Path) -> dict[str, str]:
    """Return what an unfinished or finished run was asked to do; nothing of none.

    Raises:
        SrTvmError: Its file is damaged.
    """
    if (folder / HISTORY).is_file():
        found = files.read_json(folder / HISTORY, loop.HISTORY_SCHEMA, loop.HISTORY_VERSION).get("run")
    elif (folder / CHECKPOINT).is_file():
        found = peek(folder / CHECKPOINT)["run"]
    else:
        return {}
    if not isinstance(found, dict):
        raise SrTvmError(f"{folder / HISTORY}: damaged; remove it to train anew")
    return found


def _pick(paths: Sequence[Path], before: str | None) -> Path | None:
    """Return the file that a run began with, else the first that is there."""
    there = [path for path in paths if path.is_file()]
    same = [path for path in there if str(WeightsFile.of(path)) == before]
    return next(iter(same or there), None)


def to_carry(work: Path) -> int:
    """Count the bytes of all checkpoints and weights in a work folder, which another day needs.

    Args:
        work: With a folder for each training.

    Returns:
        Bytes.
    """
    return sum(path.stat().st_size for path in work.glob("*/*.safetensors"))
