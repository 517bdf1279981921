"""Makes everything in models/ but models/speed, from pictures.

Run it as .venv/bin/python models/train.py --data DIR. recipe.py says what is trained and how, jobs.py and screen.py run
and show it, ship.py puts the results in their place, pictures.py looks at the pictures. With --minutes it trains by
priorities.py instead, in lanes.py, until the time is up; then it needs no more than PyTorch, numpy, safetensors,
Pillow, and wheels of click, rich, platformdirs and msgspec.
"""

from __future__ import annotations

import contextlib
import fcntl
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

import click
from rich.console import Console

from recipes import BEGUN, MODELS
from recipes.jobs import DONE, FAILED, LEFT_OUT, Job, JobRunner
from recipes.minutes import spend
from recipes.pack import unpack
from recipes.pictures import refuse_leaks, train_folders
from recipes.priorities import GPU
from recipes.recipe import SUPERNETS, Recipe, RecipePlaces, jobs
from recipes.screen import overview, run
from sr_tvm.bars import bar
from sr_tvm.errors import SrTvmError
from sr_tvm.training.data import default_cache, load_pairs

PATIENCE = 60.0  # seconds for what an earlier run left behind to write its checkpoints
COUNT = click.IntRange(1, 10**9)
FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command()
@click.option(
    "--data",
    envvar="SR_TVM_DATA",
    required=True,
    type=click.Path(path_type=Path),
    help="Holds train/*, eval/Set5 and so on; or a file of models/pack.py.",
)
@click.option("--work", type=FOLDER, default="runs/models", show_default=True, help="Checkpoints and logs.")
@click.option("--models", type=FOLDER, help="Where the results go; WORK/shipped if not given: not models/.")
@click.option("--steps", type=COUNT, help=f"Of each final training; {Recipe.steps:,}, with --minutes {GPU.steps:,}.")
@click.option(
    "--supernet-steps",
    type=COUNT,
    help=f"{Recipe.supernet_steps:,}; with --minutes of the teachers, {GPU.teacher_steps:,}.",
)
@click.option("--search-steps", type=click.IntRange(3, 10**9), default=Recipe.search_steps, show_default=True)
@click.option(
    "--halving-steps",
    "--race-steps",
    "race_steps",
    type=click.IntRange(0),
    default=Recipe.race_steps,
    show_default=True,
)
@click.option("--supernet", default=Recipe.supernet, show_default=True, help="Blocks x channels.")
@click.option("--jobs", "slots", type=click.IntRange(1, 256), help="Side by side; 2, with --minutes 6 on a GPU.")
@click.option("--threads", type=click.IntRange(1, 256), default=1, show_default=True, help="Of each of them.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--minutes", type=click.FloatRange(0.01, 10**5), help="By priorities.py; then end, with checkpoints.")
@click.option("--cache", type=FOLDER, help="With --minutes: of prepared pictures; the user's if not given.")
@click.option("--only", default="", metavar="NAME[,NAME]", help="These and what they need.")
@click.option("--list", "listed", is_flag=True, help="Say what would be run and what is done, and run nothing.")
def main(
    data: Path, work: Path, models: Path | None, steps: int | None, supernet_steps: int | None, search_steps: int,
    race_steps: int, supernet: str, slots: int | None, threads: int, device: str, minutes: float | None,
    cache: Path | None, only: str, listed: bool,
) -> None:  # fmt: skip
    """Train the supernets, search, train what is found and what it has to beat, and put the results together.

    Stopped in any way, the same command goes on.

    \b
    .venv/bin/python models/train.py --data DATA --jobs 2
    .venv/bin/python models/train.py --data DATA --device cuda --only wdsr_x2_s21_40ms
    .venv/bin/python models/train.py --data DATA --models models     # replaces what ships
    python models/train.py --device cuda --minutes 8 --data runs/pack.zip --work runs/gpu
    """
    if data.is_file():
        data = unpack(data, (cache or default_cache()) / "packs")
    if minutes:
        with alone(work, click.echo):
            spend(data, work, models or MODELS, BEGUN, minutes, click.echo, device=device, only=only, most=slots,
                  threads=threads, steps=steps, teacher_steps=supernet_steps, cache=cache)  # fmt: skip
        return
    steps, supernet_steps = steps or Recipe.steps, supernet_steps or Recipe.supernet_steps
    recipe, slots = Recipe(supernet, supernet_steps, search_steps, steps, race_steps=race_steps), slots or 2
    place, folders = models or work / "shipped", train_folders(data)
    places = RecipePlaces(folders, data / "eval" / "Set5", work, place, threads, device)
    chosen = choose(jobs(recipe, places), only)
    console = Console(stderr=True)
    if listed:
        Console().print(overview(chosen))
        return
    with alone(work, console.print) as lock:
        names = {job.name for job in chosen}
        for scale in [s for s, name in SUPERNETS.items() if name in names]:
            with bar(f"preparing pictures x{scale}") as tick:
                refuse_leaks(load_pairs(folders, scale, tick=tick), data)
        runner = JobRunner(chosen, work / "logs", slots, threads, [lock.fileno()])
        run(runner, console)
    counts = {state: sum(s == state for s in runner.state.values()) for state in (DONE, FAILED, LEFT_OUT)}
    if runner.stopping:
        again = shlex.join([sys.executable, *sys.argv])
        raise SrTvmError(f"stopped, {counts[DONE]} of {len(chosen)} done; go on with:  {again}")
    if counts[FAILED]:
        raise SrTvmError(f"{counts[FAILED]} failed, {counts[LEFT_OUT]} left out for that, {counts[DONE]} done")
    console.print(f"all {len(chosen)} done: {place}", highlight=False, soft_wrap=True)
    words = f"--data {data} --work {work}"
    if place.resolve() != MODELS:  # keep the published figures those of what ships
        words += f" --models {place} -o {place / 'quality.json'}"
    console.print(f"next:  make bench NAME=quality ARGS='{words}'", highlight=False, soft_wrap=True)


