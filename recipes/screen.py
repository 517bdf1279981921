"""What the recipe shows: a list of all commands, and jobs as they start and end."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence

from rich.console import Console
from rich.live import Live
from rich.table import Column, Table

from recipes.jobs import DONE, FAILED, LEFT_OUT, RUNNING, WAITING, Job, JobRunner, last_lines
from sr_tvm.system import interrupts

LOOK_EVERY, DRAW_EVERY = 0.2, 1.0  # seconds


def overview(chosen: Sequence[Job]) -> Table:
    """List the commands of some jobs, and how far each is.

    Args:
        chosen: The jobs, in the order to list them.

    Returns:
        A table with a row for each step, for rich's console.
    """
    table = Table("job", "needs", "step", "state")
    for job in chosen:
        for i, step in enumerate(job.steps):
            table.add_row(*((job.name, ", ".join(job.needs)) if i == 0 else ("", "")), step.title, step.state())
    return table


def run(runner: JobRunner, console: Console) -> None:
    """Run jobs until all have ended.

    Ctrl-C or SIGTERM stops all, with checkpoints; another one does not wait for these.

    Args:
        runner: With the jobs; its ``state`` tells afterwards how each ended.
        console: Where changes of state are printed, and on a terminal a table of what runs.
    """
    told, heard, drawn = dict.fromkeys(runner.state, WAITING), 0, 0.0
    # Without a thread of its own for drawing: a child's death signal goes by the thread that started it.
    live = Live(console=console, auto_refresh=False, transient=True)
    try:
        with interrupts.noted() as asked, live if console.is_terminal else contextlib.nullcontext():
            while (busy := runner.tick()) or told != runner.state:
                for name in [n for n in told if told[n] != runner.state[n]]:
                    told[name] = runner.state[name]
                    console.print(line(runner, name), highlight=False, markup=False, soft_wrap=True)
                if time.monotonic() > drawn + DRAW_EVERY:
                    live.update(table(runner), refresh=console.is_terminal)
                    drawn = time.monotonic()
                if len(asked) > heard:
                    console.print("stopping after checkpoints; once more: at once" if not heard else "ended at once")
                    runner.stop(now=heard > 0)
                    heard += 1
                if busy:
                    time.sleep(LOOK_EVERY)
    finally:
        if runner.children:  # an error of ours: leave nothing behind
            runner.stop(now=True)


def line(runner: JobRunner, name: str) -> str:
    """Write what is said once when a job's state changes.

    Args:
        runner: That runs the job.
        name: The job's.

    Returns:
        One line, and of a failed job the last lines of its log.
    """
    state, why = runner.state[name], runner.why.get(name, "")
    if state == RUNNING:
        return f"{name}: {runner.children[name][1].title}, log in {runner.log(name)}"
    return f"{name}: {state}" + (f"\n{why}" if state == FAILED else f", {why}" if why else "")


def table(runner: JobRunner) -> Table:
    """List what runs, and count the jobs that wait and have ended.

    Args:
        runner: That runs the jobs.

    Returns:
        A table with a row for each running job and its last words, for rich's console.
    """
    shown = Table("job", "step", Column("last words", no_wrap=True, overflow="ellipsis"), box=None)
    for name, (_, step) in runner.children.items():
        shown.add_row(name, step.title, *last_lines(runner.log(name), 1))
    counts = {state: sum(s == state for s in runner.state.values()) for state in (WAITING, DONE, FAILED, LEFT_OUT)}
    shown.caption = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    return shown
