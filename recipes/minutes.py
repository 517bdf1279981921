"""Training by priorities for some minutes, which ends by itself: what models/train.py does with --minutes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from recipes.lanes import DONE, FAILED, TRAVELS, Clock, LanePlaces, Lanes, Say, to_carry
from recipes.pictures import refuse_leaks, train_folders
from recipes.priorities import CPU, GPU, ITEMS, Item
from sr_tvm.bars import bar
from sr_tvm.errors import SrTvmError
from sr_tvm.system import interrupts
from sr_tvm.training.data import load_pairs
from sr_tvm.training.upscalers import pick_device

SIDE_BY_SIDE = {"cuda": 6, "cpu": 1}


def spend(
    data: Path,
    work: Path,
    models: Path,
    begun: float,
    minutes: float,
    say: Say,
    *,
    device: str = "auto",
    only: str = "",
    most: int | None = None,
    threads: int | None = None,
    steps: int | None = None,
    teacher_steps: int | None = None,
    cache: Path | None = None,
) -> None:
    """Train for some minutes, several trainings at a time.

    Args:
        data: Folder with train/* and eval/Set5.
        work: Where a folder of each training is kept.
        models: Where what ships lies.
        begun: When the minutes began, of time.monotonic().
        minutes: To be spent in all.
        say: Is told one line at a time.
        device: "cpu", "cuda", or "auto" for a GPU if there is one.
        only: Names of trainings, with commas between; "" for all.
        most: Trainings at a time; None for 6 on a GPU and 1 on a CPU.
        threads: CPU threads; None for PyTorch's choice.
        steps: Of each training; None for the priorities' own.
        teacher_steps: Of each teacher; None for the priorities' own.
        cache: Of prepared pictures; None for the user's.

    Raises:
        SrTvmError: Nothing could be begun, or a training failed; the others went on.
    """
    place = pick_device(device)
    if threads:
        torch.set_num_threads(threads)
    hyper = GPU if place.type == "cuda" else CPU
    hyper = replace(hyper, steps=steps or hyper.steps, teacher_steps=teacher_steps or hyper.teacher_steps)
    items, folders = choose(ITEMS, only), train_folders(data)
    for scale in sorted({item.scale for item in items}):
        with bar(f"preparing pictures x{scale}") as tick:
            refuse_leaks(load_pairs(folders, scale, cache, tick=tick), data)
    places = LanePlaces(folders, data / "eval" / "Set5", work, models, place, cache, threads)
    lanes = Lanes(items, hyper, places, most or SIDE_BY_SIDE[place.type], say)
    with interrupts.between_steps() as asked:
        lanes.run(Clock(begun, minutes * 60), asked)
    done, failed = ([name for name, state in lanes.state.items() if state == wanted] for wanted in (DONE, FAILED))
    size = to_carry(work)
    spent = (time.monotonic() - begun) / 60
    say(f"{len(done)} of {len(items)} done, after {spent:.1f} minutes; {size:,} bytes to carry "
        f"in {work}; the same command goes on")  # fmt: skip
    if size > TRAVELS:
        say(f"note: more than the {TRAVELS:,} bytes that travel; take away what is done, but for the teachers' weights")
    if failed:
        raise SrTvmError(f"{', '.join(failed)} failed: {lanes.why[failed[0]]}")


def choose(every: Sequence[Item], only: str) -> list[Item]:
    """Choose trainings by their names. What one of them waits for is not added.

    Args:
        every: All trainings.
        only: Names with commas between; "" for all.

    Returns:
        Those that are named, in the order of ``every``.

    Raises:
        SrTvmError: There is no training of a name.
    """
    wanted = [name for name in only.split(",") if name]
    if unknown := [name for name in wanted if name not in {item.name for item in every}]:
        raise SrTvmError(f"no training is named {unknown[0]!r}; there are {', '.join(item.name for item in every)}")
    return [item for item in every if not wanted or item.name in wanted]
