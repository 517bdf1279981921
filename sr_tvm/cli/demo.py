"""sr-tvm demo: once round the loop on this machine."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click


class _Printer:
    """Numbered headings with the time since the start; bars on standard error, and nothing else with --json."""

    def __init__(self, quiet: bool) -> None:
        from rich.console import Console

        self.console = Console(stderr=quiet, highlight=False, soft_wrap=True)
        self.started = time.monotonic()

    def step(self, number: int, of: int, title: str) -> None:
        from rich.text import Text

        minutes, seconds = divmod(int(time.monotonic() - self.started), 60)
        elapsed = (f"  {minutes}:{seconds:02d}", "dim")
        self.console.print(Text.assemble((f"\n{number:2d}/{of}  {title}", "bold"), elapsed))

    def say(self, line: str) -> None:
        self.console.print(f"       {line}", markup=False)

    @contextmanager
    def bar(self, what: str) -> Iterator[Callable[[int, int, str], None]]:
        from sr_tvm.bars import make

        with make("{task.fields[word]}") as progress:
            task = progress.add_task(f"       {what}", total=None, word="")
            yield lambda done, total, word: progress.update(task, completed=done, total=total, word=word)


@click.command()
@click.option("-o", "--output", default="runs/demo", show_default=True, type=click.Path(path_type=Path), help="Folder.")
@click.option("--trials", type=click.IntRange(1), help="Candidates that the tuner measures. [default: 128]")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of the tuner and the test input.")
@click.option("--weights", type=click.Path(path_type=Path), help="Another WDSR, as 'sr-tvm train' writes them.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object; progress goes to stderr.")
def command(output: Path, trials: int | None, seed: int, weights: Path | None, as_json: bool) -> None:
    """Once round the loop: export, import, fuse, tune, build, deploy over RPC, measure, learn, upscale, report.

    Takes under ten minutes on two cores. Run again, it goes on from the tuning records in the folder.

    \b
    Example:  sr-tvm demo -o runs/demo
              sr-tvm demo -o runs/quick --trials 16
    """
    from sr_tvm.demo.run import TRIALS, run

    printer = _Printer(as_json)
    summary = run(output, trials or TRIALS, seed, weights, printer)
    if as_json:
        click.echo(json.dumps({"report": str(output / "report.html"), **summary.to_json()}))
        return
    seconds = sum(step.seconds for step in summary.steps)
    page = output / "report.html"
    click.echo(f"\nOnce round in {seconds / 60:.1f} minutes. The report is {page}; open it in any browser.")
    click.echo("next:  sr-tvm upscale photo.jpg -o big.png")
    click.echo(f"       sr-tvm tune {output / 'model.onnx'} --target cpu      longer, for faster kernels")
