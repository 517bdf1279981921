"""Progress bars on stderr, in the one style of all commands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.progress import Progress


def note(message: str) -> None:
    """Print a note on stderr.

    Args:
        message: One line, without the word "note".
    """
    click.echo(f"note: {message}", err=True)


def make(*columns: str) -> Progress:
    """Make a progress bar on stderr, with its counts and the time that remains.

    Args:
        *columns: What is shown after these, in rich's markup, such as "{task.fields[told]}".

    Returns:
        The bar, not started yet.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        *(TextColumn(c) for c in columns),
        console=Console(stderr=True),
        speed_estimate_period=120,
    )


@contextmanager
def bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show the progress of the block; the bar appears when it is first told of some.

    Args:
        what: What is done, in words.

    Yields:
        A function to be told (done, total).
    """
    progress = make()
    tasks: list[Any] = []

    def tick(done: int, total: int) -> None:
        if not tasks:
            progress.start()
            tasks.append(progress.add_task(what, total=total))
        progress.update(tasks[0], completed=done, total=total)

    try:
        yield tick
    finally:
        if tasks:
            progress.stop()
