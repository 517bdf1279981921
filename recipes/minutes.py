"""Trains by priorities for some minutes and ends by itself: what models/train.py does with --minutes."""

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
    """Train by priorities until some minutes are over, several trainings at a time.

    Args:
        data: Folder that holds train/SET and eval/Set5.
        work: Folder of the trainings, with their checkpoints.
        models: Folder of what ships, which trainings begin as.
        begun: When the minutes began, of ``time.monotonic()``.
        minutes: Until all has ended and is written.
        say: Prints a line.
        device: "auto", "cpu" or "cuda".
        only: Names of trainings, with commas between them; all if empty.
        most: Trainings at a time; 6 on a GPU and 1 on a CPU if None.
        threads: CPU threads; PyTorch's choice if None.
        steps: Of each training that is no teacher's; those of the recipe if None.
        teacher_steps: Of each teacher; those of the recipe if None.
        cache: Folder of prepared pictures; the user's if None.

    Raises:
        SrTvmError: No training has a name of ``only``, pictures are missing or are test pictures, or a training failed;
            the others went on.
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
    """Choose trainings by name; what one of them waits for is not added.

    Args:
        every: All, in order.
        only: Names with commas between them; all if it is empty.

    Returns:
        The trainings, in the order of ``every``.

    Raises:
        SrTvmError: There is no item of a name.
    """
    wanted = [name for name in only.split(",") if name]
    if unknown := [name for name in wanted if name not in {item.name for item in every}]:
        raise SrTvmError(f"no training is named {unknown[0]!r}; there are {', '.join(item.name for item in every)}")
    return [item for item in every if not wanted or item.name in wanted]
