"""``sr-tvm upscale``: enlarge a picture."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from sr_tvm import bars

if TYPE_CHECKING:
    from rich.progress import TaskID

LABELS = {"compiling": "compiling the network", "enlarging": "enlarging, tiles", "writing": "writing, rows"}


@click.command()
@click.argument("picture", type=click.Path())
@click.option("-o", "--output", required=True, type=click.Path(), help="The result: .png, .jpg, .webp or .tiff.")
@click.option("--model", type=click.Path(), help="ONNX file or artifact folder; the best shipped x2 by default.")
@click.option(
    "--tile",
    type=click.IntRange(1),
    help="Side of a tile in input pixels. [default: 512, or 256 where a network is compiled for one size]",
)
@click.option("--threads", type=click.IntRange(1), help="All cores by default.")
@click.option(
    "--max-megapixels",
    type=click.FloatRange(0, min_open=True),
    default=50.0,
    show_default=True,
    help="Refuse larger input pictures.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what was done as one JSON object.")
def command(
    picture: str,
    output: str,
    model: str | None,
    tile: int | None,
    threads: int | None,
    max_megapixels: float,
    as_json: bool,
) -> None:
    """Enlarge PICTURE with a compiled network.

    Any JPEG, PNG, WebP, TIFF, BMP or GIF; grey stays grey, transparency and 16 bits are kept (in png and tiff). The
    first run with a model compiles it, which takes seconds; the result is kept for the next.

    \b
    sr-tvm upscale photo.jpg -o big.png
    sr-tvm upscale photo.jpg -o big.webp --model models/wdsr_x2_37k.onnx --threads 1
    """
    from sr_tvm.upscaling.upscale import upscale_file

    with bars.make() as progress:
        tasks: dict[str, TaskID] = {}

        def tick(stage: str, done: int, total: int) -> None:
            if "compiling" in tasks and stage != "compiling":
                progress.remove_task(tasks.pop("compiling"))
            if stage not in tasks:
                tasks[stage] = progress.add_task(LABELS[stage], total=total or None)
            progress.update(tasks[stage], completed=done)

        done = upscale_file(picture, output, model, tile, threads, max_megapixels, tick)
    if as_json:
        click.echo(json.dumps({**done.to_json(), "peak_memory_mb": _peak_memory_mb()}))
        return
    for note in done.notes:
        bars.note(note)
    (width, height), (big_width, big_height) = done.input_size, done.output_size
    took = ", ".join(f"{stage} {s:.1f} s" for stage, s in done.seconds.items())
    click.echo(f"{width}x{height} to {big_width}x{big_height} in {done.tiles} tiles on {done.threads} threads: {took}")
    click.echo(done.output)


def _peak_memory_mb() -> float | None:
    """Return the most memory this process has held, in 10^6 bytes."""
    import sys

    try:
        import resource
    except ImportError:  # not on Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak * (1 if sys.platform == "darwin" else 1024) / 1e6, 1)