def choose(every: Sequence[Job], only: str) -> list[Job]:
    """Choose jobs by name, and all that they need.

    Args:
        every: All, in order.
        only: Names with commas between them; all if it is empty.

    Returns:
        The jobs, in the order of ``every``.

    Raises:
        SrTvmError: There is no job of a name.
    """
    by_name = {job.name: job for job in every}
    wanted = [name for name in only.split(",") if name] or list(by_name)
    if unknown := [name for name in wanted if name not in by_name]:
        raise SrTvmError(f"no job is named {unknown[0]!r}; there are {', '.join(by_name)}")
    for name in wanted:  # grows on the way
        wanted.extend(need for need in by_name[name].needs if need not in wanted)
    return [job for job in every if job.name in wanted]


@contextlib.contextmanager
def alone(work: Path, say: Callable[[str], None]) -> Iterator[IO[bytes]]:
    """Hold the work folder, so that no other run works there.

    Children hold it too: none of them may outlive us and meet its successor.

    Args:
        work: The folder, which is made if it is not there.
        say: Prints a line, when another run has to end first.

    Yields:
        The open file that is locked, to be handed to children.

    Raises:
        SrTvmError: The folder cannot be written, or another run holds it for longer than a checkpoint takes.
    """
    try:
        work.mkdir(parents=True, exist_ok=True)
        lock = (work / "lock").open("wb")
    except OSError as error:
        raise SrTvmError(f"cannot write {work}: {error.strerror or error}; name another --work") from None
    with lock:
        begin, waited = time.monotonic(), False
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() - begin > PATIENCE:
                    raise SrTvmError(f"{work}: another run is at work there; stop it or name another --work") from None
                if not waited:
                    say(f"{work}: waiting for another run there to end")
                waited = True
                time.sleep(0.5)
        yield lock


if __name__ == "__main__":
    try:
        main()
    except SrTvmError as error:
        raise SystemExit(f"error: {error}") from None
