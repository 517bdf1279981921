"""The bar of ``sr-tvm tune``."""

from __future__ import annotations

from typing import Any


def progress_bar(trials: int, unit: str = "ms") -> Any:
    """Make a progress bar for a tuning run; it begins with what earlier runs did.

    Args:
        trials: How many there are to be in all.
        unit: Of the times, "ms" or "packets".

    Returns:
        A context that yields a function for the events of tune.
    """
    import contextlib

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    @contextlib.contextmanager
    def running() -> Any:
        columns = (
            TextColumn("tuning"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
        )
        with Progress(*columns, console=Console(stderr=True), speed_estimate_period=120) as progress:
            shown = progress.add_task("measuring the defaults", total=trials)

            def tick(event: Any) -> None:
                # Trials of earlier runs come as one jump, which is no speed: begin there.
                if progress.tasks[shown].completed == 0 and event.trial > 1:
                    progress.reset(shown, total=event.trials, completed=event.trial - 1)
                failed = f", {event.error}" if event.error else ""
                best = f"{event.best_ms:.{3 if unit == 'ms' else 0}f} {unit}"
                text = f"model {event.total_ms:.{2 if unit == 'ms' else 0}f} {unit}, {event.task} {best}{failed}"
                progress.update(shown, completed=event.trial, description=text[:100])

            yield tick

    return running()
