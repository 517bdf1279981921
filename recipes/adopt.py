"""Puts what models/train.py --minutes has finished in place of what ships.

Run it as .venv/bin/python models/adopt.py --work DIR. A network's weights, architecture, ONNX and history are replaced;
the history keeps what came before. A teacher goes to models/teacher. Nothing else is touched: tuned logs, int8 scores
and the tables of README.md are made anew after it.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click

from recipes import MODELS, ship
from recipes.lanes import HISTORY
from recipes.minutes import choose
from recipes.priorities import ITEMS, TEACHER, WEIGHTS, Item
from sr_tvm.errors import SrTvmError
from sr_tvm.nets.weights import load_weights
from sr_tvm.system import files
from sr_tvm.training.loop import HISTORY_SCHEMA, HISTORY_VERSION

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


def adopt(item: Item, work: Path, models: Path) -> bool:
    """Put one finished training in the place of what ships.

    Args:
        item: The training.
        work: Folder of the trainings.
        models: Folder of what ships.

    Returns:
        True if something was replaced, False if it is there already.

    Raises:
        SrTvmError: A file is missing or damaged, or the export fails.
    """
    folder = work / item.name
    weights = folder / WEIGHTS
    load_weights(weights)  # nothing is replaced by what cannot be read
    if item.name in TEACHER.values():
        place = models / "teacher" / f"{item.name}.safetensors"
        if place.is_file() and place.read_bytes() == weights.read_bytes():
            return False
        with files.atomic_file(place) as partial:
            shutil.copyfile(weights, partial)
        return True
    old = files.read_json(models / ship.HISTORY / f"{item.name}.json", ship.SCHEMA, ship.VERSION)
    if old["weights"] == ship.digest(weights):
        return False
    _export(weights, folder / ship.ONNX)
    about = ship.About(item.name, old["role"], old["scale"], old["device"], old["budget"])
    ship.ship(about, work, models, weights=True, old=old)
    return True


def _export(weights: Path, onnx: Path) -> None:
    line = [sys.executable, "-m", "sr_tvm", "export", str(weights), "-o", str(onnx), *ship.EXPORT]
    done = subprocess.run(line, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason told"])[-1]
        raise SrTvmError(f"{shlex.join(line)}: {last}")


@click.command()
@click.option("--work", required=True, type=FOLDER, help="Of models/train.py --minutes.")
@click.option("--models", default=MODELS, type=FOLDER, help="Where what ships lies; models/ by default.")
@click.option("--only", default="", metavar="NAME[,NAME]", help="These, if they are finished.")
def main(work: Path, models: Path, only: str) -> None:
    """Replace what ships by what is finished in a work folder.

    \b
    .venv/bin/python models/adopt.py --work runs/gpu --only wdsr_x2_8x24
    """
    done = [item for item in choose(ITEMS, only) if (work / item.name / HISTORY).is_file()]
    if not done:
        raise SrTvmError(f"{work}: nothing in it is finished; go on with models/train.py --minutes")
    for item in done:
        rows = files.read_json(work / item.name / HISTORY, HISTORY_SCHEMA, HISTORY_VERSION)["rows"]
        psnr = f", {rows[-1]['psnr']:.2f} dB on Set5" if "psnr" in rows[-1] else ""
        click.echo(f"{item.name}{psnr}: {'replaced' if adopt(item, work, models) else 'is there already'}")
    click.echo("next:  make bench NAME=quality, and tuned logs and int8 scores of what was replaced")


if __name__ == "__main__":
    try:
        main()
    except SrTvmError as error:
        raise SystemExit(f"error: {error}") from None
